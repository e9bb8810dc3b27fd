"""What a mistake is, and how a whole wrong implementation is made of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["Mistake", "wrong"]


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A wrong pass, as data.

    Attributes
    ----------
    name : str
        A name such as "bn-no-g".
    subject : module
        The module of `mabn_ref.norms` or `mabn_ref.nn` that it is a wrong version of.
    code : mapping of str to callable
        The wrong functions by the name of the function each replaces, with the same arguments and results. A wrong
        forward whose derivative the right backward would not give comes with its own derivative, as automatic
        differentiation would give it.
    sentence : str
        One sentence for whoever made it; it says "your".
    equation : str
        The equation it breaks, as it is tagged in the right code: "bn-backward (4)".
    oracle : str
        The oracle of `mabn_ref.mistakes.oracles` that is sure to reject it; others may see it or not.
    draw : callable
        ``draw(rng) -> inputs``: random inputs on which it changes a number, for that oracle.
    """

    name: str
    subject: ModuleType
    code: Mapping[str, Callable[..., Any]]
    sentence: str
    equation: str
    oracle: str
    draw: Callable[[np.random.Generator], Any]

    @property
    def subject_name(self) -> str:
        """The name of the subject within its package, such as "batch_norm"."""
        return self.subject.__name__.rpartition(".")[2]


def wrong(mistake: Mistake) -> SimpleNamespace:
    """Make an implementation with exactly this mistake: all that its subject offers, the wrong functions in place.

    It goes wherever the module goes: through many steps, or into a network.

    Examples
    --------
    >>> from mabn_ref.mistakes import named
    >>> from mabn_ref.norms import batch_norm
    >>> layer, config = wrong(named("bn-no-g")), batch_norm.Config(eps=0.0)
    >>> x, one, zero = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1)
    >>> z, cache, state = layer.forward(x, one, zero, layer.init(1, config, dtype=x.dtype), config)
    >>> layer.backward(np.ones((2, 1)), cache, state)[0].ravel()  # the right one gives zeros
    array([1., 1.])
    """
    public = {name: value for name, value in vars(mistake.subject).items() if not name.startswith("_")}
    return SimpleNamespace(**{**public, **mistake.code})
