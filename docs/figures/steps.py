"""Recorded times of a training step, ours and PyTorch's."""

import matplotlib.pyplot as plt
import numpy as np
from benchmarks import recorded

timings = recorded()["results"]["step"]["tables"]["gradient batch 32"]
names = list(timings)[::-1]
median, low, high = np.array([timings[name] for name in names]).T

figure, axes = plt.subplots(figsize=(7.2, 3.4), layout="constrained")
colours = ["0.75" if name.startswith("PyTorch") else "0.25" for name in names]
axes.barh(names, median, xerr=(median - low, high - median), color=colours, error_kw={"capsize": 2})
axes.set_xlabel("ms, median and quartiles")
axes.set_title("One training step, gradient batch 32, one core")
