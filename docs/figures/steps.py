"""Recorded times of a training step, ours and PyTorch's."""

import matplotlib.pyplot as plt
import numpy as np
from benchmarks import recorded

timings = recorded()["results"]["step"]["tables"]["gradient batch 32"]
names = list(timings)[::-1]
median, low, high = np.array([timings[name] for name in names]).T

figure, axes = plt.subplots(figsize=(4.6, 3.4))
for name, middle, least, most in zip(names, median, low, high, strict=True):
    look = {"color": "C1", "hatch": "///"} if name.startswith("PyTorch") else {"color": "C0"}
    axes.barh(name, middle, **look, edgecolor="white", linewidth=0)
    axes.errorbar(middle, name, xerr=[[middle - least], [most - middle]], color="black")
axes.set_xlabel("ms, median and quartiles")
axes.set_title("One training step, gradient batch 32, one core")
