"""What one deviation is, and of which normalisers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mabn_ref.mistakes import named

__all__ = ["ALL", "ALONE", "BN", "CHI", "EVERY", "RMS", "Choice", "choice", "choices"]

BN, CHI, ALL, ALONE = "bn brn", "modified-bn mabn", "bn brn modified-bn mabn", "gn ln in"
RMS = "rms frn"
EVERY = f"{ALL} {ALONE} {RMS}"
"""Names of normalisers, separated by spaces."""


@dataclass(frozen=True)
class Choice:
    """One deviation from a preset."""

    changes: tuple[tuple[str, Any], ...]
    """Fields of a `Convention`, and the values that they get."""
    norms: tuple[str, ...]
    """The normalisers in which it makes a difference."""
    shows: tuple[str, ...]
    """The tensors in which it may show."""
    words: str
    mistake: str
    """Its name in `mabn_ref.mistakes`, or ""."""
    accepted: bool
    """Whether it is not a disagreement."""


def choice(shows: str, norms: str, changes: Mapping[str, Any] | str, said: str, accepted: bool = False) -> Choice:
    """Return a choice; names are separated by spaces, and what is said is a sentence or the name of a mistake.

    Where a gradient has another formula, `changes` is the formula's name alone: the field is called as the gradient.

    Examples
    --------
    >>> choice("dx", "bn brn", "no g", "bn-no-g").words
    'Your dx is what you get without the g_B term of equation (4): every x also moves the mean.'
    """
    changes = {shows: changes} if isinstance(changes, str) else changes
    mistake = "" if " " in said else said
    words = named(mistake).sentence if mistake else said
    return Choice(tuple(changes.items()), tuple(norms.split()), tuple(shows.split()), words, mistake, accepted)


def choices(shows: str, *rows: tuple[Any, ...]) -> tuple[Choice, ...]:
    """Return a choice for each row: the other arguments of `choice`."""
    return tuple(choice(shows, *row) for row in rows)
