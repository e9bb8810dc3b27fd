"""Probes over the life of a layer: training and inference in turn, smaller batches, checkpoints and copies."""

from __future__ import annotations

import contextlib
from typing import Any

from mabn_ref.check.probing import Limit, NotOffered, Probing, first_line, offered, twins

LATE = 150_000
"""Iterations after which a schedule no longer changes."""


def life(p: Probing) -> str:
    """Compare training, inference, training and inference with the same without the first inference."""
    one, other = twins(p)
    p.infer(one, 1), p.infer(one, 2)
    if words := p.apart(p.step(one, 1), p.step(other, 1)):
        return f"training after an inference returns {words}"
    words = p.apart([p.infer(one, 2, by=0)], [p.infer(other, 2, by=0)])
    return f"inference after more training returns {words}" if words else ""


def forward_alone(p: Probing) -> str:
    """Compare two forward passes in training, without gradients if the target can do so, with two steps."""
    one, other = twins(p)
    without = getattr(p.target, "without_gradients", contextlib.nullcontext)
    with without(one), offered():
        found = [p.train(one, 1), p.train(one, 2)]
    if words := p.apart(found, [p.step(other, 1)[0], p.step(other, 2)[0]]):
        return f"z is {words}"
    words = p.apart([p.infer(one, 0)], [p.infer(other, 0)])
    return f"inference after them returns {words}" if words else ""


def smaller(p: Probing) -> str:
    """Compare a batch with fewer samples or positions than the one before it with the same batch in a new layer."""

    def changed(*sizes: int | None) -> str:
        one, other = twins(p)[0], p.new()
        with offered():
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


def apart_from_others(p: Probing) -> str:
    """Compare an instance before and after another one trains."""
    alone, one, other = p.new(), p.new(), p.new()
    p.step(alone, 0)
    expected = p.infer(alone, 2)
    p.step(one, 0), p.step(other, 0), p.step(other, 1)
    before = p.infer(one, 2)
    words = p.apart([before], [expected])
    p.step(other, 2)
    alike = not p.apart([p.infer(one, 2)], [before])  # then the two were made with other numbers
    return f"after one instance has trained, another returns {words}" if words and not alike else ""


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
    layer, tried = twins(p)
    p.step(layer, 1), p.step(tried, 1)
    if hasattr(p.target, "age"):
        with contextlib.suppress(Exception):  # a position in a ring buffer goes up by one too, and is no count
            p.target.age(tried, LATE)
            p.step(tried, 2)
            p.target.age(layer, LATE)
    return layer


def checkpoint(p: Probing) -> str:
    """Compare a layer that has loaded the checkpoint of another with that one."""
    other, layer, lost, elsewhere = _loaded(p)
    words = _goes_on(p, other, layer)
    if words and not lost and not elsewhere:  # a count that is no buffer is nothing that state_dict could know of
        other, layer, *_ = _loaded(p)
        numbers = p.target.hand_numbers(other, layer)
        elsewhere = [] if _goes_on(p, other, layer) else numbers
    if words and elsewhere:
        are, them = ("is", "it") if len(elsewhere) == 1 else ("are", "them")
        raise Limit(f"{', '.join(elsewhere)} {are} not in state_dict: whoever uses the layer must save {them}")
    named = f"; state_dict lacks {', '.join(lost)}" if lost else ""
    return f"after loading it, {words}{named}" if words else ""


def _loaded(p: Probing) -> tuple[Any, Any, list[str], list[str]]:
    """A new layer with the checkpoint of an old one, that one, and what the checkpoint lacks."""
    layer, other = _grown_old(p), p.new()
    with contextlib.suppress(Exception):  # it may refuse before it has seen a batch
        p.infer(other, 2)
    return other, layer, *p.target.restore(other, layer)


def copy(p: Probing) -> str:
    """Compare a deep copy with the layer, and see that training it leaves the layer alone."""
    layer, twin = twins(p)
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


def pickle(p: Probing) -> str:
    """Compare a layer that was pickled with itself."""
    layer = _grown_old(p)
    try:
        other = p.target.pickled(layer)
    except Exception as error:
        raise Limit(f"it cannot be pickled ({first_line(error)})") from error
    words = _goes_on(p, other, layer)
    return f"in the copy, {words}" if words else ""
