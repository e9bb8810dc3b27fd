"""The recorded verdicts on layers of published packages, a table for each module."""

import json
from itertools import groupby
from pathlib import Path

KEPT = json.loads((Path(__file__).parents[1] / "results" / "check" / "real_layers.json").read_text(encoding="utf-8"))


def place(row):
    """The module of a layer, and its package and version."""
    return row["layer"].partition(":")[0], row["package"], row["version"]


def short(row):
    """A layer without its module, in lines that are not too wide."""
    name, given, more = row["layer"].partition(":")[2].partition("(")
    name, *backend = name.split(" on ")
    lines = [f"``{name}``", *(f"``{part}``" for part in more.rstrip(")").split(", ") if given)]
    return [*lines, *(f"on {one}" for one in backend), f"as {row['as']}"]


rows = KEPT["rows"]
right = sum(row["conforms"] for row in rows)
print(f"{len(rows)} layers: {right} conform, {len(rows) - right} do not. All verdicts are as reasoned out.\n")
for (module, package, version), group in groupby(rows, key=place):
    print(f".. rubric:: {module}\n\n{package} {version}\n")
    print(".. list-table::\n   :header-rows: 1\n   :widths: 32 32 36\n")
    print("   * - layer\n     - what it computes\n     - verdict, and how it departs")
    for row in group:
        told = "conforms" if row["conforms"] else f"**differs**: {row['departs']}"
        told += "" if row["understood"] else "; not all of its numbers are explained"
        first, *others = short(row)
        print(f"   * - | {first}", *(f"       | {line}" for line in others), sep="\n")
        print(f"     - {row['computes']}\n     - {told}")
    print()
print(f"Recorded on {KEPT['date']}, Python {KEPT['python']}, NumPy {KEPT['numpy']}, by ``{KEPT['command']}``.")
