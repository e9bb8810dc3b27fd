"""Questions about a layer's behaviour: what it does to its caller, over its life, and at the edges of its range.

Every probe compares the layer with itself, run in another way, so that no convention matters. The methods that a
probe needs besides those of a `Target` come from an adapter; without them the probe is not run, and the report says
so.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mabn_ref.arrays import Array
from mabn_ref.check.probing import Limit, NotOffered, Probing, apart, arrays, first_line
from mabn_ref.check.scenarios import ALONE, HELD
from mabn_ref.check.target import statistic

STEP = 3e-3
"""The step of central differences: harmless in single precision, and exact where inference is a straight line."""
STEPS = STEP, -STEP
CLOSE = 2e-2
"""The relative difference allowed if one side is a numerical derivative. Faults differ by 1 and more."""
FAR = 8192.0
"""A mean of about 10^4 standard deviations; every number drawn can be added to it exactly in float32."""
ALMOST = 0.1
"""What float32 may lose at this mean: it keeps three digits of a sample's distance from the mean."""
OF_SIZE_100 = {"float16": 0.05, "bfloat16": 0.1}
"""Half precisions, and the relative error allowed in each on inputs of size 100."""
LATE = 150_000
"""Iterations after which a schedule no longer changes."""


def _input_kept(p: Probing) -> str:
    layer, found = p.new(), []
    x, dz = p.xs[0].copy(), p.dzs[0].copy()
    z = p.target.forward(layer, x, p.gammas[0].copy(), p.betas[0].copy(), True)
    found += ["x in training"] * _changed(x, p.xs[0])
    left = x.copy()
    dx = p.target.backward(layer, dz)[0]
    found += ["x in backward"] * _changed(x, left)
    found += ["dz in backward, which a residual block also passes to its other branch"] * _changed(dz, p.dzs[0])
    returned = [(name, a, np.array(a)) for name, a in (("z", z), ("dx", dx))]
    p.step(layer, 1)
    found += [f"the {name} it returned, during the next step" for name, a, before in returned if _changed(a, before)]
    x = p.xs[1].copy()
    z = p.target.forward(layer, x, p.gammas[1].copy(), p.betas[1].copy(), False)
    found += ["x in inference"] * _changed(x, p.xs[1])
    before = np.array(z)
    p.infer(layer, 2)
    return ", ".join(found + ["the z it returned, during the next inference"] * _changed(z, before))


def _changed(a: Array, before: Array) -> bool:
    return not np.array_equal(a, before, equal_nan=True)


def _inference_gradient(p: Probing) -> str:
    layer = p.new()
    p.step(layer, 0)
    given, dz = (p.xs[1], p.gammas[1], p.betas[1]), p.dzs[1]
    found = p.target.inference_gradient(layer, *(a.copy() for a in given), dz)
    if found[0] is None:
        return "no gradient reaches x"
    for k, (name, gradient) in enumerate(zip(("x", "gamma", "beta"), found, strict=True)):
        if gradient is None:
            continue
        size = np.sqrt(np.sum(np.square(gradient)))
        for signs in np.where(p.dzs[[0, 2]] < 0, -1.0, 1.0):
            v = signs.reshape(-1)[: gradient.size].reshape(gradient.shape)
            ends = []
            for h in STEPS:
                moved = [(a + h * v).astype(p.dtype) if at == k else a.copy() for at, a in enumerate(given)]
                ends.append(np.array(p.target.forward(layer, *moved, False), float))
            slope = np.sum(dz * (ends[0] - ends[1])) / (STEPS[0] - STEPS[1])
            got = np.sum(gradient * v)
            if abs(got - slope) > CLOSE * max(size, abs(slope), 1e-3):
                held = "; the statistics are detached: the gradient of an output value reaches only that input value"
                return f"d{name}: a slope of {got:.4g}, not {slope:.4g}{held * (not k and _held(p, layer))}"
    return ""


def _held(p: Probing, layer: Any) -> bool:
    """Whether the gradient at inference of one value of the output reaches the same value of the input alone."""
    one = np.zeros_like(p.dzs[1])
    one.flat[0] = 1.0
    dx = p.target.inference_gradient(layer, p.xs[1].copy(), p.gammas[1], p.betas[1], one)[0]
    return dx is not None and not np.any(dx.ravel()[1:])


