"""What people get wrong in these layers, as small edits of the right files, each with a sentence and what finds it.

`MISTAKES` is the catalogue, `named` looks one up, `wrong` makes a whole implementation with it, and `oracles` holds
the four ways to reject one. ``mabn-ref mistakes`` shows that each is rejected and that no right pass is.

A new mistake is one entry in the file of its kind::

    edit.py            what a mistake is, and the edited module
    wrong_*.py         the catalogue; a file of this name is found by it
    random_*.py        inputs on which mistakes are active, and those for right passes
    oracles.py         definitions and derivatives against an implementation
    symptoms.py        what one notices of a mistake first
    derivatives.py     which function's derivative a backward pass must be
    one_call.py        ranks that share a batch as one normaliser, markers of a residual block as one layer
    plain/             the definitions, as loops
    tally.py           mabn-ref mistakes
    gradient_table.py  mabn-ref gradcheck
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules

from mabn_ref.mistakes.edit import Mistake, edited, wrong

__all__ = ["MISTAKES", "Mistake", "edited", "named", "wrong"]

_FILES = [file.name for file in iter_modules(__path__) if file.name.startswith("wrong_")]
MISTAKES: tuple[Mistake, ...] = tuple(
    replace(mistake, name=name)
    for file in sorted(_FILES, key="wrong_layers".__eq__)  # normalisers first
    for name, mistake in import_module(f"{__name__}.{file}").MISTAKES.items()
)


def named(name: str) -> Mistake:
    """Look a mistake up by its name; the error for another name lists those there are.

    Examples
    --------
    >>> named("bn-no-g").sentence
    'Your dx is what you get without the g_B term of equation (4): every x also moves the mean.'
    """
    for mistake in MISTAKES:
        if mistake.name == name:
            return mistake
    raise ValueError(f"name is {name!r}, expected one of {', '.join(mistake.name for mistake in MISTAKES)}")
