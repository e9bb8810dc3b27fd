"""What a simple and an exponential moving average remember, and what they make of a jump."""

import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.paper.theorems import exact_moments

WINDOW, DECAY = 16, 0.98
LABELS = f"simple, m = {WINDOW}", f"exponential, α = {DECAY}"
LOOKS = {"color": "C0", "linestyle": "-"}, {"color": "C1", "linestyle": "--"}
ages = np.arange(120)
weights = (ages < WINDOW) / WINDOW, (1 - DECAY) * DECAY**ages
t = np.arange(1, 241)
jump = np.where(t <= 60, 0.0, 1.0)
biases = [bias for bias, _ in exact_moments(jump, window=WINDOW, decay=DECAY)]

figure, (above, below) = plt.subplots(2, 1, figsize=(4.6, 5))
for label, look, weight, bias in zip(LABELS, LOOKS, weights, biases, strict=True):
    above.step(ages, weight, where="mid", label=label, **look)
    below.plot(t, jump + bias, **look)
below.plot(t, jump, color="0.5", linewidth=1, zorder=0)
below.annotate(
    "the statistic", (62, 0.5), xytext=(95, 0.3), color="0.4", arrowprops={"arrowstyle": "-", "color": "0.5"}
)
above.set(xlabel="age of a value (iterations)", ylabel="weight", title="What each average remembers")
below.set(xlabel="iterations", title="What each makes of a jump")
above.legend()
