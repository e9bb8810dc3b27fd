"""Parts for the checks.py of an exercise: checks, random cases, and judges that give no number away."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.learn.regression import Explainer
from mabn_ref.learn.result_form import described, form_fault
from mabn_ref.learn.student_error import Malformed

_SPACES = ((), (5,), (2, 5), (2, 1, 5))
_LETTERS = ("", "W", "HW", "H1W")
_EPS = (1e-5, 0.1, 1.0)
_STEP = 2.0**-70


Judge = Callable[[Any, Any], Iterable[str]]
"""``judge(value, case)`` yields what is wrong with the value; the student is told the first."""


@dataclass(frozen=True)
class Check:
    """One look at the student's functions."""

    #: ``observe(code, case) -> {part: value}``: calls functions of `code` on a case and names what they return
    observe: Callable[[Any, Any], dict[str, Any]]
    #: for each part its judge, asked only if the value has the same form (tuples, shapes, dtypes) as the solution's
    parts: Mapping[str, Judge]
    #: for some parts, what finds the fault in numbers that no known mistake gives
    explain: Mapping[str, Explainer] = field(default_factory=dict)
    #: whether its functions call those of other checks, so that its parts are wrong where those are
    joins: bool = False
    #: for some parts, others of which one must be right too, since the part alone needs no understanding. Parts that
    #: the skeleton of a hunt already has right count with any other; do not list them here.
    counts_with: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, call: str, judges: Mapping[str, Judge], **rest: Any) -> Check:
        """A check of one call, such as ``"backward(dz, cache)"``, whose arguments are attributes of the case.

        The call returns the parts in the order of their judges; `rest` has the other fields of a `Check`.

        Examples
        --------
        >>> check = Check.of("half(x)", {"h": judge_that(lambda h, case: 2 * h == case.x, "twice h is not x")})
        >>> check.observe(SimpleNamespace(half=lambda x: x / 2), SimpleNamespace(x=3.0))
        {'h': 1.5}
        """
        function, *arguments = re.findall(r"\w+", call)

        def observe(code: Any, case: Any) -> dict[str, Any]:
            result = getattr(code, function)(*(getattr(case, name) for name in arguments))
            return parts(function, result, *judges) if len(judges) > 1 else dict.fromkeys(judges, result)

        return cls(observe, judges, **rest)


def unpack(function: str, result: Any, *names: str) -> Any:
    """Split a function's result into values with these names.

    Raises
    ------
    Malformed
        If it is not a tuple or list of that many values.

    Examples
    --------
    >>> unpack("moments", np.zeros(3), "mu", "var")
    Traceback (most recent call last):
    mabn_ref.learn.student_error.Malformed: moments returned an array of shape (3,), expected mu, var
    """
    if not isinstance(result, tuple | list) or len(result) != len(names):
        raise Malformed(f"{function} returned {described(result)}, expected {', '.join(names)}")
    return result


def formed(name: str, value: Any, expected: Any, axes: Mapping[str, int] | None = None) -> Any:
    """Return `value` if it has the form of `expected`, so that the check can compute with it.

    Raises
    ------
    Malformed
        If it has another form; the message says what is wrong.

    Examples
    --------
    >>> formed("s", np.ones(3), np.zeros(4))
    Traceback (most recent call last):
    mabn_ref.learn.student_error.Malformed: s has shape (3,); expected (4,): axis 0 has the wrong length
    """
    fault = form_fault(name, value, expected, axes or {})
    if fault is not None:
        raise Malformed(fault)
    return value


def part(made: Callable[[], Any]) -> Any:
    """Return what `made` returns, or the `Malformed` that it raises: then only this part is wrong."""
    try:
        return made()
    except Malformed as error:
        return error


def verdict(function: str, result: Any) -> bool:
    """Return the True or False of a test that the student wrote, or raise a `Malformed`.

    Examples
    --------
    >>> verdict("check", np.bool_(True))
    True
    """
    if not isinstance(result, bool | np.bool_):
        raise Malformed(f"{function} returned {described(result)}, expected True or False")
    return bool(result)


def shuffled(questions: Iterable[Any], seed: int) -> list[Any]:
    """The questions in an order that cannot be known without looking at them."""
    found = list(questions)
    return [found[k] for k in np.random.default_rng(seed).permutation(len(found))]


