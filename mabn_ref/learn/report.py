"""What is said about a student's code: a verdict on each part, and what else went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mabn_ref.learn.student_error import StudentError


class Part(NamedTuple):
    """The verdict on one part."""

    name: str
    """Such as "dx"."""
    ok: bool
    """Whether it is right."""
    message: str = ""
    """What is wrong; "" if nothing is."""


@dataclass(frozen=True)
class Report:
    """What is to be said about a student's code."""

    exercise: str
    """Its name."""
    parts: tuple[Part, ...]
    """One point each."""
    mistakes: tuple[str, ...] = ()
    """Names of the known mistakes that give the student's numbers."""
    sentences: tuple[str, ...] = ()
    """What these mistakes say."""
    errors: tuple[StudentError, ...] = ()
    """Where the code raised, hung or crashed."""
    notes: tuple[str, ...] = ()
    """What is wrong besides the numbers."""
    printed: str = ""
    """What the code printed."""

    @property
    def points(self) -> int:
        """Parts that are right."""
        return sum(part.ok for part in self.parts)

    @property
    def passed(self) -> bool:
        """Whether all parts are."""
        return all(part.ok for part in self.parts) and not self.notes

    @property
    def summary(self) -> str:
        """The first thing to be said, on one line; nothing if it has passed."""
        said = [*self.sentences, *map(str, self.errors), *self.notes]
        said += [f"{part.name}: {part.message}" for part in self.parts if not part.ok]
        return " ".join(said[0].split())[:200] if said else ""
