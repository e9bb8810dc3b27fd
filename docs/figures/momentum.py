"""What momentum makes of a gradient that stays and of one that alternates."""

import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.nn import optimiser

STEPS, MOMENTUM = 40, 0.9
GRADIENTS = {"the same in every step": np.ones(STEPS), "in turn 1 and -1": (-1.0) ** np.arange(STEPS)}
LOOKS = {"color": "C0"}, {"color": "C1", "linestyle": "--"}

figure, axes = plt.subplots(figsize=(4.6, 2.8))
for (label, gradients), look in zip(GRADIENTS.items(), LOOKS, strict=True):
    params = [{"p": np.zeros(1)}]
    velocity, moved = optimiser.init(params), []
    for gradient in gradients:
        step = {"lr": 1.0, "momentum": MOMENTUM, "weight_decay": 0.0}
        params, velocity = optimiser.step(params, [{"p": np.array([gradient])}], velocity, **step)
        moved.append(abs(velocity[0]["p"][0]))
    axes.plot(np.arange(1, STEPS + 1), moved, label=f"gradient {label}", **look)
axes.axhline(1, color="0.5", linewidth=1)
axes.text(STEPS, 1.2, "without momentum", ha="right", color="0.4", size=8.5)
axes.set(xlabel="step", ylabel="size of the step / learning rate", ylim=(0, 10.4))
axes.legend(loc="center right", bbox_to_anchor=(1, 0.45))
