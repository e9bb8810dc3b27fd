"""Arithmetic and geometric mean of a window in which one batch differs from the others."""

import matplotlib.pyplot as plt
import numpy as np

WINDOW = 4
newest = np.logspace(-2, 2, 101)
figure, axes = plt.subplots()
axes.loglog(newest, (WINDOW - 1 + newest) / WINDOW, color="C0", label="arithmetic mean (MABN)")
axes.loglog(newest, newest ** (1 / WINDOW), "--", color="C1", label="geometric mean (Unified Normalization)")
for value, name in ((25.75, "25.75"), (100**0.25, "3.16")):
    axes.plot(100, value, "o", color="black")
    axes.annotate(name, (100, value), xytext=(-8, 5), textcoords="offset points", ha="right")
axes.set(xlabel="mean square of the newest batch; the other three have 1", ylabel="mean of the window")
axes.set_title("One batch unlike the others")
axes.legend(loc="upper left")
