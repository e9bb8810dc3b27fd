"""Pairs that do not match: an error that names what was given and what was expected, before anything is computed."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from mabn_ref.nn import linear, relu
from mabn_ref.norms import (
    NORMS,
    batch_norm,
    batch_renorm,
    mabn,
    mabn_variants,
    modified_batch_norm,
    moving_statistics,
)
from tests.norms.test_ownership import CASES

NAMES = {norm.module.__name__.rpartition(".")[2] for norm in NORMS.values()} | {"mabn_variants"}
MODULES = {name: (module, options) for name, (module, options) in CASES.items() if name in NAMES}
PAIRS = list(permutations(MODULES, 2))
X, ONE = np.random.default_rng(3).standard_normal((4, 2, 4)) + 1, np.ones(4)


def made(name: str) -> tuple[Any, Any, Any, Any, Any]:
    """Module, configuration, state before forward, cache, and state after it."""
    module, options = MODULES[name]
    config = module.Config(**options)
    old = module.init(4, config, dtype=float)
    _, cache, state = module.forward(X, ONE, ONE, old, config)
    return module, config, old, cache, state


def said(what: str, given: str, expected: str) -> str:
    def kind(name: str) -> str:
        return f"an? {name}.{what.capitalize()}"

    return rf"^{what} is {kind(given)}, expected {kind(expected)}$"


def calls_with(module: Any, state: Any, config: Any) -> list[Any]:
    """What takes a state and a configuration."""
    found = [
        lambda: module.forward(X, ONE, ONE, state, config),
        lambda: module.infer(X, ONE, ONE, state, config),
    ]
    if hasattr(module, "affine"):
        found.append(lambda: module.affine(ONE, ONE, state, config))
    return found


def backwards(module: Any) -> list[Any]:
    return [getattr(module, name) for name in ("backward", "backward_graph") if hasattr(module, name)]


def test_every_normaliser_takes_part() -> None:
    assert set(MODULES) == NAMES


@pytest.mark.parametrize(("own", "other"), PAIRS)
def test_a_config_of_another_normaliser(own: str, other: str) -> None:
    module, _, _, _, state = made(own)
    config = made(other)[1]
    for call in calls_with(module, state, config):
        with pytest.raises(TypeError, match=said("config", other, own)):
            call()
    with pytest.raises(TypeError, match=said("config", other, own)):
        module.init(4, config, dtype=float)


@pytest.mark.parametrize(("own", "other"), PAIRS)
def test_a_state_of_another_normaliser(own: str, other: str) -> None:
    module, config, _, cache, _ = made(own)
    state = made(other)[4]
    for call in calls_with(module, state, config):
        with pytest.raises(TypeError, match=said("state", other, own)):
            call()
    for back in backwards(module):
        with pytest.raises(TypeError, match=said("state", other, own)):
            back(X, cache, state)


@pytest.mark.parametrize(("own", "other"), PAIRS)
def test_both_or_the_cache_of_another_normaliser(own: str, other: str) -> None:
    module, _, _, _, state = made(own)
    _, config, _, cache, foreign = made(other)
    for call in calls_with(module, foreign, config):
        with pytest.raises(TypeError, match=said("state", other, own)):
            call()
    for back in backwards(module):
        with pytest.raises(TypeError, match=said("cache", other, own)):
            back(X, cache, state)
    with pytest.raises(TypeError, match=said("cache", other, own)):
        module.gradient_statistics(X, cache)


@pytest.mark.parametrize("own", MODULES)
def test_exchanged_and_other_things(own: str) -> None:
    module, config, _, cache, state = made(own)
    for call in calls_with(module, config, state):
        with pytest.raises(TypeError, match=rf"^state is an? {own}.Config, expected an? {own}.State$"):
            call()
    for wrong, name in ((None, "None"), ({}, "a dict"), (tuple(state), "a tuple"), (X, "a numpy.ndarray")):
        for call in calls_with(module, wrong, config):
            with pytest.raises(TypeError, match=rf"^state is {name}, expected an? {own}.State$"):
                call()
        with pytest.raises(TypeError, match=rf"^state is {name}, expected"):
            module.backward(X, cache, wrong)
        with pytest.raises(TypeError, match=rf"^cache is {name}, expected an? {own}.Cache$"):
            module.backward(X, wrong, state)
    with pytest.raises(TypeError, match=rf"^cache is an? {own}.State, expected an? {own}.Cache$"):
        module.backward(X, state, cache)
    for layer in (relu.forward(X), linear.forward(X[0], X[0].T, X[0, :, 0])):
        with pytest.raises(TypeError, match=rf"^cache is a (relu|linear).Cache, expected an? {own}.Cache$"):
            module.backward(X, layer[1], state)
    with pytest.raises(TypeError, match=r"^config is (None|a dict), expected"):
        module.forward(X, ONE, ONE, state, None)
    with pytest.raises(TypeError, match=r"^config is an? \w+.State, expected a"):
        module.statistics(X, state) if hasattr(module, "statistics") else module.split(X, state)


def test_statistics_of_a_batch_take_any_config_with_a_norm_batch() -> None:
    """Nothing else is read, and the numbers are the same."""
    for module in (batch_norm, modified_batch_norm):
        own = module.statistics(X, module.Config(norm_batch=2))
        np.testing.assert_array_equal(module.statistics(X, mabn.Config(norm_batch=2)), own)
        with pytest.raises(TypeError, match=r"^config is a group_norm.Config, expected a Config with norm_batch$"):
            module.statistics(X, made("group_norm")[1])


COUNTING = [name for name, (module, _) in MODULES.items() if "iteration" in module.State._fields]


@pytest.mark.parametrize("own", COUNTING)
def test_a_state_from_before_forward(own: str) -> None:
    module, config, old, cache, state = made(own)
    count = state.iteration
    assert (old.iteration, count) == (0, len(cache.y))
    assert type(count) is int
    later = module.forward(X, ONE, ONE, state, config)
    before = r"^state\.iteration is {}, expected at least {}: this state is from before the forward pass of the cache"
    for back in backwards(module):
        with pytest.raises(ValueError, match=before.format(0, count)):
            back(X, cache, old)
        with pytest.raises(ValueError, match=before.format(count, 2 * count)):
            back(X, later[1], state)
        at_once, waited = back(X, cache, state), back(X, cache, later[2])  # forward, forward, backward
        assert all(map(np.array_equal, at_once[:3], waited[:3]))
        assert waited[3].iteration == 2 * count


@pytest.mark.parametrize("own", ["batch_norm", "modified_batch_norm", "eval_norm", "online_norm", "sync_batch_norm"])
def test_a_state_made_by_hand_needs_no_count(own: str) -> None:
    module, config, _, _, state = made(own)
    state = module.State(*(value for value in state if isinstance(value, np.ndarray)))
    assert state.iteration == 0
    _, cache, after = module.forward(X, ONE, ONE, state, config)
    module.backward(X, cache, after)


COUNTING_BACK = [name for name, (module, _) in MODULES.items() if "backward_iteration" in module.State._fields]


@pytest.mark.parametrize("own", sorted(MODULES))
def test_only_who_counts_what_came_back_changes_its_state_in_backward(own: str) -> None:
    module, _, _, cache, state = made(own)
    *_, after = module.backward(X, cache, state)
    changed = [name for name, a, b in zip(state._fields, state, after, strict=True) if not np.array_equal(a, b)]
    assert ("backward_iteration" in changed) == bool(changed) == (own in COUNTING_BACK)


@pytest.mark.parametrize("own", COUNTING_BACK)
def test_a_cache_goes_through_backward_once_and_in_order(own: str) -> None:
    module, config, _, first, state = made(own)
    _, second, state = module.forward(X, ONE, ONE, state, config)
    once, twice = len(first.y), len(first.y) + len(second.y)
    *_, after = module.backward(X, first, state)
    assert after.backward_iteration == once
    for back in filter(None, (module.backward, getattr(module, "backward_graph", None))):
        with pytest.raises(
            ValueError, match=rf"^state\.backward_iteration is {once}, expected at most 0: this cache, or one"
        ):
            back(X, first, after)
        back(X, first, state)  # the function is pure: from the same state it may be asked again
        *_, skipped = back(X, second, state)  # whoever drops a batch drops its backward pass
        with pytest.raises(ValueError, match=rf"^state\.backward_iteration is {twice}, expected at most 0"):
            back(X, first, skipped)
        assert back(X, second, after)[3].backward_iteration == twice


def test_calls_are_counted_where_an_iteration_is_a_call() -> None:
    config = mabn_variants.Config.megvii_grouped(norm_batch=2, window=3)
    state = mabn_variants.init(4, config, dtype=float)
    for call in (1, 2, 3):
        _, cache, state = mabn_variants.forward(X, ONE, ONE, state, config)
        *_, state = mabn_variants.backward(X, cache, state)
        assert (state.iteration, state.backward_iteration) == (call, call)
    with pytest.raises(ValueError, match=r"^state\.backward_iteration is 3, expected at most 2"):
        mabn_variants.backward(X, cache, state)


class Mine(np.ndarray):
    """A subclass without a purpose."""


def strangers() -> dict[str, tuple[Any, str]]:
    """x in another guise, and how it is named."""
    return {
        "masked": (
            np.ma.masked_array(X, mask=X > 1),
            "a numpy.ma.MaskedArray, expected a plain numpy.ndarray: leave masked values out",
        ),
        "nothing masked": (np.ma.masked_array(X), "a numpy.ma.MaskedArray"),
        "subclass": (X.view(Mine), "a test_mismatch.Mine, expected a plain numpy.ndarray, or an array of CuPy"),
        "list": (X.tolist(), "a list, expected an array of float32 or float64"),
        "complex": (X + 0.5j * X, "complex128 and imaginary parts of up to .*, expected real numbers"),
        "small complex": (1e-9 * X * (1 + 1j), "complex128 and imaginary parts of up to"),
        "objects": (X.astype(object), "object and holds a float, expected float32 or float64"),
        "strings": (X.astype(str), "<U32, expected float32 or float64"),
        "big-endian": (X.astype(">f8"), r">f8, expected float32 or float64 in this machine's byte order; .*'='"),
    }


@pytest.mark.parametrize("guise", strangers())
@pytest.mark.parametrize("own", MODULES)
def test_arrays_that_are_refused_by_name(own: str, guise: str) -> None:
    module, config, _, cache, state = made(own)
    stranger, name = strangers()[guise]
    message = rf"(is|has dtype) {name}"
    for call in (module.forward, module.infer):
        with pytest.raises((TypeError, ValueError), match=f"^x {message}"):
            call(stranger, ONE, ONE, state, config)
    for back in backwards(module):
        with pytest.raises((TypeError, ValueError), match=r"^dz (is|has dtype)"):
            back(stranger, cache, state)
    short = stranger[0][0] if guise == "list" else stranger[0, 0]
    for parameters in ((short, ONE), (ONE, short)):
        with pytest.raises((TypeError, ValueError), match=f"^(gamma|beta) {message}"):
            module.forward(X, *parameters, state, config)
    for place, value in enumerate(state):
        if isinstance(value, np.ndarray) and value.shape == (4,) and "window" not in state._fields[place]:
            field = state._fields[place]
            with pytest.raises((TypeError, ValueError), match=rf"^state\.{field} (is|has dtype)"):
                module.forward(X, ONE, ONE, state._replace(**{field: short}), config)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_a_matrix_and_a_memory_map_are_refused(tmp_path: Any) -> None:
    config = batch_norm.Config()
    state = batch_norm.init(4, config, dtype=float)
    mapped = np.memmap(tmp_path / "x", dtype=float, mode="w+", shape=(4, 4))
    for wrong, name in ((X[0].view(np.matrix), "matrix"), (mapped, "memmap")):
        with pytest.raises(
            TypeError, match=rf"^x is a numpy\.\S*{name}, expected .*; numpy\.asarray\(x\) makes one$"
        ):
            batch_norm.forward(wrong, ONE, ONE, state, config)
        batch_norm.forward(np.asarray(wrong), ONE, ONE, state, config)


@pytest.mark.parametrize(("library", "module"), [("torch", "torch"), ("jax", "jax.numpy")])
def test_arrays_of_other_libraries_are_refused_by_name(library: str, module: str) -> None:
    xp = pytest.importorskip(module, reason=f"{library} is not installed")
    config = batch_norm.Config()
    state = batch_norm.init(4, config, dtype=np.float32)
    for call in (batch_norm.forward, batch_norm.infer):
        with pytest.raises(
            TypeError, match=rf"^x is a {library}.*, expected a plain numpy\.ndarray, or an array of CuPy"
        ):
            call(xp.ones((4, 4)), xp.ones(4), xp.ones(4), state, config)


def test_the_doors_of_the_gradient_checker_stay_open_only_so_far() -> None:
    """A complex step is taken in forward; in backward and in a state only where forward took one."""
    config = batch_norm.Config()
    state = batch_norm.init(4, config, dtype=float)
    _, cache, new = batch_norm.forward(X + 1e-30j, ONE + 0j, 0j * ONE, state, config)
    batch_norm.backward(X + 1e-30j, cache, new)
    batch_norm.forward(X + 1e-30j, ONE, ONE, new, config)
    _, cache, state = batch_norm.forward(X, ONE, ONE, state, config)
    with pytest.raises(TypeError, match=r"^dz has dtype complex128, expected float64, the dtype of the forward pass"):
        batch_norm.backward(X + 1e-30j, cache, state)
    with pytest.raises(TypeError, match=r"^state\.mean has dtype complex128, expected float64, the dtype of x"):
        batch_norm.forward(X, ONE, ONE, new, config)
    with pytest.raises(TypeError, match=r"^the state has dtype complex128, expected float32 or float64"):
        batch_renorm.init(4, batch_renorm.Config(), dtype=complex)
    with pytest.raises(TypeError, match=r"^x has dtype object and holds a fractions.Fraction"):
        batch_norm.forward(np.full((4, 4), Fraction(1, 3), dtype=object), ONE, ONE, state, config)


def test_the_settings_of_a_mismatch_would_have_trained_silently() -> None:
    """The fields overlap, which is why nothing but the class tells them apart."""
    assert {"eps", "norm_batch", "decay"} <= set(vars(mabn.Config())) & set(vars(moving_statistics.Config()))
    assert mabn.Config().decay != batch_norm.Config().decay


@pytest.mark.parametrize("own", sorted(MODULES))
def test_libraries_are_not_mixed(own: str) -> None:
    """NumPy would take an array of another library into a result, and the state would be of both."""
    strict = pytest.importorskip("array_api_strict")
    module, config, _, cache, state = made(own)
    theirs = module.init(4, config, dtype=strict.float64, xp=strict)
    wanted = "expected an array of numpy, the library of "
    with pytest.raises(TypeError, match=f"^gamma is an array_api_strict.*, {wanted}x$"):
        module.forward(X, strict.ones(4, dtype=strict.float64), ONE, state, config)
    with pytest.raises(TypeError, match=f"^dz is an array_api_strict.*, {wanted}the forward pass$"):
        module.backward(strict.asarray(X), cache, state)
    for name in (name for name, value in theirs._asdict().items() if hasattr(value, "dtype")):
        mixed = state._replace(**{name: getattr(theirs, name)})
        with pytest.raises(TypeError, match=rf"^state\.{name} is an array_api_strict.*, {wanted}x$"):
            module.forward(X, ONE, ONE, mixed, config)
        with pytest.raises(TypeError, match=rf"^state\.{name} is an array_api_strict.*, {wanted}"):
            module.backward(X, cache, mixed)
