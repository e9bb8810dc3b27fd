"""A target: anything with four small functions, in any library; and the simplest target, a module."""

from __future__ import annotations

import contextlib
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mabn_ref.arrays import Array


@runtime_checkable
class Target(Protocol):
    """A layer to be checked: an object, a class or a module with these four functions.

    Arrays are NumPy's, with channels last, for every framework; an adapter converts. A layer is any object
    that `make` returns; the functions may change it. The following are used if they exist:

    ``given``
        The names of the fields of `config` that `make` passes on; without this attribute, all of them. What is not
        given is read off the numbers.
    ``numbers``, ``defaults``
        Numbers that the layer has, which may be hyper-parameters; and those that it has unless told otherwise, by the
        field of `config`.
    ``groups``
        True if a call may hold several normalisation batches of ``config.norm_batch`` samples, False if each call is
        one. Without it a call with several is tried, and the result is reported.
    ``age(layer, iterations)``
        Sets the layer's own count of iterations, so that a schedule over thousands of them can be checked; returns
        False if there is none, and the scenario is reported as not run.
    ``freeze(layer, mean, var)``
        Sets the constants of frozen batch normalisation; returns False if they cannot be found.

    Examples
    --------
    >>> class Halved:
    ...     def make(channels, config):
    ...         return {}
    ...     def forward(layer, x, gamma, beta, training):
    ...         layer["scale"] = gamma / 2
    ...         return layer["scale"] * x + beta
    ...     def backward(layer, dz):
    ...         return layer["scale"] * dz, None, None
    ...     def state(layer):
    ...         return {}
    >>> isinstance(Halved, Target)
    True
    """

    def make(self, channels: int, config: Any) -> Any:
        """Return a new layer of C channels; `config` is the Config of the normaliser that it should be."""

    def forward(self, layer: Any, x: Array, gamma: Array, beta: Array, training: bool) -> Array:
        """Return z for x of shape (N, ..., C), of the dtype of x; scale and shift are `gamma` and `beta`, (C,)."""

    def backward(self, layer: Any, dz: Array) -> tuple[Array, Array | None, Array | None]:
        """Return dx, dgamma and dbeta for the last forward pass in training; None for what it does not have."""

    def state(self, layer: Any) -> dict[str, Any]:
        """Return the moving statistics, by any names: arrays of (C,), windows of (m, C), counts."""


class Holding:
    """A target whose layers keep in `cache` everything that a training forward pass leaves for backward."""

    def hold(self, layer: Any) -> Any:
        """Return what backward needs of the last forward pass."""
        return layer.cache

    def backward_of(self: Target, layer: Any, held: Any, dz: Array) -> tuple[Array, Array | None, Array | None]:
        """Return the gradients of a forward pass that is not the last."""
        layer.cache = held
        return self.backward(layer, dz)


class FunctionsTarget(Holding):
    """Pure functions as a target, in a module or any other namespace; the layer keeps the state that they return.

    Examples
    --------
    >>> import numpy as np
    >>> from mabn_ref.norms import modified_batch_norm
    >>> target = FunctionsTarget(modified_batch_norm)
    >>> layer = target.make(1, modified_batch_norm.Config(eps=0.0))
    >>> target.forward(layer, np.array([[1.0], [7.0]]), np.ones(1), np.zeros(1), True).ravel()
    array([0.2, 1.4])
    """

    groups = True

    def __init__(self, functions: Any) -> None:
        self.functions = functions

    def make(self, channels: int, config: Any) -> SimpleNamespace:
        """Make a layer; its config is of the functions' own class where that takes the same fields."""
        own = getattr(self.functions, "Config", type(config))
        with contextlib.suppress(TypeError):  # a Config that is another's altogether: they say what they make of it
            config = own(**vars(config))
        return SimpleNamespace(channels=channels, config=config, state=None, cache=None)

    def forward(self, layer: SimpleNamespace, x: Array, gamma: Array, beta: Array, training: bool) -> Array:
        if layer.state is None:
            layer.state = self.functions.init(layer.channels, layer.config, dtype=x.dtype)
        if not training:
            return self.functions.infer(x, gamma, beta, layer.state, layer.config)
        z, layer.cache, layer.state = self.functions.forward(x, gamma, beta, layer.state, layer.config)
        return z

    def backward(self, layer: SimpleNamespace, dz: Array) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta, layer.state = self.functions.backward(dz, layer.cache, layer.state)
        return dx, dgamma, dbeta

    def state(self, layer: SimpleNamespace) -> dict[str, Any]:
        return dict(layer.state._asdict())

    def freeze(self, layer: SimpleNamespace, mean: Array, var: Array) -> bool:
        state = self.functions.init(layer.channels, layer.config, dtype=mean.dtype)
        there = {"mean", "var"} <= set(getattr(state, "_fields", ()))
        layer.state = state._replace(mean=mean, var=var) if there else None
        return there

    def age(self, layer: SimpleNamespace, iterations: int) -> bool:
        counts = layer.state is not None and hasattr(layer.state, "iteration")
        if counts:
            layer.state = layer.state._replace(iteration=iterations)
        return counts


