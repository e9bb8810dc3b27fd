"""The report on a student's code: a verdict on each part, and what else went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mabn_ref.learn.student_error import StudentError


class Part(NamedTuple):
    """The verdict on one part."""

    name: str  #: such as "dx"
    ok: bool  #: whether it is worth its point
    message: str = ""  #: why it is not; "" if it is
    waits: bool = False  #: whether it is right but has no point until another part is right too

    @property
    def mark(self) -> str:
        """The verdict in a word."""
        return "right" if self.ok or self.waits else "wrong"

    @property
    def line(self) -> str:
        """What to say about a part without a point."""
        return f"{self.name}: {'right, ' if self.waits else ''}{self.message}"


@dataclass(frozen=True)
class Report:
    """The report on a student's code."""

    exercise: str  #: its name
    parts: tuple[Part, ...]  #: one point each
    mistakes: tuple[str, ...] = ()  #: names of the known mistakes that give the student's numbers
    sentences: tuple[str, ...] = ()  #: what these mistakes say
    errors: tuple[StudentError, ...] = ()  #: where the code raised, hung or crashed
    notes: tuple[str, ...] = ()  #: what is wrong besides the numbers
    printed: str = ""  #: what the code printed

    @property
    def points(self) -> int:
        """The number of parts worth their point."""
        return sum(part.ok for part in self.parts)

    @property
    def passed(self) -> bool:
        """Whether all parts are right and there are no notes."""
        return all(part.ok for part in self.parts) and not self.notes

    @property
    def score(self) -> str:
        """The points and, if the exercise has them all but has not passed, what it lacks."""
        points = f"{self.points} of {len(self.parts)} point{'' if len(self.parts) == 1 else 's'}"
        return f"{points}, {self.lacks}" if self.lacks else points

    @property
    def lacks(self) -> str:
        """What keeps an exercise with all its points from passing; "" if nothing does, or if points are missing."""
        return (
            f"not passed yet: {'. Also: '.join(self.notes)}" if self.notes and self.points == len(self.parts) else ""
        )

    @property
    def summary(self) -> str:
        """The first message, on one line; "" if it has passed."""
        said = [*self.sentences, *map(str, self.errors), *([self.lacks] if self.lacks else self.notes)]
        said += [part.line for part in self.without_points]
        return " ".join(said[0].split())[:200] if said else ""

    @property
    def without_points(self) -> list[Part]:
        """Parts without a point, those that are wrong first."""
        return sorted((part for part in self.parts if not part.ok), key=lambda part: part.waits)
