"""``python -m tests.check.confusion``: every mistake ported as a target, and what it is called.

A row a mistake: the names that the check gives it. The command fails if one is not found, or another is named.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from mabn_ref.check import check
from mabn_ref.check.models import BENDABLE
from mabn_ref.check.scenarios import MODULES
from mabn_ref.mistakes import MISTAKES, Mistake, wrong


class Called(NamedTuple):
    """A mistake, the names that it got, and the findings that are no mistake."""

    mistake: str
    names: list[str]
    other: list[str]
    conforms: bool

    @property
    def right(self) -> bool:
        """Whether it is called by its name and by no other, and nothing is left unexplained."""
        return self.names == [self.mistake] and not self.conforms and not self.other


def applicable() -> Iterator[tuple[str, Mistake]]:
    """Yield every mistake in a normaliser, with what it is to be checked as."""
    first = {MODULES[norm]: norm for norm in reversed(BENDABLE)}
    for module, norm in reversed(first.items()):
        # how EvalNorm's weights are estimated is this project's choice, and not asked of others
        told = [m for m in MISTAKES if m.subject is module and m.equation != "eval-estimate"]
        yield from ((norm, mistake) for mistake in told)


def call(norm: str, mistake: Mistake) -> Called:
    """Check a mistake's implementation, and return what it is called."""
    report = check(wrong(mistake), norm, norm_batch=4, short=True)
    other = [finding.words for finding in report.findings if not finding.mistake and not finding.accepted]
    other += [str(difference) for difference in report.differences]
    return Called(mistake.name, report.mistakes, other, report.conforms)


def main() -> int:
    """Print a row for each mistake, and for each right implementation."""
    started, rows = time.perf_counter(), []
    print(f"{'mistake':<38}{'called':<38}and")
    for norm, mistake in applicable():
        rows.append(call(norm, mistake))
        print(f"{mistake.name:<38}{', '.join(rows[-1].names) or '-':<38}{'; '.join(rows[-1].other)}", flush=True)
    right = [norm for norm in BENDABLE if check(MODULES[norm], norm, norm_batch=4, short=True).conforms]
    named = sum(row.right for row in rows)
    wrongly = sum(name != row.mistake for row in rows for name in row.names)
    print(
        f"{named} of {len(rows)} mistakes called by their names, {wrongly} wrong names; "
        f"{len(right)} of {len(BENDABLE)} right implementations accepted; {time.perf_counter() - started:.0f} s"
    )
    return int(named < len(rows) or len(right) < len(BENDABLE))


if __name__ == "__main__":
    sys.exit(main())
