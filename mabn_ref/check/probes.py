"""What is asked of a layer's behaviour: what it does to its caller, over its life, and at the edges of its range.

Every probe holds the layer against itself, put through the same in another way, so that no convention matters. The
methods that a probe needs besides those of a `Target` are an adapter's; without them it is not run, and the report
says so.
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
LATE = 150_000
"""Iterations after which a schedule is where it stays."""


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
                held = "; the statistics are detached: a value's gradient reaches that value alone"
                return f"d{name}: a slope of {got:.4g}, not {slope:.4g}{held * (not k and _held(p, layer))}"
    return ""


def _held(p: Probing, layer: Any) -> bool:
    """Whether the gradient at inference of one value of the output reaches the same value of the input alone."""
    one = np.zeros_like(p.dzs[1])
    one.flat[0] = 1.0
    dx = p.target.inference_gradient(layer, p.xs[1].copy(), p.gammas[1], p.betas[1], one)[0]
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


def _forward_alone(p: Probing) -> str:
    """Two forward passes in training, without gradients where that can be said, against two steps."""
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
    """Say where a layer that has the state of another infers or trains otherwise, or ""."""
    if words := p.apart([p.infer(other, 2)], [p.infer(layer, 2)]):
        return f"inference returns {words}"
    if words := p.apart(p.step(other, 2), p.step(layer, 2)):  # averages of backward show nowhere else
        return f"training goes on with {words}"
    words = p.apart([p.infer(other, 0)], [p.infer(layer, 0)])  # and neither does how the others move
    return f"inference after more training returns {words}" if words else ""


def _grown_old(p: Probing) -> Any:
    """A layer that counts, if it does, as many iterations as it has after some days."""
    layer, tried = _twins(p)
    p.step(layer, 1), p.step(tried, 1)
    if hasattr(p.target, "age"):
        with contextlib.suppress(Exception):  # a place in a ring goes up by one, too, and is no count
            p.target.age(tried, LATE)
            p.step(tried, 2)
            p.target.age(layer, LATE)
    return layer


def _checkpoint(p: Probing) -> str:
    layer, other = _grown_old(p), p.new()
    with contextlib.suppress(Exception):  # before it has seen a batch it may refuse
        p.infer(other, 2)
    lost, elsewhere = p.target.restore(other, layer)
    words = _goes_on(p, other, layer)
    if words and elsewhere:
        are = "is" if len(elsewhere) == 1 else "are"
        raise Limit(f"{', '.join(elsewhere)} {are} not in state_dict: the layer's owner saves them")
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
    if words := p.apart(trained, expected) or p.apart([p.infer(other, 0)], [p.infer(twin, 0)]):
        return f"training the copy goes on with {words}"
    words = p.apart(p.step(layer, 1), expected)
    return f"training the copy changes the original: it goes on with {words}" if words else ""


def _pickle(p: Probing) -> str:
    layer = _grown_old(p)
    try:
        other = p.target.pickled(layer)
    except Exception as error:
        raise Limit(f"it cannot be pickled ({first_line(error)})") from error
    words = _goes_on(p, other, layer)
    return f"of the copy, {words}" if words else ""


def _apart_from_others(p: Probing) -> str:
    alone, one, other = p.new(), p.new(), p.new()
    p.step(alone, 0)
    expected = p.infer(alone, 2)
    p.step(one, 0), p.step(other, 0), p.step(other, 1)
    before = p.infer(one, 2)
    words = p.apart([before], [expected])
    p.step(other, 2)
    alike = not p.apart([p.infer(one, 2)], [before])  # then the two were made with other numbers
    return f"after another has trained, one returns {words}" if words and not alike else ""


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
        raise NotOffered("what it makes of a sample depends on the others")
    words = p.apart([one], [among[:1]])
    return f"z is {words}" if words else ""


def _smaller(p: Probing) -> str:
    """A batch of fewer samples or positions than the one before it, against the same in a new layer."""

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
        with contextlib.suppress(NotOffered):  # a layer may be made for a size
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
        raise NotOffered("gamma is not in its output")
    expected, found = gradients
    words = p.apart(found, [0 * found[0], *expected[1:]])  # z = gamma * y + beta: gamma is in dx alone
    return f"of dx, dgamma or dbeta one is {words}" if words else ""


def _input_without_gradient(p: Probing) -> str:
    _twins(p)
    layer, other = p.new(), p.new()
    found = p.target.without_input_gradient(layer, *p.first_step())
    if words := p.apart(found, p.step(other, 0)[-len(found) :]):
        return f"of dgamma and dbeta one is {words}"
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
            return f"{' and '.join(frozen)} not needed, a gradient is {words}"
    return ""


def _layout(p: Probing) -> str:
    _twins(p)
    if len(p.shape) < 3:
        raise NotOffered("without positions there is one layout")
    with _offered():
        found = p.target.in_other_layout(p.new(), *p.first_step())
    words = p.apart(found, p.step(p.new(), 0))
    return f"of z, dx, dgamma and dbeta one is {words}" if words else ""


def _overwritten(p: Probing) -> str:
    """What backward needs and does not find must be an error, as it is of what ``save_for_backward`` keeps."""
    _twins(p)
    expected = p.target.overwritten(p.new(), "", *p.first_step())
    for name in ("z", "x"):
        try:
            found = p.target.overwritten(p.new(), name, *p.first_step())
        except Exception:  # aloud
            continue
        if words := p.apart(found, expected):
            return f"after {name} has changed, of dx, dgamma and dbeta one is {words}"
    return ""


def _second_backward(p: Probing) -> str:
    layer = p.new()
    p.train(layer, 0)
    with _offered():
        first, second = p.target.backward_twice(layer, p.dzs[0].copy())
    words = p.apart(second, first)
    return f"of dx, dgamma and dbeta one is {words}" if words else ""


@contextlib.contextmanager
def _offered() -> Iterator[None]:
    """What is refused aloud gives no wrong numbers."""
    try:
        yield
    except Exception as error:
        raise NotOffered(first_line(error)) from error


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
_IN_ORDER = (
    tuple(norm for norm in _MOVING if norm != "moving"),
    "backward has a memory of its own, which is in the order of the passes",
)
PROBES: tuple[Probe, ...] = (
    Probe(
        "input kept", "After each pass x and dz are what they were, and after the next call z and dx are, too.",
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
        "train, infer, train again", "The same with and without inferences in between.", "inference-leaves-traces",
        "An inference changes what comes after it.", _life,
    ),
    Probe(
        "forward passes alone",
        "Two forward passes in training that no backward pass follows, under ``no_grad`` in PyTorch, as where "
        "statistics are estimated again; then an inference.",
        "forward-alone-differs", "In training a forward pass alone is not what it is before a backward pass.",
        _forward_alone,
    ),
    Probe(
        "two forward passes before the backward passes", "As where a layer is used twice in one graph.",
        "one-pass-remembered", "Backward uses what a later forward pass left.", _two_forwards, _HOLD, *_IN_ORDER,
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
        "a smaller batch later",
        "z and the gradients of a batch with one sample less, or of shorter rows, against those of a new layer.",
        "first-batch-kept", "The layer goes by the size of an earlier batch.", _smaller,
    ),
    Probe(
        "one sample at inference", "A sample alone, against the same among others.", "one-sample-differs",
        "At inference a sample alone is not what it is among others.", _one_sample,
    ),
    Probe(
        "gamma of 0", "dx is 0, and dgamma and dbeta are those of another gamma.", "zero-gamma",
        "Where gamma is 0 the gradients are wrong, as at the beginning of many residual networks.", _zero_gamma,
        (), ("online",), "gamma is in its layer scaling, too",
    ),
    Probe(
        "input without a gradient", "As of a network's first layer: dgamma, dbeta and the statistics are the same.",
        "first-layer-differs", "The layer is another where its input needs no gradient, as a network's first layer.",
        _input_without_gradient, ("without_input_gradient",),
    ),
    Probe(
        "gamma or beta frozen", "The other gradients are the same where gamma, beta or both need none.",
        "frozen-parameters-differ", "Where a parameter needs no gradient, the other gradients are wrong.",
        _frozen_parameters, ("with_frozen",),
    ),
    Probe(
        "memory layout", "x and dz lie with channels last in memory, or first if the layer takes them last.",
        "layout-ignored", "The layer takes for granted how its input lies in memory.", _layout, ("in_other_layout",),
    ),
    Probe(
        "x or z overwritten",
        "Before its backward pass another layer writes over z, or x, as a ReLU does with ``inplace=True``: an error, "
        "or the same gradients.",
        "reads-what-was-overwritten",
        "Backward takes what another layer has written over x or z in place; save_for_backward would notice.",
        _overwritten, ("overwritten",),
    ),
    Probe(
        "a second backward pass", "Through the same graph, as retain_graph=True allows.", "graph-spoilt",
        "Backward changes what it needs the next time.", _second_backward, ("backward_twice",), *_IN_ORDER,
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
            name,
            f"The layer in {name}: output and gradients on inputs of size 100, inference on those of size 1, against "
            "the layer in float64.",
            f"{name}-range",
            f"In {name} the layer leaves the range of the numbers, or loses their digits.",
            functools.partial(_half, name=name), ("in_precision",),
        )
        for name in OF_SIZE_100
    ),
)  # fmt: skip
"""What is asked, in this order."""
