"""The functions of a notebook, judged like those of a file although they run in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mabn_ref.learn import child
from mabn_ref.learn.student_error import StudentError, handed, unsendable


class Watched:
    """Functions of this process that share no array with the checks, as if they ran in another process.

    The cases are reused, so they must not change; and what a function returned must not change either, even if a
    later call fills the same array again.
    """

    def __init__(self, code: Any) -> None:
        self._code = code
        self.changed: set[tuple[str, str]] = set()
        """Functions that changed an array they were given, each with the argument that holds it."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        function = getattr(self._code, name, None)
        if not callable(function):
            raise StudentError("missing", f"there is no function {name}")

        def call(*args: Any, **kwargs: Any) -> Any:
            own_args, own_kwargs = _copied([args, kwargs], self._named, self._handed)
            given = child.arrays_given(function, own_args, own_kwargs, np.ndarray)
            try:
                result = _copied(function(*own_args, **own_kwargs), child.plain_named)
            except StudentError:
                raise
            except child.Unsendable as error:
                raise unsendable(name, str(error)) from None
            except NotImplementedError:
                raise StudentError("todo", "this is still to be written") from None
            except Exception as error:
                raise StudentError("raised", f"your code raised {type(error).__name__}: {error}") from error
            self.changed |= {(name, argument) for argument, a, before in given if a.tobytes() != before}
            return result

        return call

    def _named(self, name: str, fields: list[str]) -> Callable[..., Any]:
        return child.plain_named(name, fields, getattr(self._code, name, None))

    def _handed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of a check, as passed to the student's code."""

        def ask(*args: Any, **kwargs: Any) -> Any:
            own_args, own_kwargs = _copied([args, kwargs], child.plain_named)
            return _copied(handed(function, own_args, own_kwargs), self._named)

        return ask


def _copied(
    value: Any,
    named: Callable[[str, list[str]], Callable[..., Any]],
    hand: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None,
) -> Any:
    """A value as another process would receive it; `hand` stands in for the functions in it."""
    functions: list[Callable[..., Any]] = []
    tree, buffers = child.encode(value, None if hand is None else functions)
    return child.decode(tree, buffers, np, named, lambda k: hand and hand(functions[k]))
