"""The playground: its numbers against the package, and its page by mouse, by keyboard and on a phone."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np
import pytest

from mabn_ref.norms import batch_norm, mabn, modified_batch_norm
from mabn_ref.norms.common import ema, sma
from tests.docs import browser

pytestmark = pytest.mark.docs

STATIC = Path(__file__).parents[2] / "docs" / "_static"
EPS, CLIP = 1e-5, 5.0
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    if browser.executable() is None:
        pytest.skip(f"no browser, none of {', '.join(browser.NAMES)} is installed")
    opened = browser.Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture
def numbers(chromium: browser.Browser, tmp_path: Path) -> Callable[..., Any]:
    """Calls a function of the script with arguments, in a page that has nothing else."""
    page = tmp_path / "numbers.html"
    page.write_text(f"<meta charset=utf-8><script src='{(STATIC / 'playground_numbers.js').as_uri()}'></script>")
    chromium.open(page)

    def call(function: str, *arguments: Any) -> Any:
        return chromium.run(f"numbers.{function}(...{json.dumps(arguments)})")

    return call


def traced(function: Callable[..., Any], *arguments: Any) -> tuple[Any, list[tuple[str, Any]]]:
    """What a function returns, and every array or number that it gave a name to, in order."""
    named: list[tuple[str, Any]] = []
    last: dict[str, Any] = {}

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code is not function.__code__:
            return None
        for name, value in frame.f_locals.items():
            if event != "call" and last.get(name) is not value and isinstance(value, np.ndarray):
                named.append((name, value))
            last[name] = value
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        returned = function(*arguments)
    finally:
        sys.settrace(before)
    return returned, named


def hold(steps: list[dict[str, Any]], norm: ModuleType, given: dict[str, Any], state: Any, config: Any) -> None:
    """Hold every step of the script against the variable of that name in the package; no gradient is left out."""
    x, dz = (np.array(given[name])[:, None] for name in ("x", "dz"))
    gamma, beta = (np.array([given[name]]) for name in ("gamma", "beta"))
    (_, cache, state), forward = traced(norm.forward, x, gamma, beta, state, config)
    returned, backward = traced(norm.backward_graph, dz, cache, state)
    for name, found, expected in zip(
        ("dx", "dgamma", "dbeta"), returned, norm.backward(dz, cache, state), strict=False
    ):
        np.testing.assert_allclose(found, expected, **CLOSE, err_msg=name)
    for which, variables in (("forward", forward), ("backward", backward)):
        for step in (step for step in steps if step["pass"] == which and step["name"] != "dz"):
            place = next(i for i, (name, _) in enumerate(variables) if name == step["name"])
            _, expected = variables.pop(place)
            np.testing.assert_allclose(np.ravel(step["value"]), np.ravel(expected), **CLOSE, err_msg=step["line"])
    assert [name for name, _ in backward if name[0] == "d" and name != "dz"] == []


def batch(rng: np.random.Generator) -> dict[str, Any]:
    """What all three passes are given."""
    values = int(rng.integers(2, 9))
    x, dz = (rng.uniform(-3, 3, values).tolist() for _ in range(2))
    return {"x": x, "dz": dz, "gamma": rng.uniform(-2, 2), "beta": rng.uniform(-2, 2), "eps": EPS}


@pytest.mark.parametrize("seed", range(10))
def test_moving_averages_are_those_of_the_package(numbers: Callable[..., Any], seed: int) -> None:
    """:eq:`averages` (7)."""
    rng = np.random.default_rng(seed)
    window, values = int(rng.integers(1, 9)), rng.uniform(-3, 3, (int(rng.integers(1, 30)), 1))
    old, decay, before = rng.uniform(-3, 3, (1,)), rng.uniform(), rng.uniform(-3, 3, (window, 1))
    found = numbers("ema", old[0], values.ravel().tolist(), decay)
    np.testing.assert_allclose(found, np.squeeze(ema(old, values, decay), -1), **CLOSE)
    for seen in (None, 0, 2, 9):
        averages, kept = numbers("sma", before.ravel().tolist(), values.ravel().tolist(), seen)
        expected, expected_kept = sma(before, values, seen=seen)
        np.testing.assert_allclose(averages, expected.ravel(), **CLOSE)
        np.testing.assert_array_equal(kept, expected_kept.ravel())


def test_lag_and_variance_are_those_of_the_weights(numbers: Callable[..., Any]) -> None:
    """:eq:`ema-moments` (9), :eq:`sma-moments` (11): the answers of the package to a single value among zeros."""
    single = np.zeros((3000, 1))
    single[0] = 1
    for window, decay in ((1, 0.0), (16, 0.98), (100, 0.9)):
        simple = sma(np.zeros((window, 1)), single)[0].ravel()
        exponential = ema(np.zeros(1), single, decay)[1].ravel()
        for found, weights in (
            (numbers("ofSimple", window), simple),
            (numbers("ofExponential", decay), exponential),
        ):
            assert found["late"] == pytest.approx(np.arange(3000) @ weights, rel=1e-12)
            assert found["variance"] == pytest.approx(weights @ weights, rel=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_both_passes_are_those_of_the_package(numbers: Callable[..., Any], seed: int) -> None:
    """:eq:`bn-graph`, :eq:`modified-graph`, :eq:`mabn-graph`, every step of them."""
    rng = np.random.default_rng(seed)
    norm: ModuleType
    for norm, function in ((batch_norm, "batchNorm"), (modified_batch_norm, "modifiedBatchNorm")):
        given, config = batch(rng), norm.Config(eps=EPS)
        hold(numbers(function, given), norm, given, norm.init(1, config, dtype=np.float64), config)

    given, window = batch(rng), int(rng.integers(1, 6))
    mabn_config = mabn.Config(eps=EPS, window=window, clip=CLIP)
    chi2, psi = rng.uniform(0, 3, (window, 1)), rng.uniform(-3, 3, (window, 1))
    chi2_before = rng.uniform(0.001, 1, 1)  # r is clipped in some
    for iteration in (0, 1, 7):
        state = mabn.State(chi2_before, chi2, psi, iteration, iteration)
        memory = {"chi2": chi2_before[0], "chi2Window": chi2.ravel().tolist(), "psiWindow": psi.ravel().tolist()}
        found = numbers("mabn", given | memory | {"clip": CLIP, "iteration": iteration})
        hold(found, mabn, given, state, mabn_config)


def test_lines_stand_in_the_source(numbers: Callable[..., Any]) -> None:
    """The page shows a line of the package with each number; it is there, word by word."""
    given = batch(np.random.default_rng(0))
    memory = {"chi2": 1.0, "chi2Window": [1.0], "psiWindow": [1.0], "clip": CLIP, "iteration": 0}
    for norm, function in (
        (batch_norm, "batchNorm"),
        (modified_batch_norm, "modifiedBatchNorm"),
        (mabn, "mabn"),
    ):
        source = inspect.getsource(norm.forward) + inspect.getsource(norm.backward_graph)
        for step in numbers(function, given | memory):
            assert step["line"] in source
