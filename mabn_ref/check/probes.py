"""What is asked of a layer's behaviour: what it does to its caller, over its life, and at the edges of its range.

Every probe holds the layer against itself, put through the same in another way, so that no convention matters. The
methods that a probe needs besides those of a `Target` are an adapter's; without them it is not run, and the report
says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.observe import config_of
from mabn_ref.check.scenarios import ALONE, HELD, Scenario, parameters
from mabn_ref.check.target import Target

STEP = 3e-3
"""Of central differences: harmless in single precision, and exact where inference is a straight line."""
STEPS = STEP, -STEP
CLOSE = 2e-2
"""What two ways may differ by, relative, where one of them is a numerical derivative. Faults differ by 1 and more."""
FAR = 8192.0
"""A mean of about 10^4 standard deviations; every number drawn can be added to it exactly in float32."""
ALMOST = 0.1
"""What float32 may lose at such a mean: it keeps three digits of a sample's distance from it."""
OF_SIZE_100 = {"float16": 0.05, "bfloat16": 0.1}
"""Half precisions, and what may be lost in each, on inputs of size 100."""


class NotOffered(Exception):
    """The layer does not offer what a probe asks for, and says so."""


class Limit(Exception):
    """Something to know of the layer that is not a fault of its numbers."""


class Probing:
    """A target, and what it is given: small inputs, the same in every probe."""

    def __init__(self, target: Target, norm: str, scenario: Scenario, space: tuple[int, ...]) -> None:
        self.target: Any = target
        self.norm, self.channels = norm, scenario.channels
        self.shape = (scenario.samples, *space, self.channels)
        self.dtype, self.config = scenario.dtype, config_of(norm, scenario)
        rng = np.random.default_rng(7)
        # multiples of 2^-9 up to 8, exact in half precision
        drawn = np.clip(np.rint(512 * rng.standard_normal((6, *self.shape))) / 512, -4, 4)
        self.xs, self.dzs = drawn[:3].astype(self.dtype), drawn[3:].astype(self.dtype)
        self.gammas, self.betas = zip(
            *([a.astype(self.dtype) for a in parameters(k, self.channels)] for k in range(3)), strict=True
        )

    def new(self) -> Any:
        """A new layer."""
        return self.target.make(self.channels, self.config)

    def train(self, layer: Any, k: int, by: int | None = None, training: bool = True) -> Array:
        """The k-th forward pass, with the parameters of the step `by`."""
        gamma, beta = (a[k if by is None else by].copy() for a in (self.gammas, self.betas))
        return np.array(self.target.forward(layer, self.xs[k].copy(), gamma, beta, training))

    def step(self, layer: Any, k: int, by: int | None = None) -> list[Array]:
        """The k-th pass forward and backward: z, dx, dgamma and dbeta."""
        z = self.train(layer, k, by)
        return [z, *_arrays(self.target.backward(layer, self.dzs[k].copy()))]

    def infer(self, layer: Any, k: int = 0, by: int | None = None) -> Array:
        """Inference on the k-th input, with the parameters of the step `by`."""
        return self.train(layer, k, by, training=False)

    def apart(self, found: Sequence[Array], expected: Sequence[Array]) -> str:
        """Say where arrays differ that are to be the same, or ""."""
        return _apart(found, expected, 1e-9 if self.dtype == "float64" else 1e-4)


def _arrays(values: Sequence[Any]) -> list[Array]:
    return [np.array(value) for value in values if value is not None]


def _apart(found: Sequence[Array], expected: Sequence[Array], tolerance: float) -> str:
    """Say where two lists of arrays differ, or ""."""
    for a, b in zip(found, expected, strict=True):
        size = np.max(np.abs(b)) + 1e-3
        error = np.where(np.isfinite(a), np.abs(a - b), np.inf) / size
        worst = np.unravel_index(np.argmax(error), error.shape)
        if error[worst] > tolerance:
            return f"{a[worst]:.4g} where {b[worst]:.4g} is due"
    return ""