def _twins(p: Probing) -> tuple[Any, Any]:
    """Two new layers after the same step; if they already differ here, later differences prove nothing."""
    one, other = p.new(), p.new()
    if p.apart(p.step(one, 0), p.step(other, 0)):
        raise NotOffered("two new layers return different numbers for the same input")
    return one, other


def _life(p: Probing) -> str:
    """Compare training, inference, training and inference with the same without the first inference."""
    one, other = _twins(p)
    p.infer(one, 1), p.infer(one, 2)
    if words := p.apart(p.step(one, 1), p.step(other, 1)):
        return f"training after an inference returns {words}"
    words = p.apart([p.infer(one, 2, by=0)], [p.infer(other, 2, by=0)])
    return f"inference after more training returns {words}" if words else ""


def _forward_alone(p: Probing) -> str:
    """Compare two forward passes in training, without gradients if the target can do so, with two steps."""
    one, other = _twins(p)
    without = getattr(p.target, "without_gradients", contextlib.nullcontext)
    with without(one), _offered():
        found = [p.train(one, 1), p.train(one, 2)]
    if words := p.apart(found, [p.step(other, 1)[0], p.step(other, 2)[0]]):
        return f"z is {words}"
    words = p.apart([p.infer(one, 0)], [p.infer(other, 0)])
    return f"inference after them returns {words}" if words else ""


def _two_forwards(p: Probing) -> str:
    _twins(p)
    one, other = p.new(), p.new()
    expected = [a for k in (0, 1) for a in p.step(other, k, by=0)[1:]]
    held = []
    for k in (0, 1):
        p.train(one, k, by=0)
        held.append(p.target.hold(one))
    found = [a for k in (0, 1) for a in arrays(p.target.backward_of(one, held[k], p.dzs[k].copy()))]
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
    """Say where a layer with the state of another infers or trains differently, or return ""."""
    if words := p.apart([p.infer(other, 2)], [p.infer(layer, 2)]):
        return f"inference returns {words}"
    if words := p.apart(p.step(other, 2), p.step(layer, 2)):  # the averages of backward show only here
        return f"training continues with {words}"
    words = p.apart([p.infer(other, 0)], [p.infer(layer, 0)])  # and how the other averages move shows only here
    return f"inference after more training returns {words}" if words else ""


def _grown_old(p: Probing) -> Any:
    """A layer whose count of iterations, if it has one, is that of several days of training."""
    layer, tried = _twins(p)
    p.step(layer, 1), p.step(tried, 1)
    if hasattr(p.target, "age"):
        with contextlib.suppress(Exception):  # a position in a ring buffer goes up by one too, and is no count
            p.target.age(tried, LATE)
            p.step(tried, 2)
            p.target.age(layer, LATE)
    return layer


def _checkpoint(p: Probing) -> str:
    layer, other = _grown_old(p), p.new()
    with contextlib.suppress(Exception):  # it may refuse before it has seen a batch
        p.infer(other, 2)
    lost, elsewhere = p.target.restore(other, layer)
    words = _goes_on(p, other, layer)
    if words and elsewhere:
        are = "is" if len(elsewhere) == 1 else "are"
        raise Limit(f"{', '.join(elsewhere)} {are} not in state_dict: whoever uses the layer must save them")
    named = f"; state_dict lacks {', '.join(lost)}" if lost else ""
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
    if words := p.apart(trained, expected) or p.apart([p.infer(other, 0)], [p.infer(twin, 0)]):
        return f"training the copy continues with {words}"
    words = p.apart(p.step(layer, 1), expected)
    return f"training the copy changes the original: it continues with {words}" if words else ""


def _pickle(p: Probing) -> str:
    layer = _grown_old(p)
    try:
        other = p.target.pickled(layer)
    except Exception as error:
        raise Limit(f"it cannot be pickled ({first_line(error)})") from error
    words = _goes_on(p, other, layer)
    return f"in the copy, {words}" if words else ""


def _apart_from_others(p: Probing) -> str:
    alone, one, other = p.new(), p.new(), p.new()
    p.step(alone, 0)
    expected = p.infer(alone, 2)
    p.step(one, 0), p.step(other, 0), p.step(other, 1)
    before = p.infer(one, 2)
    words = p.apart([before], [expected])
    p.step(other, 2)
    alike = not p.apart([p.infer(one, 2)], [before])  # then the two were made with other numbers
    return f"after one instance has trained, another returns {words}" if words and not alike else ""


