"""A residual block: what is copied and what is added, forward and backward."""

import matplotlib.pyplot as plt

FORWARD, BACKWARD, WIDTH, HEIGHT = ("C0", "-"), ("C1", "--"), 4.6, 2.7
PLACES = {"Keep": (0.75, 0.9), "f": (2.3, 1.75), "s": (2.3, 0.9), "Add": (3.85, 0.9)}
WORDS = {"f": "f: conv, norm, ReLU,\nconv, norm", "s": "s: nothing, or\nconv 1x1, norm"}

figure, axes = plt.subplots(figsize=(WIDTH, HEIGHT), layout="none")
figure.subplots_adjust(0, 0, 1, 1)
axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
axes.set_axis_off()


def arrow(tail, head, kind):
    colour, line = kind
    style = {"arrowstyle": "-|>", "color": colour, "linestyle": line, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.4}
    axes.annotate("", head, tail, arrowprops=style)


for name, (x, y) in PLACES.items():
    half = (0.33, 0.2) if name in ("Keep", "Add") else (0.75, 0.3)
    axes.add_patch(
        plt.Rectangle((x - half[0], y - half[1]), 2 * half[0], 2 * half[1], facecolor="none", edgecolor="0.2")
    )
    axes.text(x, y, WORDS.get(name, name), ha="center", va="center", size=8.5)

for start, stop in (
    ((0.02, 0.9), (0.42, 0.9)),
    ((1.08, 0.9), (1.55, 0.9)),
    ((3.05, 0.9), (3.52, 0.9)),
    ((4.18, 0.9), (4.58, 0.9)),
):
    arrow((start[0], start[1] + 0.07), (stop[0], stop[1] + 0.07), FORWARD)
    arrow((stop[0], stop[1] - 0.07), (start[0], start[1] - 0.07), BACKWARD)
for low, high, outward in (((0.75, 1.1), (1.55, 1.75), 1), ((3.85, 1.1), (3.05, 1.75), -1)):
    for shift, kind, forward in ((0.07, FORWARD, outward > 0), (-0.07, BACKWARD, outward < 0)):
        foot, top = (low[0] - shift * outward, low[1]), (high[0], high[1] + shift)
        arrow(*((foot, top) if forward else (top, foot)), kind)

axes.text(0.75, 0.45, "forward: copies\nbackward: adds", ha="center", va="center", size=8)
axes.text(3.85, 0.45, "forward: adds\nbackward: copies", ha="center", va="center", size=8)
axes.text(0.1, 2.55, "forward, solid", color="C0", size=8.5, va="center")
axes.text(1.3, 2.55, "backward, dashed", color="C1", size=8.5, va="center")
