"""The rooms, floor by floor, the arrows between them, and three walks through them."""

import matplotlib.pyplot as plt
import rooms

WALKS = {
    "x": ("C0", "data to loss, and back", ["data", "train", "nn", "norms", "nn", "norms", "nn", "train"]),
    "c": ("C1", "a layer, checked", ["cli", "check", "norms", "mistakes", "gradcheck", "check"]),
    "s": ("C2", "a student's file", ["cli", "learn", "mistakes", "learn"]),
}
WIDTH, HEIGHT, BOX = 4.4, 5.6, (0.98, 0.56)

figure, axes = plt.subplots(figsize=(WIDTH, HEIGHT), layout="none")
figure.subplots_adjust(0, 0, 1, 1)
axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
axes.set_axis_off()

ground, *upper = rooms.floors()
floors = [["arrays"], *upper]
small = {*ground} - {"arrays"}
places = {
    room: (WIDTH * (i + 0.5) / len(floor), 0.4 + level * (HEIGHT - 0.8) / (len(floors) - 1))
    for level, floor in enumerate(floors)
    for i, room in enumerate(floor)
}
drawn = sorted(rooms.without_detours({arrow for arrow in rooms.arrows() if small.isdisjoint(arrow)}))


def ends(room, others):
    """Where the arrows at one side of a box end: side by side, in the order of what is at their other ends."""
    ordered = sorted(others, key=lambda other: places[other])
    step = BOX[0] * 0.8 / len(ordered)
    return {other: places[room][0] + (i - (len(ordered) - 1) / 2) * step for i, other in enumerate(ordered)}


below = {room: ends(room, [to for start, to in drawn if start == room]) for room in {start for start, _ in drawn}}
above = {room: ends(room, [start for start, to in drawn if to == room]) for room in {to for _, to in drawn}}
for start, to in drawn:
    tail = below[start][to], places[start][1] - BOX[1] / 2
    head = above[to][start], places[to][1] + BOX[1] / 2
    axes.annotate("", head, tail, arrowprops={"arrowstyle": "-|>", "color": "0.45", "shrinkA": 0, "shrinkB": 0})

for room, (x, y) in places.items():
    corner = x - BOX[0] / 2, y - BOX[1] / 2
    axes.add_patch(plt.Rectangle(corner, *BOX, facecolor="none", edgecolor="0.2", zorder=2))
    steps = [
        (f"{walk}{i}", colour) for walk, (colour, _, way) in WALKS.items() for i, r in enumerate(way, 1) if r == room
    ]
    axes.text(x, y + 0.12 * bool(steps), room, size=10.5, weight="bold", ha="center", va="center")
    for i, (step, colour) in enumerate(steps):
        left = x + (i - (len(steps) - 1) / 2) * 0.23
        axes.text(left, y - 0.13, step, size=8, weight="bold", color=colour, ha="center", va="center")

for i, (walk, (colour, words, _)) in enumerate(WALKS.items()):
    axes.text(0.1, HEIGHT - 0.18 - 0.2 * i, f"{walk}  {words}", size=8, color=colour, va="center")
