"""Recorded peak memory of training runs, and the time that importing takes."""

import matplotlib.pyplot as plt
from benchmarks import recorded

results = recorded()["results"]

figure, panels = plt.subplots(2, 1, figsize=(4.6, 3.4))
sections = (("memory", "peak memory", "MB, peak of the process"), ("imports", "import", "ms to import"))
for axes, (section, table, label) in zip(panels, sections, strict=True):
    timings = results[section]["tables"][table]
    names = list(timings)[::-1]
    axes.barh(names, [timings[name][0] for name in names], color="C0", height=0.6)
    axes.set_xlabel(label)
panels[0].axvline(600, color="black", linestyle=":")
panels[0].text(594, 1.5, "asked: less than 600", ha="right", va="center")
