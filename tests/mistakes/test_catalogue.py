"""The catalogue as data: complete, well formed, and every entry a working implementation of its own."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import mabn_ref
from mabn_ref import norms
from mabn_ref.mistakes import MISTAKES, Mistake, named, plain, wrong
from mabn_ref.mistakes.one_call import over_ranks
from mabn_ref.mistakes.oracles import ORACLES
from mabn_ref.mistakes.random_inputs import RIGHT_DRAWS, Calls, calls, grouped_calls, sample_calls
from mabn_ref.nn import network, networks
from mabn_ref.norms import (
    batch_norm,
    batch_renorm,
    group_norm,
    mabn,
    online_norm,
    rms_norm,
    sync_batch_norm,
)

NORMS = tuple(dict.fromkeys(m.subject for m in MISTAKES if m.subject.__name__.startswith("mabn_ref.norms")))
each = pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
of_norms = pytest.mark.parametrize("mistake", [m for m in MISTAKES if m.subject in NORMS], ids=lambda m: m.name)


def tagged_equations() -> set[str]:
    source = Path(mabn_ref.__file__).parent
    files = [path for part in ("norms", "nn") for path in (source / part).glob("*.py")]
    return {tag for path in files for tag in re.findall(r"# eq: (.+)", path.read_text(encoding="utf-8"))}


def shares(module: Any) -> bool:
    """Whether samples share statistics."""
    return any(field.name == "norm_batch" for field in dataclasses.fields(module.Config))


def run(implementation: Any, inputs: Calls, dtype: type = np.float64) -> dict[str, Any]:
    """Everything a run returns, by name and call."""
    gamma, beta, xs, dzs = (np.asarray(a, dtype=dtype) for a in inputs[1:])
    state = implementation.init(len(gamma), inputs.config, dtype=dtype)
    found: dict[str, Any] = {}
    for k, (x, dz) in enumerate(zip(xs, dzs, strict=True)):
        z, cache, state = implementation.forward(x, gamma, beta, state, inputs.config)
        dx, dgamma, dbeta, state = implementation.backward(dz, cache, state)
        returned = {"z": z, "dx": dx, "dgamma": dgamma, "dbeta": dbeta, **state._asdict()}
        found |= {f"{name} {k}": value for name, value in returned.items()}
    return found | {"inferred": implementation.infer(xs[-1], gamma, beta, state, inputs.config)}


def test_the_catalogue_is_large_and_covers_every_normaliser_and_layer() -> None:
    assert len(MISTAKES) >= 25
    with_definition = {*plain.NORMALISERS, *plain.LAYERS, "optimiser"} - {"mabn_variants"}
    assert {mistake.subject_name for mistake in MISTAKES} == with_definition
    assert {mistake.oracle for mistake in MISTAKES} == set(ORACLES)


def test_names_and_sentences_are_unique() -> None:
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES)
    assert len({mistake.sentence for mistake in MISTAKES}) == len(MISTAKES)


@each
def test_an_entry_is_well_formed(mistake: Mistake) -> None:
    assert re.fullmatch(
        r"[a-z0-9]+(-[a-z0-9]+)+",
        mistake.name,
    )
    assert mistake.sentence.startswith("Your ")
    assert mistake.sentence.endswith(".")
    assert ". " not in mistake.sentence, "one sentence"
    assert mistake.equation in tagged_equations()
    assert mistake.edits


@each
def test_a_wrong_module_is_a_new_one_with_the_functions_and_classes_of_the_right_one(mistake: Mistake) -> None:
    before = dict(vars(mistake.subject))
    implementation = wrong(mistake)
    assert isinstance(implementation, ModuleType)
    assert dict(vars(mistake.subject)) == before
    for name, value in before.items():
        if inspect.isfunction(value) and value.__module__ == mistake.subject.__name__:
            assert getattr(implementation, name) is not value
            assert inspect.signature(getattr(implementation, name)) == inspect.signature(value)
    for name in ("Config", "State", "Cache"):
        if name != "Cache" or mistake.name not in WITH_LARGER_CACHE:
            assert getattr(implementation, name, None) is getattr(mistake.subject, name, None)


WITH_LARGER_CACHE = {"brn-r-differentiated", "brn-d-differentiated", "brn-r-and-d-differentiated"}


def test_what_either_module_returns_the_other_takes() -> None:
    layer, x, one = wrong(named("bn-no-g")), np.array([[1.0], [3.0], [8.0]]), np.ones(1)
    for first, then in ((layer, batch_norm), (batch_norm, layer)):
        config = first.Config()
        _, cache, state = first.forward(x, one, one, then.init(1, config, dtype=float), config)
        assert then.backward(x, cache, state)[3] is state


@pytest.mark.parametrize(("old", "times"), [("dy - g - psi * y", 0), ("dy = dz * gamma", 2)])
def test_an_edit_of_what_does_not_occur_as_often_as_said_names_the_mistake_and_the_text(old: str, times: int) -> None:
    said = f"bn-no-g: {old!r} occurs {times} times in mabn_ref.norms.batch_norm, expected {{}}"
    for edits, expected in ({old: "dy"}, 1), ({(old, 3): "dy"}, 3):
        with pytest.raises(ValueError, match=re.escape(said.format(expected))):
            wrong(replace(named("bn-no-g"), edits=edits))


def test_mistakes_of_one_module_are_made_together() -> None:
    names, config = ("bn-no-g", "bn-parameter-means"), batch_norm.Config()
    x, dz = np.array([[1.0], [3.0], [8.0]]), np.array([[1.0], [-2.0], [0.5]])
    _, cache, state = batch_norm.forward(x, np.ones(1), np.ones(1), batch_norm.init(1, config, dtype=float), config)
    both = wrong(*map(named, names)).backward(dz, cache, state)
    for place, name in enumerate(names):
        assert np.array_equal(both[place], wrong(named(name)).backward(dz, cache, state)[place])
        assert not np.array_equal(both[place], batch_norm.backward(dz, cache, state)[place])


def test_named_finds_a_mistake_or_lists_them() -> None:
    assert named("mabn-dx-averaged") in MISTAKES
    with pytest.raises(ValueError, match=r"name is 'no-g', expected one of bn-no-g, "):
        named("no-g")


@of_norms
def test_wrong_passes_keep_float32_and_leave_their_inputs_alone(mistake: Mistake) -> None:
    inputs = mistake.draw(np.random.default_rng(1))
    before = [np.array(a) for a in inputs[1:]]
    found = run(wrong(mistake), inputs, dtype=np.float32)
    kinds = {name: np.asarray(value).dtype for name, value in found.items() if "iteration" not in name}
    assert set(kinds.values()) == {np.dtype(np.float32)}, kinds
    run(wrong(mistake), inputs)
    assert all(np.array_equal(a, b) for a, b in zip(inputs[1:], before, strict=True))


@pytest.mark.parametrize("module", NORMS, ids=lambda module: module.__name__)
@pytest.mark.parametrize("norm_batch", [1, 2, 3])
def test_wrong_passes_run_on_any_configuration_and_shape(module: Any, norm_batch: int) -> None:
    """They are compared with users' layers over scenarios that are none of their own."""
    implementations = [wrong(mistake) for mistake in MISTAKES if mistake.subject is module]
    draw = calls(module, norm_batch=norm_batch, space=(2, 2)) if shares(module) else RIGHT_DRAWS[module]
    for seed in range(4):
        inputs = draw(np.random.default_rng(seed))
        right = {name: np.shape(value) for name, value in run(module, inputs).items()}
        for implementation in implementations:
            with np.errstate(all="ignore"):
                shapes = {name: np.shape(value) for name, value in run(implementation, inputs).items()}
            assert {n: s for n, s in shapes.items() if "psi_window" not in n} == {
                n: s for n, s in right.items() if "psi_window" not in n
            }