def _constant(p: Probing) -> str:
    """Try a channel of zeros and one of another constant; with samples instead, if each has its own statistics."""
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
    """Compare the same numbers around 0 and around `FAR`, in float32: z is the same, except for BRN's d."""
    x = p.xs[0].astype(np.float32)
    one, none = np.ones(p.channels, np.float32), np.zeros(p.channels, np.float32)
    layers = p.new(), p.new()
    given = zip(layers, (x, x + np.float32(FAR)), strict=True)
    near, far = (np.array(p.target.forward(layer, a, one, none, True), float) for layer, a in given)
    if abs(np.mean(far)) > 0.5 and p.norm != "brn":
        raise NotOffered(f"its output is not centred there: its mean is {np.mean(far):.3g}")
    if p.norm == "brn":  # d is the same for all values of a channel
        near, far = (a - np.mean(a, axis=tuple(range(x.ndim - 1))) for a in (near, far))
    if words := apart([far], [near], ALMOST):
        return words
    kept = [p.target.state(layer) for layer in layers]
    spread = [name for name in kept[0] if statistic(name) == "second" and re.search("var|std|sigma", name)]
    for name in spread:
        there, due = (np.array(state[name], float) for state in reversed(kept))
        if words := apart([there], [due], ALMOST):
            return f"{name} is {words}"
    return ""


def _half(p: Probing, name: str) -> str:
    x = 100 * p.xs[0].astype(float)
    with _offered():
        found, expected, returned = p.target.in_precision(name, p.channels, p.config, x, p.dzs[0])
    if not np.isfinite(found["dx"]).all():
        return "dx is not finite on inputs of size 100"
    for what, due in expected.items():
        if words := apart([found[what]], [due], OF_SIZE_100[name]):
            return f"on inputs of size {1 if what == 'inference' else 100} {what} is {words}"
    if returned != name:
        raise Limit(f"z is {returned} where x is of half precision")
    return ""


def _one_sample(p: Probing) -> str:
    layer = p.new()
    p.step(layer, 0)
    among = p.infer(layer, 1)
    with _offered():
        one, two = (p.infer(layer, 1, sizes=(samples,)) for samples in (1, 2))
    if len(among) < 3 or p.apart([two], [among[:2]]):
        raise NotOffered("its output for a sample depends on the other samples")
    words = p.apart([one], [among[:1]])
    return f"z is {words}" if words else ""


def _smaller(p: Probing) -> str:
    """Compare a batch with fewer samples or positions than the one before it with the same batch in a new layer."""

    def changed(*sizes: int | None) -> str:
        one, other = _twins(p)[0], p.new()
        with _offered():
            return p.apart(p.step(one, 1, sizes=sizes), p.step(other, 1, sizes=sizes))

    samples, *space, _ = p.shape
    if changed(samples):
        raise NotOffered("its outputs depend on earlier batches")
    if samples > 2 and (words := changed(samples - 1)):
        return f"{samples - 1} samples after {samples}: {words}"
    if space and space[-1] > 2:
        with contextlib.suppress(NotOffered):  # a layer may be made for one size
            words = changed(samples, space[-1] - 1)
            return f"{space[-1] - 1} positions in a row after {space[-1]}: {words}" if words else ""
    if samples < 3:
        raise NotOffered("its batches are too small")
    return ""


def _zero_gamma(p: Probing) -> str:
    _twins(p)
    x, gamma, beta, dz = p.first_step()
    outputs, gradients = [], []
    for scale in (gamma, 0 * gamma):
        layer = p.new()
        outputs.append(np.array(p.target.forward(layer, x.copy(), scale, beta.copy(), True)))
        gradients.append(arrays(p.target.backward(layer, dz.copy())))
    if not p.apart(outputs[1:], outputs[:1]):
        raise NotOffered("its output does not depend on gamma")
    expected, found = gradients
    words = p.apart(found, [0 * found[0], *expected[1:]])  # z = gamma * y + beta: only dx depends on gamma
    return f"one of dx, dgamma and dbeta is {words}" if words else ""


def _input_without_gradient(p: Probing) -> str:
    _twins(p)
    layer, other = p.new(), p.new()
    found = p.target.without_input_gradient(layer, *p.first_step())
    if words := p.apart(found, p.step(other, 0)[-len(found) :]):
        return f"one of dgamma and dbeta is {words}"
    words = p.apart([p.infer(layer, 1)], [p.infer(other, 1)])
    return f"inference after it returns {words}" if words else ""


