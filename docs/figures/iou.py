"""A predicted and a true box, seen from a place inside both."""

import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

predicted, true = (2.6, 1.2, 1.4, 1.6), (1.8, 1.9, 2.2, 1.1)
figure, axes = plt.subplots(figsize=(4.6, 3.4))
nearer = tuple(map(min, predicted, true))
for (left, top, right, bottom), style in (
    (nearer, {"color": "0.5", "alpha": 0.35, "linewidth": 0}),
    (true, {"fill": False, "edgecolor": "C0", "linewidth": 2}),
    (predicted, {"fill": False, "edgecolor": "C1", "linewidth": 2, "linestyle": "--"}),
):
    axes.add_patch(Rectangle((-left, -bottom), left + right, top + bottom, **style))
left, top, right, bottom = predicted
for x, y, name in ((-left, 0, "l"), (0, top, "t"), (right, 0, "r"), (0, -bottom, "b")):
    axes.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "->", "color": "C1"})
    axes.annotate(name, (x / 2, y / 2), (4, 4), textcoords="offset points")
axes.plot(0, 0, "ko")
axes.annotate("true", (true[2], true[1]), (-4, 4), textcoords="offset points", ha="right", color="C0")
axes.annotate("predicted", (-left, -bottom), (0, -12), textcoords="offset points", color="C1")
axes.annotate("intersection", (-1.7, -0.9))
axes.set_xlim(-3, 2.6)
axes.set_ylim(-2.1, 2.3)
axes.set_aspect("equal")
axes.axis("off")
