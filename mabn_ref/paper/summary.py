"""A study's verdicts, summed up in a sentence or two."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

JUDGED = ("holds", "no difference found", "does not hold", "the opposite holds", "not decided", "no verdict")
"""What a verdict on a claim can say: `mabn_ref.paper.claims.verdict`."""
MEASURED = ("lowers the error", "raises the error", "no effect found", "inside", "outside")
"""What a verdict on an effect without a claim can say, and on a value beside a simulation's interval."""


def judgement(line: str) -> re.Match[str] | None:
    """Return the match in a verdict whose first group is one of `JUDGED` or `MEASURED`; None if there is none."""
    return re.search(rf"[:,] ({'|'.join((*JUDGED, *MEASURED))})(?=[;,]| \[)", line)


def judged(line: str) -> str | None:
    """Return which of `JUDGED` or `MEASURED` a verdict says; None if neither."""
    said = judgement(line)
    return said[1] if said else None


def summary(verdicts: Sequence[str]) -> str:
    """Return a count of what the verdicts say, and of intervals expected to miss by chance; "" without verdicts.

    Examples
    --------
    >>> claims = ["A below B: holds; the difference is -9.83 ± 0.72", "A like C: no verdict, fewer than 3 pairs"]
    >>> print(summary([*claims, "A below D: not decided; the difference is -1.00 ± 2.48"]).replace(". ", ".\\n"))
    In short, of 3 claims: holds 1, not decided 1, no verdict 1.
    By chance 0.1 of 2 intervals are expected to miss the true value.
    >>> print(summary(["bias: exactly 1.0, inside [0.9, 1.1]", "bias: exactly 2.0, outside [2.1, 2.3]"]))
    In short, of 2 values: inside 1, outside 1. By chance 0.1 are expected outside.
    """
    counts = Counter(word for line in verdicts if (word := judged(line)))
    total = counts.total()
    if not total:
        return ""
    said = ", ".join(f"{word} {counts[word]}" for word in (*JUDGED, *MEASURED) if counts[word])
    if counts.keys() <= {"inside", "outside"}:
        return f"In short, of {total} values: {said}. By chance {total / 20:.1f} are expected outside."
    intervals = total - counts["no verdict"]
    chance = f" By chance {intervals / 20:.1f} of {intervals} intervals are expected to miss the true value."
    return f"In short, of {total} claims: {said}.{chance if intervals else ''}"