@pytest.mark.parametrize("module", NORMS, ids=lambda module: module.__name__)
def test_no_two_mistakes_of_a_normaliser_give_the_same_numbers(module: Any) -> None:
    """So that numbers have one explanation."""
    settings: dict[str, Any] = {"eps": 0.3, "decay": 0.9}
    if shares(module):
        settings |= next(norm.example for norm in norms.NORMS.values() if norm.module is module)
    if module is batch_renorm:
        ramp = {"start": 2, "stop": 8}
        bounds = {
            "r_max": batch_renorm.Ramp(**ramp, first=1.05, last=2.0),
            "d_max": batch_renorm.Ramp(**ramp, first=0.1, last=1.0),
        }
        settings |= bounds | {"ema_of": "sigma"}
    if module is mabn:
        settings |= {"window": 6, "clip": 1.2, "warmup": 4, "renorm_from": 1}
    of_batches = calls(module, groups=2, norm_batch=3, space=(2, 2), channels=3, count=6, **settings)
    draw = of_batches if shares(module) else sample_calls(module, count=6)
    own = {group_norm: grouped_calls(groups=2), online_norm: sample_calls(online_norm, count=6, layer_scaling=True)}
    own |= {rms_norm: sample_calls(rms_norm, count=6, channels=4, axes="channels")}
    inputs = own.get(module, draw)(np.random.default_rng(1))
    implementations = {m.name: wrong(m) for m in MISTAKES if m.subject is module} | {"right": module}
    if module is sync_batch_norm:
        implementations = {name: over_ranks(implementation) for name, implementation in implementations.items()}
        inputs = inputs._replace(config=module.Config(eps=0.3))
    results = {name: run(implementation, inputs) for name, implementation in implementations.items()}
    for (one, a), (other, b) in itertools.combinations(results.items(), 2):
        same = all(np.shape(a[k]) == np.shape(b[k]) and np.allclose(a[k], b[k], rtol=1e-6, atol=1e-9) for k in a)
        assert not same, (one, other)


def test_a_network_can_be_made_with_a_wrong_normaliser() -> None:
    rng = np.random.default_rng(0)
    x, dlogits = rng.standard_normal((4, 8, 8, 3)), rng.standard_normal((4, 10))
    results = []
    for module in (batch_norm, wrong(named("bn-no-g"))):
        layers = networks.small_network(module, batch_norm.Config(norm_batch=2), width=4)
        params, states = network.init(layers, np.random.default_rng(1), dtype=np.float64)
        _, caches, states = network.forward(layers, params, states, x)
        results.append(network.backward(layers, dlogits, caches, states)[0])
    right, other = results
    assert np.array_equal(right[-1]["w"], other[-1]["w"])
    assert not np.allclose(right[0]["w"], other[0]["w"])