def twice(questions: Iterable[Any], seed: int, answer: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    """Ask each question twice, in a shuffled order, and return both answers.

    Examples
    --------
    >>> twice("ab", 0, str.upper)["b"]
    ['B', 'B']
    """
    asked = list(questions)
    found: dict[Any, list[Any]] = {question: [] for question in asked}
    for question in shuffled([*asked, *asked], seed):
        found[question].append(answer(question))
    return found


def apart(code: Any) -> Any:
    """The student's functions in a second process, if possible, which shares nothing with the first.

    It is the same second process on all cases.
    """
    return getattr(code, "_apart", lambda: code)()


def parts(function: str, result: Any, *names: str) -> dict[str, Any]:
    """`unpack` a result, each value under its name."""
    return dict(zip(names, unpack(function, result, *names), strict=True))


def batch(rng: np.random.Generator, k: int, *, samples: int = 6) -> SimpleNamespace:
    """Draw a batch, and the other arguments of a normaliser, for the k-th case.

    Rank and eps cycle with k: every four cases contain (N, C), (N, W, C), (N, H, W, C) and (N, H, 1, W, C), and every
    three a small, a large and a very large eps. All axes have different lengths (`samples` must not be 2, 3 or 5);
    `axes` has them by letter, for messages.

    Examples
    --------
    >>> case = batch(np.random.default_rng(0), 2)
    >>> case.x.shape, case.eps, case.axes
    ((6, 2, 5, 3), 1.0, {'N': 6, 'H': 2, 'W': 5, 'C': 3})
    """
    space = _SPACES[k % len(_SPACES)]
    shape = (samples, *space, 3)
    spread = rng.uniform(0.5, 2.0, 3)
    return SimpleNamespace(
        x=spread * (rng.standard_normal(shape) + rng.uniform(-3, 3, 3)),
        gamma=rng.choice([-1.0, 1.0], 3) * rng.uniform(0.5, 2.0, 3),
        beta=rng.standard_normal(3),
        eps=_EPS[k % len(_EPS)],
        dz=rng.standard_normal(shape),
        axes={letter: n for letter, n in zip(("N", *_LETTERS[len(space)], "C"), shape, strict=True) if letter != "1"},
    )


def mean_square(x: Array) -> Array:
    """Mean square of each channel; analytic, so that it can be differentiated by `gradient`.

    Examples
    --------
    >>> mean_square(np.array([[1.0, 2.0], [3.0, 0.0]]))
    array([5., 2.])
    """
    values = x.reshape(-1, x.shape[-1])
    return (values**2).sum(axis=0) / len(values)


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel; analytic, as `mean_square` is.

    Examples
    --------
    >>> moments(np.array([[1.0, 2.0], [3.0, 0.0]]))
    (array([2., 1.]), array([1., 1.]))
    """
    values = x.reshape(-1, x.shape[-1])
    mu = values.sum(axis=0) / len(values)
    return mu, mean_square(values - mu)


def normalised(x: Array, eps: float) -> tuple[Array, Array]:
    """y and sigma of batch normalisation; analytic, as `mean_square` is.

    Examples
    --------
    >>> normalised(np.array([[1.0], [3.0]]), 3.0)
    (array([[-0.5],
           [ 0.5]]), array([2.]))
    """
    mu, var = moments(x)
    sigma = np.sqrt(var + eps)
    return (x - mu) / sigma, sigma


def bn_dx(x: Array, dz: Array, eps: float = 0.0, *, g: Any = None, psi: Any = None, sigma: Any = None) -> Array:
    """Return dx of batch normalisation, with another g, Psi or sigma where one is given."""
    axes = tuple(range(x.ndim - 1))
    y, own_sigma = normalised(x, eps)
    g = np.mean(dz, axis=axes) if g is None else g
    psi = np.mean(y * dz, axis=axes) if psi is None else psi
    return (dz - g - y * psi) / (own_sigma if sigma is None else sigma)


def blind(dz: Array, y: Array) -> str:
    """Whether dz hides faults: "constant" in each channel, "along y" apart from a shift, or "" if neither."""
    axes = tuple(range(y.ndim - 1))
    size = np.max(np.abs(dz), initial=1e-300)
    rest = dz - np.mean(dz, axis=axes)
    if np.max(np.abs(rest)) < 1e-9 * size:
        return "constant"
    along = y * np.sum(rest * y, axis=axes) / np.sum(y * y, axis=axes)
    return "along y" if np.max(np.abs(rest - along)) < 1e-9 * size else ""


def close(value: Any, right: Any, rtol: float = 1e-7) -> bool:
    """Whether numbers agree, to `rtol` of the largest right one.

    Examples
    --------
    >>> close(np.array([1.0, 1e-9]), np.array([1.0, 0.0]))
    True
    """
    right = np.asarray(right)
    return bool(np.max(np.abs(value - right), initial=0.0) <= rtol * np.max(np.abs(right), initial=1e-6))


def root_faults(name: str, root: Array, square: Array, otherwise: str) -> Iterator[str]:
    """Yield what is wrong with a root: that it is negative, or `otherwise` that its square is not `square`.

    Examples
    --------
    >>> list(root_faults("sigma", np.array([-2.0]), np.array([4.0]), "sigma squared is not the variance plus eps"))
    ['sigma is negative: it is the positive root']
    """
    if np.any(root < 0):
        yield f"{name} is negative: it is the positive root"
    if not close(root**2, square):
        yield otherwise


def gradient(function: Callable[[Array], Array], x: Array, dz: Array) -> Array:
    """Differentiate <dz, function(x)> by the complex step, element by element.

    The function is analytic: no abs, no var, no clip.

    Examples
    --------
    >>> gradient(lambda x: x**3, np.array([1.0, 2.0]), np.array([1.0, -1.0]))
    array([  3., -12.])
    """
    found = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[i] += 1j * _STEP
        found[i] = np.sum(dz * function(moved)).imag / _STEP
    return found


def add_gradients(case: SimpleNamespace, normalise: Callable[[Array], Array]) -> SimpleNamespace:
    """Give a case the dx, dgamma and dbeta of ``gamma * normalise(x) + beta``, and return it."""
    y = normalise(case.x)
    case.dx = gradient(lambda x: case.gamma * normalise(x) + case.beta, case.x, case.dz)
    case.dgamma = gradient(lambda gamma: gamma * y + case.beta, case.gamma, case.dz)
    case.dbeta = gradient(lambda beta: case.gamma * y + beta, case.beta, case.dz)
    return case


def judge_that(holds: Callable[[Any, Any], Any], otherwise: str) -> Judge:
    """Make the judge that says `otherwise`, which may name what the case has, unless ``holds(value, case)``.

    Examples
    --------
    >>> judge = judge_that(lambda b, case: close(b, case.t), "b is not {case.t:g}")
    >>> judge(1.0, SimpleNamespace(t=2.0))
    ['b is not 2']
    """
    return lambda value, case: [] if holds(value, case) else [otherwise.format(case=case)]


def gradient_faults(name: str, value: Array, right: Array, of: str = "forward") -> Iterator[str]:
    """Yield how far a gradient is from the numerical one, and where; nothing if they agree.

    Examples
    --------
    >>> print(*gradient_faults("dx", np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    dx is not the derivative of forward: at (1,) it is off by 50 % of the largest derivative
    >>> print(*gradient_faults("dx", np.array([1.0, -2.0]), np.array([1.0, 4.0]), of="z = f(x)"))
    dx is not the derivative of z = f(x): at (1,) it is off by 150 % of the largest derivative
    """
    if close(value, right):
        return
    error = np.abs(value - right)
    worst = tuple(int(i) for i in np.unravel_index(np.argmax(error), error.shape))
    percent = 100 * float(np.max(error) / np.max(np.abs(right), initial=1e-300))
    off = f"{percent:.2g}" if percent < 99.5 or percent >= 1e6 else f"{percent:.0f}"
    yield f"{name} is not the derivative of {of}: at {worst} it is off by {off} % of the largest derivative"


def gradient_judge(name: str, of: str = "forward", at: str = "", sum_note: str = "") -> Judge:
    """Make the judge of a gradient: the attribute `name` of the case is right.

    `at` opens the message and may name attributes of the case; `sum_note` is added if the gradient does not sum to
    zero over each channel.

    Examples
    --------
    >>> judge = gradient_judge("dx", at="for {case.eps:g}, ")
    >>> list(judge(np.ones(3), SimpleNamespace(dx=np.ones(3))))
    []
    >>> print(*judge(np.zeros(1), SimpleNamespace(dx=np.ones(1), eps=0.5)))
    for 0.5, dx is not the derivative of forward: at (0,) it is off by 100 % of the largest derivative
    """

    def judge(value: Array, case: Any) -> Iterator[str]:
        for fault in gradient_faults(name, value, getattr(case, name), of):
            sums = np.abs(np.sum(value.reshape(-1, value.shape[-1]), axis=0))
            note = sum_note if np.max(sums) > 1e-9 * np.max(np.abs(value)) * value.size else ""
            yield f"{at.format(case=case)}{fault}{note}"

    return judge


def gradient_judges(of: str = "forward", at: str = "", sum_note: str = "") -> dict[str, Judge]:
    """Make the judges of dx, dgamma and dbeta, as `gradient_judge` does; `sum_note` is for dx alone."""
    parameters = {name: gradient_judge(name, of, at) for name in ("dgamma", "dbeta")}
    return {"dx": gradient_judge("dx", of, at, sum_note), **parameters}
