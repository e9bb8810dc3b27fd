"""What a mistake is: an edit of the right file. The file with the edit in it, run, is the wrong implementation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

Old: TypeAlias = str | tuple[str, int]
"""A text of the right file: it occurs once, or as often as the number beside it says."""


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One thing that people get wrong."""

    name: str = ""  #: such as "bn-no-g": the key under which a wrong_*.py has it
    subject: ModuleType  #: the module of `mabn_ref.norms` or `mabn_ref.nn` that it is made in
    #: pieces of the module's source, each of which occurs there once, and what stands in their place; (text, n) is
    #: one that occurs n times. A wrong forward whose derivative the right backward would not give edits backward
    #: too, as automatic differentiation would
    edits: Mapping[Old, str]
    sentence: str  #: one sentence for whoever made it; it says "your"
    equation: str  #: the equation it breaks, as it is tagged in the right code: "bn-backward (4)"
    oracle: str  #: the oracle of `mabn_ref.mistakes.oracles` that is sure to reject it; others may see it or not
    #: ``draw(rng) -> inputs``: random inputs on which it changes a number, for that oracle
    draw: Callable[[np.random.Generator], Any]

    @property
    def subject_name(self) -> str:
        """The name of the subject within its package, such as "batch_norm"."""
        return self.subject.__name__.rpartition(".")[2]


def wrong(*mistakes: Mistake) -> ModuleType:
    """Make an implementation with exactly these mistakes, all of one subject. It goes wherever the subject goes.

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
    edits = [edit for mistake in mistakes for edit in mistake.edits.items()]
    return edited(mistakes[0].subject, edits, name=" and ".join(mistake.name for mistake in mistakes))


def edited(module: ModuleType, edits: Iterable[tuple[Old, str]], *, name: str = "an edit") -> ModuleType:
    """Return a new module: the source of `module` after the edits, run.

    Its Config, State and Cache are the right module's own classes, so that either takes what the other returns,
    unless an edit gives the class other fields.
    """
    made = ModuleType(module.__name__, module.__doc__)
    source = edited_source(module, edits, name=name)
    exec(compile(source, f"<{module.__name__} with {name}>", "exec"), vars(made))
    for key, right in vars(module).items():  # functions look their module's names up when they are called
        own = isinstance(right, type) and right.__module__ == module.__name__
        if own and list(right.__annotations__) == list(vars(made)[key].__annotations__):
            setattr(made, key, right)
    return made


def edited_source(module: ModuleType, edits: Iterable[tuple[Old, str]], *, name: str = "an edit") -> str:
    """Return the source of `module` after edits from old texts to new ones, in turn.

    Raises
    ------
    ValueError
        If an old text does not occur once, or as often as it should; the message starts with `name`.
    """
    source = inspect.getsource(module)
    for old, new in edits:
        text, times = (old, 1) if isinstance(old, str) else old
        found = source.count(text)
        if found != times:
            raise ValueError(f"{name}: {text!r} occurs {found} times in {module.__name__}, expected {times}")
        source = source.replace(text, new)
    return source
