"""What the figures of all tutorials have in common; no tutorial itself.

Two colours that colour-blind readers can tell apart, and grey for what they are compared with. The ground is
transparent and the text is mid-grey, so that a figure can be read on a light page and on a dark one.
"""

import matplotlib.pyplot as plt

BLUE, RED, GREY = "#0072B2", "#D55E00", "#8c8c8c"
TEXT = "#6b6b6b"
STYLE = {
    **dict.fromkeys(("figure.facecolor", "axes.facecolor"), "none"),
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), TEXT),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.dpi": 130,
    "legend.frameon": False,
    "lines.markersize": 5,
}


def panel(title, x, y, height=3.4):
    """Empty axes with a title and the labels `x` and `y`, as wide as a page."""
    plt.rcParams.update(STYLE)
    _, axes = plt.subplots(figsize=(5.6, height), layout="constrained")
    axes.set(title=title, xlabel=x, ylabel=y)
    return axes


def draw(title, x, y, *curves, sizes=(), height=3.4, **settings):
    """Show a figure of curves (xs, ys, colour, format, label), a label of "" for one that needs no name.

    `sizes` are the ticks of an axis on which every tick doubles the last; what else is given goes to `Axes.set`.
    """
    axes = panel(title, x, y, height)
    for xs, ys, colour, form, label in curves:
        width = 4 if (colour, form) == (GREY, "-") else 1.5
        axes.plot(xs, ys, form, color=colour, linewidth=width, label=label or "_")
    if len(sizes):
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set(**settings)
    axes.minorticks_off()
    if any(label for *_, label in curves):
        axes.figure.legend(loc="outside lower center", ncols=2)
    plt.show()
