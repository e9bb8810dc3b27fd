"""What one answer costs, over the probability that the network gives to the right one."""

import matplotlib.pyplot as plt
import numpy as np

p = np.linspace(0.02, 1, 200)
figure, axes = plt.subplots(figsize=(4.6, 3))
for gamma, style in ((0, "C0-"), (2, "C1--")):
    loss = -((1 - p) ** gamma) * np.log(p)
    axes.plot(p, loss, style, label=f"γ = {gamma}" + (": cross-entropy" if gamma == 0 else ""))
    axes.plot(p[::40], loss[::40], style[:2] + ("o" if gamma == 0 else "s"))
axes.set_xlabel("probability of the right answer")
axes.set_ylabel("loss of one answer")
axes.legend()
