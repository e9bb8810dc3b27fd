"""What people get wrong in these layers, as small edits of the right files: the sentence to tell them, what finds it.

`MISTAKES` is the catalogue, `named` looks one up, `wrong` makes a whole implementation with it, and `oracles` holds
the four ways to reject one. ``mabn-ref mistakes`` shows that each is rejected and that no right pass is.

A new mistake is one entry in the file of its kind::

    edit.py            what a mistake is, and the edited module
    wrong_*.py         the catalogue
    random_*.py        inputs on which mistakes are active, and those for right passes
    oracles.py         definitions and derivatives against an implementation
    symptoms.py        what is seen of a mistake first
    derivatives.py     which function's derivative a backward pass must be
    one_call.py        ranks that share a batch as one normaliser, a residual block's markers as one layer
    plain/             the definitions, as loops
    tally.py           mabn-ref mistakes
    gradient_table.py  mabn-ref gradcheck
"""

from __future__ import annotations

from dataclasses import replace

from mabn_ref.mistakes import (
    wrong_batch_norms,
    wrong_batch_renorm,
    wrong_layers,
    wrong_moving_averages,
    wrong_sample_norms,
)
from mabn_ref.mistakes.edit import Mistake, edited, wrong

__all__ = ["MISTAKES", "Mistake", "edited", "named", "wrong"]

MISTAKES: tuple[Mistake, ...] = tuple(
    replace(mistake, name=name)
    for file in (wrong_batch_norms, wrong_batch_renorm, wrong_moving_averages, wrong_sample_norms, wrong_layers)
    for name, mistake in file.MISTAKES.items()
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
