"""What comes out of a check."""

from __future__ import annotations

from dataclasses import dataclass

from mabn_ref.learn.errors import StudentError

__all__ = ["Part", "Report"]


@dataclass(frozen=True)
class Part:
    """The verdict on one part.

    Attributes
    ----------
    name : str
        Such as "dx".
    ok : bool
        Whether it is right.
    message : str
        What is wrong; "" if nothing is.
    """

    name: str
    ok: bool
    message: str = ""


@dataclass(frozen=True)
class Report:
    """What is to be said about a student's code.

    Attributes
    ----------
    exercise : str
        Its name.
    parts : tuple of Part
        One point each.
    mistakes : tuple of str
        Names of the known mistakes that give the student's numbers.
    sentences : tuple of str
        What these mistakes say.
    errors : tuple of StudentError
        Where the code raised, hung or crashed.
    notes : tuple of str
        What is wrong besides the numbers.
    printed : str
        What the code printed.
    """

    exercise: str
    parts: tuple[Part, ...]
    mistakes: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    errors: tuple[StudentError, ...] = ()
    notes: tuple[str, ...] = ()
    printed: str = ""

    @property
    def points(self) -> int:
        """Parts that are right."""
        return sum(part.ok for part in self.parts)

    @property
    def passed(self) -> bool:
        """Whether all parts are."""
        return all(part.ok for part in self.parts) and not self.notes
