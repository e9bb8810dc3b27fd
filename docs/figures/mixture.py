"""EvalNorm: a sample's own values, those that the moving averages stand for, and the mixture of both."""

import matplotlib.pyplot as plt
import numpy as np


def density(x: np.ndarray, mean: float, var: float) -> np.ndarray:
    """Of a normal distribution."""
    return np.exp(-((x - mean) ** 2) / (2 * var)) / np.sqrt(2 * np.pi * var)


x, n = np.linspace(-3.5, 4.5, 400), 2
moving, own = (0.0, 1.0), (2.2, 0.25)
share = 1 / n
mean = share * own[0] + (1 - share) * moving[0]
var = share * own[1] + (1 - share) * moving[1] + share * (1 - share) * (own[0] - moving[0]) ** 2

figure, axes = plt.subplots(figsize=(4.6, 4))
axes.plot(x, density(x, *moving), color="0.5", linestyle=":", label="other samples: the moving averages")
axes.plot(x, density(x, *own), color="C0", linestyle="--", label="this sample")
axes.plot(
    x, share * density(x, *own) + (1 - share) * density(x, *moving), color="C1", label=f"a batch of {n}: half of each"
)
for height, (centre, spread), color in ((-0.06, moving, "0.5"), (-0.13, own, "C0"), (-0.2, (mean, var), "C1")):
    axes.errorbar(centre, height, xerr=np.sqrt(spread), fmt="o", color=color, capsize=3)
axes.set(xlabel="x, one channel", yticks=[], title="Mean and standard deviation that each would use")
axes.spines["left"].set_visible(False)
figure.legend(loc="outside lower center")
