"""Wrong passes as data: what people get wrong in these layers, the sentence to tell them, and what finds it.

`MISTAKES` is the catalogue, `named` looks one up, `wrong` makes a whole implementation with it, and `oracles` holds
the four ways to reject one. ``mabn-ref mistakes`` shows that each is rejected and that no right pass is.
"""

from __future__ import annotations

from mabn_ref.mistakes import (
    batch_norm,
    batch_renorm,
    eval_norm,
    group_norm,
    layers,
    mabn,
    modified_batch_norm,
    online_norm,
    sync_batch_norm,
    weights,
)
from mabn_ref.mistakes.mistake import Mistake, wrong

__all__ = ["MISTAKES", "Mistake", "named", "wrong"]

MISTAKES: tuple[Mistake, ...] = (
    *batch_norm.MISTAKES,
    *batch_renorm.MISTAKES,
    *modified_batch_norm.MISTAKES,
    *mabn.MISTAKES,
    *group_norm.MISTAKES,
    *sync_batch_norm.MISTAKES,
    *eval_norm.MISTAKES,
    *online_norm.MISTAKES,
    *layers.MISTAKES,
    *weights.MISTAKES,
)


def named(name: str) -> Mistake:
    """Look a mistake up.

    Parameters
    ----------
    name : str
        Such as "bn-no-g".

    Raises
    ------
    ValueError
        If there is none of that name; the message lists those there are.

    Examples
    --------
    >>> named("bn-no-g").sentence
    'Your dx is what you get without the g_B term of equation (4): every x also moves the mean.'
    """
    for mistake in MISTAKES:
        if mistake.name == name:
            return mistake
    raise ValueError(f"name is {name!r}, expected one of {', '.join(mistake.name for mistake in MISTAKES)}")