def _frozen_parameters(p: Probing) -> str:
    other = _twins(p)[1]
    x, gamma, beta, dz = p.xs[1], p.gammas[1], p.betas[1], p.dzs[1]
    p.train(other, 1)
    expected = p.target.backward(other, dz.copy())
    names = [name for name, a in zip(("dgamma", "dbeta"), expected[1:], strict=True) if a is not None]
    for frozen in [names, *([name] for name in names)]:
        layer = _twins(p)[0]
        found = p.target.with_frozen(layer, frozen, x.copy(), gamma.copy(), beta.copy(), dz.copy())
        pairs = [(a, b) for a, b in zip(found, expected, strict=True) if a is not None]
        if words := p.apart(*(arrays(side) for side in zip(*pairs, strict=True))):
            return f"with {' and '.join(frozen)} not needed, a gradient is {words}"
    return ""


def _layout(p: Probing) -> str:
    _twins(p)
    if len(p.shape) < 3:
        raise NotOffered("an input without positions has only one layout")
    with _offered():
        found = p.target.in_other_layout(p.new(), *p.first_step())
    words = p.apart(found, p.step(p.new(), 0))
    return f"one of z, dx, dgamma and dbeta is {words}" if words else ""


def _overwritten(p: Probing) -> str:
    """If backward needs what was overwritten, it must raise an error, as ``save_for_backward`` makes it do."""
    _twins(p)
    expected = p.target.overwritten(p.new(), "", *p.first_step())
    for name in ("z", "x"):
        try:
            found = p.target.overwritten(p.new(), name, *p.first_step())
        except Exception:  # an error is not a wrong number
            continue
        if words := p.apart(found, expected):
            return f"after {name} was overwritten, one of dx, dgamma and dbeta is {words}"
    return ""


def _second_backward(p: Probing) -> str:
    layer = p.new()
    p.train(layer, 0)
    with _offered():
        first, second = p.target.backward_twice(layer, p.dzs[0].copy())
    words = p.apart(second, first)
    return f"one of dx, dgamma and dbeta is {words}" if words else ""


@contextlib.contextmanager
def _offered() -> Iterator[None]:
    """Turn an error into `NotOffered`: a layer that refuses gives no wrong numbers."""
    try:
        yield
    except Exception as error:
        raise NotOffered(first_line(error)) from error


@dataclass(frozen=True)
class Probe:
    """One question about how a layer behaves."""

    name: str
    done: str  #: what is done, as shown in the docs
    mistake: str
    sentence: str  #: what the report says on failure; what was found follows it
    run: Callable[[Probing], str]  #: returns what is wrong, or ""
    needs: tuple[str, ...] = ()  #: the adapter's methods
    not_of: tuple[str, ...] = ()  #: the normalisers that it does not apply to
    why_not: str = ""


