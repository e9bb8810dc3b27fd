"""Arithmetic with 50 digits in NumPy arrays: the truth against which the errors of floats are measured.

An object array of `Exact` numbers goes through any pass that uses + - * / **, comparisons, sqrt, exp, log, log1p and
tanh, with NumPy's own functions: ``np.sqrt`` of an object array calls ``.sqrt()`` of each number; sums, ``einsum``,
``maximum`` and the like work as they are. It mixes with ints and floats, which are taken at their exact binary value.
"""

from __future__ import annotations

import decimal
import numbers
from collections.abc import Callable
from functools import total_ordering
from typing import Any

import numpy as np
import numpy.typing as npt

from mabn_ref.arrays import Array

DIGITS = 50
_context = decimal.Context(prec=DIGITS)
_longer = decimal.Context(prec=2 * DIGITS + 10)
"""The precision of 1 + x. Where x is so small that it loses digits even then, the answer is x itself."""


def _decimal(number: object) -> decimal.Decimal | None:
    if isinstance(number, Exact):
        return number.value
    if isinstance(number, decimal.Decimal):
        return number
    if isinstance(number, int | float):  # the usual case; the abstract classes below take longer
        return decimal.Decimal(number)
    if isinstance(number, numbers.Integral):
        return decimal.Decimal(int(number))
    if isinstance(number, numbers.Real):
        return decimal.Decimal(float(number))
    return None


def _made(value: decimal.Decimal) -> Exact:
    """An `Exact` from the result of an operation, which needs no checks."""
    number = Exact.__new__(Exact)
    number.value = value
    return number


def _operators(operation: Callable[[decimal.Decimal, decimal.Decimal], decimal.Decimal]) -> tuple[Any, Any]:
    def straight(self: Exact, other: object) -> Any:
        right = other.value if isinstance(other, Exact) else _decimal(other)
        return NotImplemented if right is None else _made(operation(self.value, right))

    def reflected(self: Exact, other: object) -> Any:
        left = _decimal(other)
        return NotImplemented if left is None else _made(operation(left, self.value))

    return straight, reflected


@total_ordering
class Exact:
    """A number of 50 decimal digits, made from an `Exact`, a ``decimal.Decimal``, an int or a float, taken exactly.

    Examples
    --------
    >>> Exact(1) / 3
    Exact('0.33333333333333333333333333333333333333333333333333')
    """

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        number = _decimal(value)
        if number is None:
            raise TypeError(f"value is a {type(value).__name__}, expected a real number")
        self.value: decimal.Decimal = number

    __add__, __radd__ = _operators(_context.add)
    __sub__, __rsub__ = _operators(_context.subtract)
    __mul__, __rmul__ = _operators(_context.multiply)
    __truediv__, __rtruediv__ = _operators(_context.divide)
    __pow__, __rpow__ = _operators(_context.power)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __pos__(self) -> Exact:
        return self

    def __neg__(self) -> Exact:
        return _made(_context.minus(self.value))

    def __abs__(self) -> Exact:
        return _made(_context.abs(self.value))

    def __eq__(self, other: object) -> bool:
        right = _decimal(other)
        return NotImplemented if right is None else self.value == right

    def __lt__(self, other: object) -> bool:
        right = _decimal(other)
        return NotImplemented if right is None else self.value < right

    def __hash__(self) -> int:
        return hash(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __repr__(self) -> str:
        return f"Exact('{self.value}')"

    def conjugate(self) -> Exact:
        """Return itself; ``np.var`` and ``np.vdot`` ask for it."""
        return self

    def sqrt(self) -> Exact:
        """Return the square root."""
        return _made(_context.sqrt(self.value))

    def exp(self) -> Exact:
        """Return e to this power."""
        return _made(_context.exp(self.value))

    def log(self) -> Exact:
        """Return the natural logarithm."""
        return _made(_context.ln(self.value))

    def log1p(self) -> Exact:
        """Return the natural logarithm of one plus this.

        >>> Exact(1e-60).log1p() / Exact(1e-60)
        Exact('1')
        """
        if self._is_below(DIGITS + 2):  # the next term, x^2 / 2, is beyond the last digit
            return self
        return _made(_context.plus(_longer.ln(_longer.add(self.value, 1))))

    def tanh(self) -> Exact:
        """Return the hyperbolic tangent.

        >>> Exact(1e-60).tanh() / Exact(1e-60), Exact(-1e9).tanh()
        (Exact('1'), Exact('-1'))
        """
        if self._is_below(DIGITS // 2 + 1):  # the next term is -x^3 / 3
            return self
        e = _longer.exp(_longer.multiply(-2, self.value.copy_abs()))  # which does not overflow
        size = _context.divide(_longer.subtract(1, e), _longer.add(1, e))
        return _made(size.copy_sign(self.value))

    def _is_below(self, digits: int) -> bool:
        """Whether the size is below 10**-digits."""
        return not self.value or self.value.adjusted() < -digits


def exact(x: npt.ArrayLike) -> Array:
    """Make an object array of `Exact` numbers with the shape and exactly the values of `x`, real numbers.

    Examples
    --------
    >>> root = np.sqrt(exact([2.0, 3.0]))
    >>> root[0] * root[0] - 2 < 1e-48
    True
    """
    values = np.asarray(x)
    out = np.empty(values.shape, dtype=object)
    out.ravel()[:] = [Exact(value) for value in values.ravel()]
    return out


def to_float(x: npt.ArrayLike) -> Array:
    """Round an array of `Exact` numbers to float64, to nearest."""
    return np.asarray(x, dtype=np.float64)


def ulps(value: Array, truth: Array) -> Array:
    """Measure errors in units in the last place of the true value.

    Errors are at most 0.5 where `value` is correctly rounded. Below the smallest normal number the unit is that of
    the smallest normal number.

    Parameters
    ----------
    value : array of float32 or float64
        Computed numbers.
    truth : array of object, of the same shape
        The numbers they should be, as `Exact`.

    Examples
    --------
    >>> third = exact(1.0) / 3
    >>> float(ulps(np.asarray(1 / 3), third)) < 0.5
    True
    """
    if np.shape(value) != np.shape(truth):
        raise ValueError(f"value has shape {np.shape(value)} and truth {np.shape(truth)}, expected the same")
    unit = np.spacing(np.abs(to_float(truth)).astype(np.asarray(value).dtype))
    return to_float(abs(exact(value) - truth)) / unit.astype(np.float64)
