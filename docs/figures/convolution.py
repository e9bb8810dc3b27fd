"""What one output sees, and through which weights one input is seen: the kernel, and the kernel turned around."""

import matplotlib.pyplot as plt
import numpy as np

INPUTS, OUTPUTS, KERNEL, CELL = 5, 3, 3, 0.3


def grid(axes, left, size, marked, colour, texts):
    """A square of cells, the marked ones filled, with its lower left corner at (left, 0)."""
    low = (INPUTS - size) / 2 * CELL
    for row, column in np.ndindex(size, size):
        corner = left + column * CELL, low + (size - 1 - row) * CELL
        face = colour if (row, column) in marked else "none"
        axes.add_patch(plt.Rectangle(corner, CELL, CELL, facecolor=face, alpha=0.25, edgecolor="none"))
        axes.add_patch(plt.Rectangle(corner, CELL, CELL, facecolor="none", edgecolor="0.5", linewidth=0.7))
        if (row, column) in texts:
            middle = corner[0] + CELL / 2, corner[1] + CELL / 2
            axes.text(*middle, texts[row, column], ha="center", va="center", size=8)


window = [(a, b) for a in range(KERNEL) for b in range(KERNEL)]
figure, (above, below) = plt.subplots(2, 1, figsize=(4.6, 4.4))
for axes in (above, below):
    axes.set(xlim=(-0.05, 4.4), ylim=(-0.3, 1.55), aspect="equal")
    axes.set_axis_off()
    axes.text(INPUTS * CELL / 2, -0.22, "input", ha="center", size=8.5)
    axes.text(2.9 + OUTPUTS * CELL / 2, -0.22, "output", ha="center", size=8.5)

weights = {(a, b): f"$w_{{{a}{b}}}$" for a, b in window}
grid(above, 0, INPUTS, set(window), "C0", weights)
grid(above, 2.9, OUTPUTS, {(0, 0)}, "C0", {})
above.set_title("Forward: one output adds up nine inputs", loc="left")
above.annotate("", (2.8, 1.05), (1.65, 1.05), arrowprops={"arrowstyle": "-|>", "color": "C0"})

seen = {(2 - a, 2 - b): text for (a, b), text in weights.items()}  # input (2, 2) is under w[2 - i, 2 - j] at (i, j)
grid(below, 0, INPUTS, {(2, 2)}, "C1", {})
grid(below, 2.9, OUTPUTS, set(window), "C1", seen)
below.set_title("Backward: one input collects from nine outputs", loc="left")
below.annotate("", (1.65, 0.75), (2.8, 0.75), arrowprops={"arrowstyle": "-|>", "color": "C1", "linestyle": "--"})
