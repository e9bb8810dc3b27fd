"""Passes that change what they are given, or answer differently the second time, are impure."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import pytest

from mabn_ref.gradcheck import GradientError, check

x = np.array([[0.5, -1.0], [2.0, 0.3]])


def square(x: Any) -> Any:
    return x * x, {"x": x.copy()}


def square_backward(dout: Any, cache: Any) -> Any:
    return 2 * dout * cache["x"]


def reject(forward: Any, backward: Any, *sentences: str, state: Any = None) -> None:
    before = x.copy()
    result = check(forward, backward, (x,), state=state)
    assert result.verdict == "impure"
    assert result.violations == sentences
    assert result.inputs == ()
    assert (x == before).all()
    with pytest.raises(GradientError, match=sentences[0]):
        result.raise_for_error()


def test_right_passes_are_pure() -> None:
    """None of what follows is by accident."""
    assert check(square, square_backward, (x,), state={"count": 0}).verdict == "ok"


def test_forward_changes_its_input() -> None:
    """Also when doing it a second time would change nothing."""

    def forward(x: Any) -> Any:
        np.maximum(x, 0, out=x)
        return x * x, {"x": x.copy()}

    reject(forward, square_backward, "forward changed inputs")


def test_forward_changes_state() -> None:
    """Arrays, counters and lists alike; also when it sets them to the same value each time."""

    class State(NamedTuple):
        mean: Any
        history: dict[str, Any]

    for change in (
        lambda state: state.mean.fill(np.mean(x)),
        lambda state: state.history.update(count=1),
        lambda state: state.history["seen"].append(1.0),
    ):
        state = State(np.zeros(2), {"count": 0, "seen": []})

        def forward(x: Any, state: Any = state, change: Any = change) -> Any:
            change(state)
            return square(x)

        reject(forward, square_backward, "forward changed state", state=state)


def test_backward_changes_what_it_is_given() -> None:
    """The cotangent, the cache, the inputs by way of the cache, the state."""

    def scale_dout(dout: Any, cache: Any) -> Any:
        dout *= 2
        return dout * cache["x"]

    def empty_cache(dout: Any, cache: Any) -> Any:
        return 2 * dout * cache.pop("x")

    def into_input(dout: Any, x: Any) -> Any:
        x *= 2 * dout
        return x

    state = np.zeros(1)

    def into_state(dout: Any, cache: Any) -> Any:
        state[0] = 1
        return square_backward(dout, cache)

    reject(square, scale_dout, "backward changed dout")
    reject(square, empty_cache, "backward changed cache")
    reject(lambda x: (x * x, x), into_input, "backward changed inputs", "backward changed cache")
    reject(square, into_state, "backward changed state", state=state)


def test_a_second_call_differs() -> None:
    """Dropout without a seed; a counter out of sight."""
    rng = np.random.default_rng(0)
    reject(
        lambda x: (x * rng.random(x.shape), {"x": x}),
        square_backward,
        "forward returned different numbers on a second call",
    )
    calls = []

    def backward(dout: Any, cache: Any) -> Any:
        calls.append(0)
        return square_backward(dout, cache) * len(calls)

    reject(square, backward, "backward returned different numbers on a second call")


def test_a_buffer_shared_between_calls() -> None:
    """Two forwards before a backward: the cache of the first must be its own."""
    buffer = np.empty_like(x)

    def forward(x: Any) -> Any:
        buffer[...] = x + len(seen)
        seen.append(0)
        return x * x, {"x": buffer}

    seen: list[int] = []
    reject(forward, square_backward, "a second forward changed cache")


def test_an_output_shared_between_calls() -> None:
    """The next call must not overwrite it."""
    buffer = np.empty_like(x)
    calls = []

    def forward(x: Any) -> Any:
        calls.append(0)
        np.multiply(x, x * len(calls), out=buffer)
        return buffer, {"x": x}

    sentences = ("a second forward changed out", "forward returned different numbers on a second call")
    reject(forward, square_backward, *sentences)


def test_gradients_shared_between_calls() -> None:
    """The backward of a second layer, or of a second cotangent, must not overwrite them."""
    buffer = np.empty_like(x)
    reject(
        square,
        lambda dout, cache: np.multiply(2 * dout, cache["x"], out=buffer),
        "a second backward changed gradients",
    )


class Held:
    """A layer that keeps what backward needs in itself, as many people write theirs."""

    def forward(self, x: Any) -> Any:
        self.x = x
        return x * x

    def backward(self, dout: Any) -> Any:
        return 2 * dout * self.x


def test_a_layer_that_holds_what_backward_needs() -> None:
    """Its gradients are those of the last forward; a copy of the layer as the cache makes a pair of it."""
    layer, goes_by = Held(), "backward uses the last call of forward, not the cache that it is given"
    reject(lambda x: (layer.forward(x), None), lambda dout, _: layer.backward(dout), goes_by)
    last: list[Any] = []

    def half_of_it(x: Any) -> Any:
        last[:] = [x.sum()]
        return x * x.sum(), {"x": x}

    reject(half_of_it, lambda dout, cache: dout * last[0] + np.sum(dout * cache["x"]), goes_by)
    result = check(
        lambda x: (layer.forward(x), copy.deepcopy(layer)), lambda dout, cached: cached.backward(dout), (x,)
    )
    assert result.verdict == "ok"