def _input_kept(p: Probing) -> str:
    layer, found = p.new(), []
    x, dz = p.xs[0].copy(), p.dzs[0].copy()
    z = p.target.forward(layer, x, p.gammas[0].copy(), p.betas[0].copy(), True)
    found += ["x in training"] * _changed(x, p.xs[0])
    left = x.copy()
    dx = p.target.backward(layer, dz)[0]
    found += ["x in backward"] * _changed(x, left)
    found += ["dz in backward; a residual block hands it to its other branch too"] * _changed(dz, p.dzs[0])
    returned = [(name, a, np.array(a)) for name, a in (("z", z), ("dx", dx))]
    p.step(layer, 1)
    found += [f"the {name} that it returned, in the next step" for name, a, before in returned if _changed(a, before)]
    x = p.xs[1].copy()
    z = p.target.forward(layer, x, p.gammas[1].copy(), p.betas[1].copy(), False)
    found += ["x in inference"] * _changed(x, p.xs[1])
    before = np.array(z)
    p.infer(layer, 2)
    return ", ".join(found + ["the z that it returned, in the next inference"] * _changed(z, before))


def _changed(a: Array, before: Array) -> bool:
    return not np.array_equal(a, before, equal_nan=True)


def _inference_gradient(p: Probing) -> str:
    layer = p.new()
    p.step(layer, 0)
    x, dz = p.xs[1], p.dzs[1]
    dx = p.target.inference_gradient(layer, x.copy(), p.gammas[1], p.betas[1], dz)
    if dx is None:
        return "no gradient reaches x"
    size = np.sqrt(np.sum(np.square(dx)))
    for v in np.where(p.dzs[[0, 2]] < 0, -1.0, 1.0):
        ends = [p.target.forward(layer, (x + h * v).astype(p.dtype), p.gammas[1], p.betas[1], False) for h in STEPS]
        slope = np.sum(dz * (np.array(ends[0], float) - np.array(ends[1], float))) / (STEPS[0] - STEPS[1])
        got = np.sum(dx * v)
        if abs(got - slope) > CLOSE * max(size, abs(slope), 1e-3):
            held = "; the statistics are detached: a value's gradient reaches that value alone" * _held(p, layer)
            return f"a slope of {got:.4g}, not {slope:.4g}{held}"
    return ""


def _held(p: Probing, layer: Any) -> bool:
    """Whether the gradient at inference of one value of the output reaches the same value of the input alone."""
    one = np.zeros_like(p.dzs[1])
    one.flat[0] = 1.0
    dx = p.target.inference_gradient(layer, p.xs[1].copy(), p.gammas[1], p.betas[1], one)
    return dx is not None and not np.any(dx.ravel()[1:])


def _twins(p: Probing) -> tuple[Any, Any]:
    """Two new layers after the same step; of those that differ here, no difference elsewhere shows anything."""
    one, other = p.new(), p.new()
    if p.apart(p.step(one, 0), p.step(other, 0)):
        raise NotOffered("two new layers return different numbers for the same input")
    return one, other


def _life(p: Probing) -> str:
    """Training, inference, training and inference again, against the same without the first inference."""
    one, other = _twins(p)
    p.infer(one, 1), p.infer(one, 2)
    if words := p.apart(p.step(one, 1), p.step(other, 1)):
        return f"training after an inference returns {words}"
    words = p.apart([p.infer(one, 2, by=0)], [p.infer(other, 2, by=0)])
    return f"inference after more training returns {words}" if words else ""


def _two_forwards(p: Probing) -> str:
    _twins(p)
    one, other = p.new(), p.new()
    expected = [a for k in (0, 1) for a in p.step(other, k, by=0)[1:]]
    held = []
    for k in (0, 1):
        p.train(one, k, by=0)
        held.append(p.target.hold(one))
    found = [a for k in (0, 1) for a in _arrays(p.target.backward_of(one, held[k], p.dzs[k].copy()))]
    words = p.apart(found, expected)
    return f"the first pass's gradient is {words}" if words else ""


def _second_derivative(p: Probing) -> str:
    x, v, w = p.xs[0], p.dzs[1], np.sign(p.xs[2]) + (p.xs[2] == 0)
    found = p.target.second_derivative(p.new(), x, p.gammas[0], p.betas[0], p.dzs[0], v)
    ends = []
    for side in (1, -1):
        layer = p.new()
        p.target.forward(layer, (x + side * STEP * w).astype(p.dtype), p.gammas[0], p.betas[0], True)
        ends.append(np.array(p.target.backward(layer, p.dzs[0].copy())[0], float))
    slope = np.sum((ends[0] - ends[1]) * v) / (2 * STEP)
    got, largest = np.sum(found * w), np.sum(np.abs(v)) / p.xs.shape[1]
    right = abs(got - slope) < CLOSE * max(largest, abs(slope))
    return "" if right else f"{got:.4g}, where differences give {slope:.4g}"