_HOLD = ("hold", "backward_of")
_MOVING = tuple(norm for norm in HELD if norm != "brn")  # both passes read what earlier batches have left
_IN_ORDER = (
    tuple(norm for norm in _MOVING if norm != "moving"),
    "its backward pass keeps averages, which depend on the order of the passes",
)
PROBES: tuple[Probe, ...] = (
    Probe(
        "input kept", "x and dz are unchanged after each pass, and the returned z and dx after the next call.",
        "input-overwritten", "The layer overwrites an array that its caller may still need.", _input_kept,
    ),
    Probe(
        "gradient at inference",
        "In eval mode, dx, dgamma and dbeta are compared with central differences of the layer's own output.",
        "no-gradient-at-inference", "In eval mode a gradient is not the derivative of the output.",
        _inference_gradient,
        ("inference_gradient",),
    ),
    Probe(
        "train, infer, train again", "Training and inference are the same with and without an inference before them.",
        "inference-leaves-traces", "An inference changes what the layer returns later.", _life,
    ),
    Probe(
        "forward passes alone",
        "Two forward passes in training without a backward pass (in PyTorch under ``no_grad``), as when statistics "
        "are re-estimated; then an inference.",
        "forward-alone-differs", "In training, a forward pass differs if no backward pass follows it.",
        _forward_alone,
    ),
    Probe(
        "two forward passes before the backward passes",
        "As when a layer is used twice in one graph: the gradients are those of separate steps.",
        "one-pass-remembered", "Backward uses what a later forward pass has left.", _two_forwards, _HOLD, *_IN_ORDER,
    ),
    Probe(
        "second derivatives", "The derivative of dx is compared with central differences of dx.",
        "second-derivative-wrong", "The derivative of dx, which a gradient penalty needs, is wrong.",
        _second_derivative, ("second_derivative",), HELD,
        "its backward pass treats r and d, or the averages, as constants",
    ),
    Probe(
        "statistics detached", "No gradient flows from the moving statistics to an earlier batch.",
        "statistics-keep-the-graph",
        "The moving statistics are not detached: the graphs of all earlier steps stay in memory.", _graph,
        ("reaching_back", *_HOLD),
    ),
    Probe(
        "a smaller batch later",
        "z and the gradients of a batch with one sample fewer, or with shorter rows, are those of a new layer.",
        "first-batch-kept", "The layer keeps using the size of an earlier batch.", _smaller,
    ),
    Probe(
        "one sample at inference", "A sample has the same output alone as among others.", "one-sample-differs",
        "At inference, a sample has a different output alone than among others.", _one_sample,
    ),
    Probe(
        "gamma of 0", "dx is 0, and dgamma and dbeta are the same as with another gamma.", "zero-gamma",
        "Where gamma is 0, as at the start in many residual networks, the gradients are wrong.", _zero_gamma,
        (), ("online",), "its layer scaling depends on gamma too",
    ),
    Probe(
        "input without a gradient", "As in a network's first layer: dgamma, dbeta and the statistics are the same.",
        "first-layer-differs",
        "The layer works differently if its input needs no gradient, as in a network's first layer.",
        _input_without_gradient, ("without_input_gradient",),
    ),
    Probe(
        "gamma or beta frozen", "The other gradients are the same if gamma, beta or both need none.",
        "frozen-parameters-differ", "If a parameter needs no gradient, the other gradients are wrong.",
        _frozen_parameters, ("with_frozen",),
    ),
    Probe(
        "memory layout", "x and dz are stored with channels last in memory, or first if the layer takes them last.",
        "layout-ignored", "The layer assumes one memory layout of its input.", _layout, ("in_other_layout",),
    ),
    Probe(
        "x or z overwritten",
        "Another layer overwrites z or x, as a ReLU with ``inplace=True`` does; then backward raises an error or "
        "returns the same gradients.",
        "reads-what-was-overwritten",
        "Backward uses x or z after another layer has overwritten it in place; save_for_backward would notice.",
        _overwritten, ("overwritten",),
    ),
    Probe(
        "a second backward pass", "Through the same graph, as retain_graph=True allows: the same gradients.",
        "graph-spoilt", "Backward changes what a second backward pass needs.",
        _second_backward, ("backward_twice",), *_IN_ORDER,
    ),
    Probe(
        "checkpoint",
        "A second layer, after an inference, loads the ``state_dict`` of the first; both then infer and train alike.",
        "statistics-not-saved", "state_dict does not restore the layer.", _checkpoint, ("restore",),
    ),
    Probe(
        "instances apart", "One instance infers the same before and after another is trained.",
        "instances-share-state", "Instances share their state, as in attributes of the class.", _apart_from_others,
    ),
    Probe(
        "deep copy", "A copy infers and trains the same, and shares nothing.", "copy-differs",
        "A deep copy does not work as the layer does.", _copy, ("copy",),
    ),
    Probe(
        "pickling", "A pickled layer infers and trains the same.", "pickle-differs",
        "A pickled layer does not work as the layer does.", _pickle, ("pickled",),
    ),
    Probe(
        "constant channel", "z and dx are finite when all values of a channel, or of a sample, are equal.",
        "not-finite-on-a-constant", "A constant channel or sample gives numbers that are not finite.",
        _constant,
    ),
    Probe(
        "mean of 8192 standard deviations", "In float32, the results are those for the same numbers around 0.",
        "one-pass-variance",
        "In float32 the variance is lost at a mean of 8192 standard deviations, as with E[x^2] - E[x]^2; subtract "
        "the mean first.", _far_mean, (), ("modified-bn", *_MOVING), "the layer takes no variance of the batch",
    ),
    *(
        Probe(
            name,
            f"The layer in {name}: output and gradients on inputs of size 100, inference on those of size 1, against "
            "the layer in float64.",
            f"{name}-range",
            f"In {name} the layer leaves the range of numbers or loses digits.",
            functools.partial(_half, name=name), ("in_precision",),
        )
        for name in OF_SIZE_100
    ),
)  # fmt: skip
"""The probes, in the order in which they run."""
