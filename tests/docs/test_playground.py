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


@pytest.fixture
def page(html: Path, chromium: browser.Browser) -> Iterator[browser.Browser]:
    """The page, just opened; when the test is done it must not have complained."""
    chromium.resize(browser.WIDE)
    chromium.open(html / "playground.html")
    yield chromium
    assert chromium.complaints() == []
    assert [url for url in chromium.requests() if not url.startswith(("file:", "data:"))] == []


def press(page: browser.Browser, key: str, code: int, text: str = "") -> None:
    """Press a key and let it go."""
    pressed = {"key": key, "code": key, "windowsVirtualKeyCode": code}
    page.call("Input.dispatchKeyEvent", type="keyDown", text=text, **pressed)
    page.call("Input.dispatchKeyEvent", type="keyUp", **pressed)


def click(page: browser.Browser, text: str) -> None:
    """Click the button with this text."""
    buttons = "[...document.querySelectorAll('.playground button')]"
    page.run(f"{buttons}.find(button => button.textContent === {json.dumps(text)}).click()")


def enter(page: browser.Browser, name: str, value: str, which: int = 0) -> None:
    """Enter a value."""
    page.run(
        f"(() => {{ const field = document.querySelectorAll('.playground [name={name}]')[{which}];"
        f"field.value = '{value}'; for (const kind of ['input', 'change'])"
        "field.dispatchEvent(new Event(kind, {bubbles: true})); })()"
    )


def seen(page: browser.Browser, part: str) -> str:
    """What the page says it shows."""
    said = page.run(f"document.querySelector('#{part} .seen').textContent")
    assert isinstance(said, str)
    return said


def measures(page: browser.Browser) -> list[list[float]]:
    """The table: of one batch, of the simple average, of the exponential one."""
    texts = "[...row.cells].slice(1).map(cell => cell.textContent)"
    rows = page.run(f"[...document.querySelectorAll('.measures tbody tr')].map(row => {texts})")
    return [[float(text) for text in row] for row in rows]


@pytest.mark.parametrize(
    ("preset", "images", "window", "decay", "drift", "drop", "verdict"),
    [
        ("Two images: noise", 2, 16, 0.98, 0.0, 400, "The exponential average is nearer"),
        ("32 images", 32, 1, 0.0, 0.005, 400, "Neither is nearer than the batch alone"),
        ("Long window, fast drift: lag", 2, 100, 0.9, 0.02, 400, "The exponential average is nearer"),
        ("The paper's settings, in motion", 2, 16, 0.98, 0.01, 400, "The simple average is nearer"),
        ("After the learning rate drops", 2, 16, 0.98, 0.01, 200, "The exponential average is nearer"),
        ("EMA and SMA with the same memory", 2, 16, 0.882, 0.02, 200, "The two averages are equally near"),
    ],
)
def test_presets_show_what_they_are_named_after(
    page: browser.Browser, preset: str, images: int, window: int, decay: float, drift: float, drop: int, verdict: str
) -> None:
    click(page, preset)
    assert verdict in seen(page, "averages")
    steps = np.where(np.arange(400) < drop, drift, drift / 10)
    truth = (np.cumsum(steps) - drift)[:, None]
    behind = [0.0, *(truth[-1] - sma(np.zeros((window, 1)), truth, seen=0)[0][-1])]
    behind += [*(truth[-1] - ema(np.zeros(1), truth, decay)[1][-1])]
    left = np.array([1, 1 / window, (1 - decay) / (1 + decay)]) / images
    late = [0, (window - 1) / 2, decay / (1 - decay)]
    expected = np.column_stack([late, behind, left, np.sqrt(np.square(behind) + left)])
    for row, of_package in zip(measures(page), expected, strict=True):
        for found, value, digits in zip(row, of_package, (0.051, 0.0051, 0.0051, 0.0051), strict=True):
            assert found == pytest.approx(value, abs=digits)


def test_sliders_move_the_curves_by_keyboard(page: browser.Browser) -> None:
    curve = "document.querySelector('.history path.line.{}').getAttribute('d')"
    simple, exponential = (page.run(curve.format(name)) for name in ("sma", "ema"))
    page.run("document.querySelector('[name=window]').focus()")
    press(page, "ArrowRight", 39)
    assert page.run("document.querySelector('[name=window]').getAttribute('aria-valuetext')") == "17"
    assert "SMA of 17 is 8.0 iterations late" in seen(page, "averages")
    assert page.run(curve.format("sma")) != simple
    assert page.run(curve.format("ema")) == exponential


def test_one_pass_by_keyboard(page: browser.Browser) -> None:
    """To the numbers of tutorial 02, and on to MABN."""
    page.run("document.querySelector('#pass [name=back]').focus()")
    press(page, "Tab", 9)
    for step in range(1, 17):
        press(page, "Enter", 13, "\r")
        assert f"Step {step} of 16" in seen(page, "pass")
    assert "dx = dcentred + dmu / values: 0.0597, −0.8004, −0.4760, 1.2167" in seen(page, "pass")
    assert page.run("document.querySelectorAll('#pass [aria-current]').length") == 1

    # as the numbers by hand
    state = mabn.State(np.array([0.8]), np.array([[0.0], [0.9], [0.7]]), np.array([[0.0], [0.5], [0.3]]), 2, 2)
    config = mabn.Config(eps=EPS, window=3, clip=CLIP)
    page.run("document.querySelector('[value=mabn]').click()")
    click(page, "All")
    for third in (2.0, 3.0):
        enter(page, "x", str(third), 2)
        x, dz = np.array([[0.5], [-1], [third], [0.1]]), np.array([[0.3], [-0.8], [0.4], [1]])
        _, cache, after = mabn.forward(x, np.array([1.5]), np.array([0.2]), state, config)
        dx = mabn.backward(dz, cache, after)[0]
        assert ", ".join(f"{value:.4f}" for value in dx.ravel()) in seen(page, "pass").replace("−", "-")


def test_a_number_that_cannot_be_is_named(page: browser.Browser) -> None:
    page.run("document.querySelector('[value=mabn]').click()")
    enter(page, "chi2", "-1")
    assert seen(page, "pass") == "EMA of chi2 before: a number from 0 to 1000."
    enter(page, "chi2", "1")
    enter(page, "x", "")
    assert seen(page, "pass") == "x, the batch, number 1 of 4: a number from -1000 to 1000."


@pytest.mark.parametrize("dark", [False, True])
def test_fits_a_phone_and_names_what_it_shows(page: browser.Browser, dark: bool) -> None:
    page.resize(browser.PHONE, dark=dark)
    click(page, "All")
    assert page.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    inputs = "[...document.querySelectorAll('.playground input')]"
    assert page.run(f"{inputs}.filter(input => !input.labels[0] && !input.ariaLabel).map(input => input.name)") == []
    assert page.run("document.querySelectorAll('.plots svg[role=img][aria-label][aria-describedby]').length") == 2
    assert page.run("document.querySelector('.history').clientWidth") < browser.PHONE[0]