def _graph(p: Probing) -> str:
    layer = p.new()
    p.train(layer, 0)
    first = p.target.hold(layer)
    p.train(layer, 1, by=0)
    return ", ".join(p.target.reaching_back(layer, first))


def _goes_on(p: Probing, other: Any, layer: Any) -> str:
    """Say where a layer that has the state of another infers or trains otherwise, or ""."""
    if words := p.apart([p.infer(other, 2)], [p.infer(layer, 2)]):
        return f"inference returns {words}"
    words = p.apart(p.step(other, 2), p.step(layer, 2))  # averages of backward show nowhere else
    return f"training goes on with {words}" if words else ""


def _checkpoint(p: Probing) -> str:
    layer, _ = _twins(p)
    other = p.new()
    p.step(layer, 1)
    p.infer(other, 2)
    lost, apart = p.target.restore(other, layer)
    words = _goes_on(p, other, layer)
    if words and apart:
        raise Limit(
            f"{', '.join(apart)} {'is' if len(apart) == 1 else 'are'} not in state_dict: the layer's owner saves them"
        )
    named = f"; it lacks {', '.join(lost)}" if lost else ""
    return f"after loading it, {words}{named}" if words else ""


def _copy(p: Probing) -> str:
    layer, twin = _twins(p)
    before = p.infer(layer, 2)
    other = p.target.copy(layer)
    if words := p.apart([p.infer(other, 2)], [before]):
        return f"the copy returns {words}"
    trained = p.step(other, 1)
    if words := p.apart([p.infer(layer, 2)], [before]):
        return f"training the copy changes the original: it returns {words}"
    expected = p.step(twin, 1)
    if words := p.apart(trained, expected):
        return f"training the copy goes on with {words}"
    words = p.apart(p.step(layer, 1), expected)
    return f"training the copy changes the original: it goes on with {words}" if words else ""


def _pickle(p: Probing) -> str:
    layer, _ = _twins(p)
    try:
        other = p.target.pickled(layer)
    except Exception as error:
        raise Limit(f"it cannot be pickled ({type(error).__name__}: {str(error).splitlines()[0]})") from error
    words = _goes_on(p, other, layer)
    return f"of the copy, {words}" if words else ""


def _apart_from_others(p: Probing) -> str:
    alone, one, other = p.new(), p.new(), p.new()
    p.step(alone, 0)
    expected = p.infer(alone, 2)
    p.step(one, 0), p.step(other, 0), p.step(other, 1)
    words = p.apart([p.infer(one, 2)], [expected])
    return f"after another has trained, one returns {words}" if words else ""


def _constant(p: Probing) -> str:
    """Try a channel of zeros and one of another constant; samples instead, if each has its own statistics."""
    x = p.xs[0].copy()
    parts = x if p.norm in ALONE else np.moveaxis(x, -1, 0)
    parts[0], parts[-1] = 0.0, 0.5
    layer = p.new()
    z = p.target.forward(layer, x, p.gammas[0], p.betas[0], True)
    dx = p.target.backward(layer, p.dzs[0].copy())[0]
    for name, a in (("z", z), ("dx", dx)):
        if not np.isfinite(a).all():
            return f"{name} is {np.array(a)[~np.isfinite(a)][0]}"
    return ""


def _far_mean(p: Probing) -> str:
    """Of the same numbers about 0 and about `FAR`, in float32; z is the same, but for d of Batch Renormalization."""
    x = p.xs[0].astype(np.float32)
    one, none = np.ones(p.channels, np.float32), np.zeros(p.channels, np.float32)
    near, far = (np.array(p.target.forward(p.new(), a, one, none, True), float) for a in (x, x + np.float32(FAR)))
    if abs(np.mean(far)) > 0.5 and p.norm != "brn":
        raise NotOffered(f"its output is not centred there: its mean is {np.mean(far):.3g}")
    if p.norm == "brn":  # d is the same for all values of a channel
        near, far = (a - np.mean(a, axis=tuple(range(x.ndim - 1))) for a in (near, far))
    return _apart([far], [near], ALMOST)