class Watched:
    """A target that reports each call before it runs, so that it is known where it hung or died.

    Examples
    --------
    >>> import numpy as np
    >>> from mabn_ref.norms import batch_norm
    >>> target = Watched(FunctionsTarget(batch_norm), print)
    >>> layer = target.make(3, batch_norm.Config())
    making a layer
    >>> z = target.forward(layer, np.ones((2, 3)), np.ones(3), np.zeros(3), True)
    in call 1 of forward, in training, on an array of shape (2, 3), float64
    """

    def __init__(self, target: Target, told: Callable[[str], None]) -> None:
        calls: dict[int, Counter[str]] = {}
        vars(self).update(target=target, told=told, calls=calls)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.target, name, value)

    def __getattr__(self, name: str) -> Any:
        found = getattr(vars(self)["target"], name)
        if not callable(found):
            return found

        def call(*given: Any) -> Any:
            self.told(self._words(name, given))
            answer = found(*given)
            if name == "make":
                self.calls[id(answer)] = Counter()  # an earlier layer may have had this id
            return answer

        return call

    def _words(self, name: str, given: tuple[Any, ...]) -> str:
        if name == "make":
            return "making a layer"
        calls = self.calls.setdefault(id(given[0]), Counter())
        calls[name] += 1
        mode = ""
        if name == "forward":
            mode = ", in training" if given[-1] else ", in inference"
        arrays = [value for value in given if isinstance(value, np.ndarray)]
        on = f", on an array of shape {arrays[0].shape}, {arrays[0].dtype}" if arrays else ""
        return f"in call {calls[name]} of {name}{mode}{on}"


MOVING = ("running", "moving", "ema", "average", "avg")
"""Words in the names of moving statistics that the names of batch statistics do not have."""


def statistic(name: str) -> str:
    """Return "mean", or "second" for a second moment or its root, by the layer's name for it; "" if neither.

    Examples
    --------
    >>> statistic("bn.running_var"), statistic("moving_mean"), statistic("count")
    ('second', 'mean', '')
    """
    name = name.rpartition(".")[2].lower()
    if any(word in name for word in ("var", "std", "sigma", "stdev", "chi", "x2", "square", "rms", "second")):
        return "second"
    return "mean" if "mean" in name or name.endswith("mu") else ""


def mean_and_variance(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of a mean and of a variance, if there is one of each and no other statistic; or nothing.

    Examples
    --------
    >>> mean_and_variance(["weight", "running_var", "running_mean"]), mean_and_variance(["mean", "var", "inv_std"])
    (('running_mean', 'running_var'), ())
    """
    found = [(statistic(name), name) for name in names if statistic(name)]
    roles, words = sorted(role for role, _ in found), " ".join(name.lower() for _, name in found)
    return tuple(name for _, name in sorted(found)) if roles == ["mean", "second"] and "var" in words else ()


def in_short(error: BaseException) -> str:
    """The message of an error; if it is long, as with a traceback in it, its first and last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{lines[0]} ... {lines[-1]}" if len(lines) > 3 else str(error)


def last_own_line(error: BaseException) -> traceback.FrameSummary | None:
    """The last line of the target's own code that an error passed, not of `mabn_ref.check` or NumPy; or None."""
    others = Path(__file__).parent, Path(np.__file__).parent
    lines = traceback.extract_tb(error.__traceback__)
    own = [line for line in lines if not any(Path(line.filename).is_relative_to(other) for other in others)]
    return own[-1] if own else None
