"""The form of a result: tuples, fields, shapes, dtypes; and which axis is wrong if a shape is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def described(value: Any) -> str:
    """Say in a few words what a value is.

    Examples
    --------
    >>> described(None), described((1, 2)), described(np.zeros((2, 3))), described(True)
    ('nothing', '2 values', 'an array of shape (2, 3)', 'True')
    """
    if value is None:
        return "nothing"
    if isinstance(value, tuple | list):
        return f"{len(value)} value{'' if len(value) == 1 else 's'}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    return f"a {'number' if np.isscalar(value) and not isinstance(value, str) else type(value).__name__}"


def form_fault(name: str, value: Any, expected: Any, axes: Mapping[str, int]) -> str | None:
    """Say what is wrong with the form of `value`, which the student calls `name`, or None.

    `axes` has the sizes of the axes by their letters, such as N and C; if all sizes differ, the message can name the
    axis.

    Examples
    --------
    >>> print(form_fault("mu", np.zeros(6), np.zeros(3), {"N": 6, "C": 3}))
    mu has shape (6,), which is (N,); expected (3,), which is (C,): it keeps axis N and lacks axis C
    >>> print(form_fault("mu", np.zeros((6, 3)), np.zeros((6, 1, 3)), {}))
    mu has shape (6, 3); expected (6, 1, 3): keep axis 1, with length 1 (keepdims=True)
    """
    value = bool(value) if isinstance(value, np.bool_) else value
    if isinstance(expected, tuple | list | dict):
        return _parts_fault(name, value, expected, axes)
    if isinstance(expected, str | bool) or expected is None:
        right = {str: "a word", bool: "True or False"}.get(type(expected), "None")
        return None if type(value) is type(expected) else f"{name} is {described(value)}, expected {right}"
    wanted = np.shape(expected)
    if not isinstance(value, np.ndarray | np.generic | int | float | complex) or isinstance(value, bool):
        right = f"an array of shape {wanted}" if wanted else "a number"
        return f"{name} is {described(value)}, expected {right}"
    shape = np.shape(value)
    if shape != wanted:
        return _shape_fault(name, shape, wanted, axes)
    kind, kept = np.asarray(value).dtype, np.asarray(expected).dtype
    if shape and kind != kept:
        return f"{name} has dtype {kind}, expected {kept}, the dtype of this exercise's arrays"
    if not np.all(np.isfinite(value)) and np.all(np.isfinite(expected)):
        return f"{name} is not finite: it has nan or inf in it"
    return None


def unnamed(name: str, value: Any, expected: Any) -> str | None:
    """Say that `value` lacks the field names that `expected` has, or None.

    Examples
    --------
    >>> from collections import namedtuple
    >>> unnamed("cache", (1, 2), namedtuple("Cache", "y sigma")(1, 2))
    'cache is a tuple without the names y, sigma; return a Cache'
    """
    fields = getattr(expected, "_fields", None)
    if fields is None or getattr(value, "_fields", None) == fields:
        return None
    kind = "list" if isinstance(value, list) else "tuple"
    return f"{name} is a {kind} without the names {', '.join(fields)}; return a {type(expected).__name__}"


def _parts_fault(name: str, value: Any, expected: Any, axes: Mapping[str, int]) -> str | None:
    if isinstance(expected, dict):
        keys, items = list(expected), list(expected.values())
        right = f"a dict of {', '.join(map(str, keys))}"
        found = [value.get(key) for key in keys] if isinstance(value, dict) else None
    else:
        keys, items = list(getattr(expected, "_fields", range(len(expected)))), list(expected)
        right = (
            ", ".join(keys)
            if hasattr(expected, "_fields")
            else f"a {type(expected).__name__} of {described(expected)}"
        )
        found = list(value) if isinstance(value, tuple | list) and len(value) == len(items) else None
    if found is None:
        return f"{name} is {described(value)}, expected {right}"
    for key, ours, theirs in zip(keys, items, found, strict=True):
        fault = form_fault(f"{name}.{key}" if isinstance(key, str) else f"{name}[{key}]", theirs, ours, axes)
        if fault:
            return fault
    return None


COUNTED = "held"
"""The letter of an axis that grows with the values collected: a wrong length there is not another axis."""


def _letters(shape: tuple[int, ...], axes: Mapping[str, int]) -> list[str] | None:
    """The axes of a shape by their letters; None if the sizes do not tell."""
    by_size = {size: letter for letter, size in axes.items()}
    if len(by_size) < len(axes) or not all(size in by_size or size == 1 for size in shape):
        return None
    letters = [by_size.get(size, "1") for size in shape]
    named = [letter for letter in letters if letter != "1"]
    return letters if len(set(named)) == len(named) else None


def _shape_fault(name: str, shape: tuple[int, ...], wanted: tuple[int, ...], axes: Mapping[str, int]) -> str:
    """Say that a shape is not the expected one, and what is wrong with it."""
    right = _letters(wanted, axes)
    found = None if COUNTED in (right or ()) else _letters(shape, axes)
    which = _which(shape, wanted, found, right)
    return f"{name} has shape {_named(shape, found)}; expected {_named(wanted, right)}{which}"


def _named(shape: tuple[int, ...], letters: list[str] | None) -> str:
    if not letters:
        return str(shape) if shape else "() (a single number)"
    return f"{shape}, which is ({', '.join(letters)}{',' if len(letters) == 1 else ''})"


def _axes(names: list[Any]) -> str:
    """Some axes by their names, as in a sentence."""
    *first, last = map(str, names)
    return f"axes {', '.join(first)} and {last}" if first else f"axis {last}"


def _which(shape: tuple[int, ...], wanted: tuple[int, ...], found: list[str] | None, right: list[str] | None) -> str:
    """What is wrong with a shape; `found` and `right` are the letters of its axes, if known."""
    ones = [k for k, size in enumerate(wanted) if size == 1]
    if len(shape) < len(wanted) and [n for n in shape if n != 1] == [n for n in wanted if n != 1]:
        return f": keep {_axes(ones)}, with length 1 (keepdims=True)"
    if found is not None and right is not None:
        if [letter for letter in found if letter != "1"] == right:
            return ": drop the axes of length 1"
        extra = [letter for letter in found if letter not in [*right, "1"]]
        lacking = [letter for letter in right if letter not in [*found, "1"]]
        said = [f"keeps {_axes(extra)}"] if extra else []
        said += [f"lacks {_axes(lacking)}"] if lacking else []
        if found.count("1") < len(ones):
            longer = [k for k in ones if len(shape) != len(wanted) or shape[k] != 1]
            said.append(f"does not have length 1 along {_axes(longer)} (keepdims=True)")
        return f": it {' and '.join(said)}" if said else ""
    if len(shape) == len(wanted):
        names = range(len(wanted)) if right is None or "1" in right else right
        wrong = [name for name, a, b in zip(names, shape, wanted, strict=True) if a != b]
        return f": {_axes(wrong)} {'have' if wrong[1:] else 'has'} the wrong length"
    return f": it has {len(shape)} {'axis' if len(shape) == 1 else 'axes'} instead of {len(wanted)}"


def same(a: Any, b: Any, rtol: float = 1e-9) -> bool:
    """Whether two results are the same, in form and, to rounding, in numbers; nan equals nan.

    Two errors are the same if they have the same type and message.

    Examples
    --------
    >>> same((1.0, np.ones(2)), (1.0, np.ones(2) + 1e-12)), same(np.ones(2), np.ones((2, 1)))
    (True, False)
    """
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key], rtol) for key in a)
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(same(x, y, rtol) for x, y in zip(a, b, strict=True))
    if isinstance(a, Exception) and isinstance(b, Exception):
        return type(a) is type(b) and str(a) == str(b)
    a, b = (bool(v) if isinstance(v, np.bool_) else v for v in (a, b))
    if isinstance(a, str | bool) or isinstance(b, str | bool) or a is None or b is None:
        return type(a) is type(b) and bool(a == b)
    if isinstance(a, dict | tuple | list) or isinstance(b, dict | tuple | list) or np.shape(a) != np.shape(b):
        return False
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind == "O" or b.dtype.kind == "O":  # a function, say
        return False
    if np.array_equal(a, b):  # as most are, and `allclose` takes long
        return True
    finite = b[np.isfinite(b)]
    atol = rtol * float(np.max(np.abs(finite), initial=0.0))
    return bool(np.allclose(a, b, rtol=0, atol=max(atol, 1e-13), equal_nan=True))


def only_zeros(value: Any) -> bool:
    """Whether all numbers of a result are exactly zero, as in a placeholder to be written later.

    Examples
    --------
    >>> only_zeros([(0.0, np.zeros(2)), 0]), only_zeros(np.array([0.0, 1e-17])), only_zeros([])
    (True, False, False)
    """
    if isinstance(value, tuple | list | dict):
        items = list(value.values()) if isinstance(value, dict) else value
        return len(items) > 0 and all(map(only_zeros, items))
    numbers = isinstance(value, np.ndarray | np.number | int | float) and not isinstance(value, bool)
    return numbers and not np.any(value)