def _half(p: Probing, name: str) -> str:
    x = 100 * p.xs[0].astype(float)
    try:
        z, dx, expected = p.target.in_precision(name, p.channels, p.config, x, p.dzs[0])
    except Exception as error:
        raise NotOffered(f"{type(error).__name__}: {str(error).splitlines()[0]}") from error
    if not np.isfinite(dx).all():
        return "dx is not finite on inputs of size 100"
    words = _apart([z], [expected], OF_SIZE_100[name])
    return f"on inputs of size 100 z is {words}" if words else ""


@dataclass(frozen=True)
class Probe:
    """One question about how a layer behaves."""

    name: str
    done: str  #: what is done, as the docs show it
    mistake: str
    sentence: str  #: what is said when it fails; what was found follows
    run: Callable[[Probing], str]  #: returns what is wrong, or ""
    needs: tuple[str, ...] = ()  #: the adapter's methods
    not_of: tuple[str, ...] = ()  #: the normalisers of which it is not asked
    why_not: str = ""


_HOLD = ("hold", "backward_of")
_MOVING = tuple(norm for norm in HELD if norm != "brn")  # both passes read what earlier batches left
PROBES: tuple[Probe, ...] = (
    Probe(
        "input kept", "After each pass x and dz are what they were, and after the next call z and dx are, too.",
        "input-overwritten", "The layer overwrites an array that its caller may still need.", _input_kept,
    ),
    Probe(
        "gradient at inference", "In eval mode, dx is compared with central differences of the layer's own output.",
        "no-gradient-at-inference", "In eval mode dx is not the derivative of the output.", _inference_gradient,
        ("inference_gradient",),
    ),
    Probe(
        "train, infer, train again", "The same with and without inferences in between.", "inference-leaves-traces",
        "An inference changes what comes after it.", _life,
    ),
    Probe(
        "two forward passes before the backward passes", "As where a layer is used twice in one graph.",
        "one-pass-remembered", "Backward uses what a later forward pass left.", _two_forwards, _HOLD,
        tuple(norm for norm in _MOVING if norm != "moving"),
        "backward has a memory of its own, which is in the order of the passes",
    ),
    Probe(
        "second derivatives", "The derivative of dx is compared with central differences of dx.",
        "second-derivative-wrong", "The derivative of dx is wrong, as a gradient penalty takes it.",
        _second_derivative, ("second_derivative",), HELD,
        "r and d, or the averages, are constants in backward",
    ),
    Probe(
        "statistics detached", "Whether gradients reach from the moving statistics to an earlier batch.",
        "statistics-keep-the-graph",
        "The moving statistics are not detached: the graphs of all earlier steps stay in memory.", _graph,
        ("reaching_back", *_HOLD),
    ),
    Probe(
        "checkpoint",
        "A second layer that has inferred before loads the ``state_dict`` of the first; both infer and train alike.",
        "statistics-not-saved", "state_dict does not restore the layer.", _checkpoint, ("restore",),
    ),
    Probe(
        "instances apart", "One instance infers the same before and after another is trained.",
        "instances-share-state", "Instances share what they keep, as in attributes of the class.", _apart_from_others,
    ),
    Probe(
        "deep copy", "A copy infers and trains the same, and shares nothing.", "copy-differs",
        "A deep copy is not the layer.", _copy, ("copy",),
    ),
    Probe(
        "pickling", "A pickled layer infers and trains the same.", "pickle-differs",
        "A pickled layer is not the layer.", _pickle, ("pickled",),
    ),
    Probe(
        "constant channel", "z and dx are finite when all values of a channel, or of a sample, are equal.",
        "not-finite-on-a-constant", "A channel or a sample of one constant gives numbers that are not finite.",
        _constant,
    ),
    Probe(
        "mean of 8192 standard deviations", "In float32, against the same numbers about 0.", "one-pass-variance",
        "In float32 the variance is lost at a mean of 8192 standard deviations, as with E[x^2] - E[x]^2; subtract "
        "the mean first.", _far_mean, (), ("modified-bn", *_MOVING), "no variance of the batch is taken",
    ),
    *(
        Probe(
            name, f"The layer in {name} on inputs of size 100, against itself in float64.", f"{name}-range",
            f"In {name} the layer leaves the range of the numbers, or loses their digits.",
            lambda p, name=name: _half(p, name),  # type: ignore[misc]
            ("in_precision",),
        )
        for name in OF_SIZE_100
    ),
)  # fmt: skip
"""What is asked, in this order."""
