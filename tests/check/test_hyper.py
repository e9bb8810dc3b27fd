"""Hyper-parameters that a layer does not take, or takes and does not keep, and conventions by their names."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from mabn_ref.check.conventions import Preset, presets_of
from mabn_ref.check.models import BENDABLE
from mabn_ref.check.observe import config_of
from mabn_ref.check.report import Report, called
from mabn_ref.check.scenarios import MODULES
from mabn_ref.check.target import FunctionsTarget
from mabn_ref.norms import batch_norm, mabn_variants
from mabn_ref.norms.batch_renorm import Ramp
from tests.check.edited import (
    BESSEL,
    CHI_HAT,
    EMA_VAR_BRN,
    EVAL_FORWARD,
    EVAL_UNBIASED,
    INFER,
    LAYERS,
    R_MABN,
    D,
    Layer,
    R,
    edited,
)
from tests.check.judging import GIVEN, judged, told

VALUES: list[tuple[str, str, Any]] = [
    *[(norm, "eps", 3e-3) for norm in BENDABLE],
    *[(norm, "decay", 0.7) for norm in ("bn", "brn", "modified-bn", "mabn", "eval-norm")],
    ("mabn", "window", 4),
    ("mabn", "clip", 1.25),
    ("mabn", "warmup", 5),
    ("brn", "r_max", 1.25),
    ("brn", "d_max", 0.25),
    ("gn", "groups", 3),
    ("online", "decay_forward", 0.8),
    ("online", "decay_backward", 0.7),
]
"""What else than it is given: a normaliser, a hyper-parameter, its value."""


@pytest.mark.parametrize("taken", [False, True], ids=["not taken", "not kept"])
@pytest.mark.parametrize(("norm", "name", "value"), VALUES, ids=[f"{norm}-{name}" for norm, name, _ in VALUES])
def test_a_number_is_read_off_and_is_wrong_where_it_was_given(norm: str, name: str, value: Any, taken: bool) -> None:
    given = GIVEN if taken else GIVEN - {name}
    report = judged(norm, Layer(settings={name: value}).target(norm), told(norm), given=given, numbers=(value, 0.375))
    tried = {getattr(config_of(norm, scenario), name) for scenario in told(norm)}
    against = ", whatever it is given" if len(tried) > 1 else f"; it was given {min(tried, key=str)}"
    words = f"{name} is {value:g}{against if taken else ''}."
    if taken and norm == "brn" and name in ("r_max", "d_max"):
        bounds = {"r_max": 2.0, "d_max": 1.5, name: value}  # of both, which are read off together
        words = "The bounds of r and d are {r_max:g} and {d_max:g} up to iteration 21, read off the outputs."
        words = words.format(**bounds)
    assert [finding.words for finding in report.findings] == [words], str(report)
    assert report.hyper.get(name) == (None if taken else value)
    assert report.conforms is not taken


@pytest.mark.parametrize("norm", ["brn", "mabn"])
def test_a_number_that_is_not_finite_is_no_count(norm: str) -> None:
    report = judged(norm, FunctionsTarget(MODULES[norm]), told(norm), numbers=(math.inf, math.nan))
    assert report.conforms, str(report)


OWN_FIRST = {"partial_window": "batch", "ema_of": "window"}


@pytest.mark.parametrize(
    ("norm", "settings", "asked", "words"),
    [
        ("mabn", {"window": 4, **OWN_FIRST}, {"real_batch": 20}, "window is one short; it was given 5."),
        ("mabn", {"window": 2}, {"window": 5}, "window is 2; it was given 5."),
        ("mabn", {"clip": 1.25}, {"clip": 1.5}, "clip is 1.25; it was given 1.5."),
        ("bn", {"eps": 3e-3}, {"eps": 0.02}, "eps is 0.003; it was given 0.02."),
        ("modified-bn", {"decay": 0.7}, {"decay": 0.6}, "decay is 0.7; it was given 0.6."),
        ("bn", {"decay": 0.7}, {"decay": "cumulative"}, "decay is 0.7; it was given cumulative."),
        ("brn", {"r_max": 1.25}, {"r_max": 1.5}, "The bounds of r and d are 1.25 and 1.5 up to "),
        ("gn", {"groups": 3}, {"groups": 6}, "groups is 3; it was given 6."),
        (
            "online",
            {"layer_scaling": False},
            {"guard": "scaling"},
            "There is no layer scaling; layer_scaling is True.",
        ),
    ],
)
def test_what_a_user_asked_for_and_does_not_get_is_wrong(
    norm: str, settings: dict[str, Any], asked: dict[str, Any], words: str
) -> None:
    """The constructor takes other names than the check knows, or the user's value wins."""
    given = GIVEN - set(settings)
    target = Layer(settings=settings, functions=mabn_variants if "partial_window" in settings else None).target(norm)
    name, value = next(iter(settings.items()))

    def checked(asked: dict[str, Any]) -> Report:
        return judged(norm, target, told(norm), given=given, numbers=(value,), asked=asked)

    report = checked(asked)
    wrong = [finding.words[: len(words)] for finding in report.findings if not finding.accepted]
    assert wrong == [words], str(report)
    kept = {"real_batch": 16} if "real_batch" in asked else {"guard": "none"} if norm == "online" else {name: value}
    assert checked(kept).conforms


FREE_R, FREE_D = (R, "r = sigma / moving_sigma"), (D, "d = (mu - moving_mu) / moving_sigma")
SWAPPED = {"decay": lambda config: 1 - config.decay}
FALLING = Ramp(start=1000, stop=2000, first=2.5, last=1.5)
AGED = ("from iteration 15,000", "from iteration 150,000")


def ioffe(first: int) -> dict[str, Ramp]:
    r_max = Ramp(start=5_000 + first, stop=40_000 + first, first=1.0, last=3.0)
    return {"r_max": r_max, "d_max": Ramp(start=5_000 + first, stop=25_000 + first, first=0.0, last=5.0)}


def renorm_from(first: Any) -> Layer:
    return Layer(settings={"renorm_from": first}, untaken=("renorm_from",), conforms=True)


def blended(comes: str, **bound: Any) -> Layer:
    """BRN whose r - 1 and d come in by a factor, bounded or not."""
    share = f"((t + np.arange(len(mu))[:, None, None]) {comes} 6)"
    share = f"np.minimum({share}, 1)" if bound else share
    return Layer(edits=((D, f"{D}\n    r, d = 1 + (r - 1) * {share}, d * {share}"),), **bound)


UNBOUNDED = "which has no bound: at iteration 12 they are twice what they should be."
BLENDED: list[tuple[str, str, Layer, tuple[str, ...]]] = [
    ("brn", f"r - 1 and d are multiplied by {words}", layer, ())
    for comes in ("/", "//")
    for words, layer in (
        (f"min(1, iteration {comes} 6).", blended(comes, conforms=True)),
        (f"iteration {comes} 6, {UNBOUNDED}", blended(comes)),
    )
]

SAID: list[tuple[str, str, Layer, tuple[str, ...]]] = [
    *BLENDED,
    ("bn", "bn-weights-swapped", Layer(settings=SWAPPED), ()),
    ("brn", "bn-weights-swapped", Layer(settings=SWAPPED), ()),
    ("modified-bn", "modified-weights-swapped", Layer(settings=SWAPPED), ()),
    ("mabn", "mabn-weights-swapped", Layer(settings=SWAPPED), ()),
    ("eval-norm", "bn-weights-swapped", Layer(settings=SWAPPED), ()),
    ("brn", "Your r and d are not clipped.", Layer(edits=(FREE_R, FREE_D)), ()),
    ("brn", "Your r is not clipped.", Layer(edits=(FREE_R,)), ()),
    ("brn", "Your d is not clipped.", Layer(edits=(FREE_D,)), ()),
    ("mabn", "Your r is not clipped.", Layer(edits=((R_MABN, f"r = chi / {CHI_HAT}"),)), ()),
    (
        "mabn",
        "The bounds of r are 1.6 up to iteration 30, read off the outputs.",
        Layer(settings={"clip": 1.6}, untaken=("clip",), conforms=True),
        (),
    ),
    (
        "brn",
        "The bounds of r and d are 1.7 and 0.3 up to iteration 21, read off the outputs.",
        Layer(settings={"r_max": 1.7, "d_max": 0.3}, untaken=("r_max", "d_max"), conforms=True),
        (),
    ),
    (
        "brn",
        "The bound r_max is read off the outputs: 1.7 and 1.5 up to iteration 21.",
        Layer(settings={"r_max": 1.7}, untaken=("r_max",), conforms=True),
        (),
    ),
    (
        "brn",
        "The bound d_max is read off the outputs: 2 and 0.3 up to iteration 21.",
        Layer(settings={"d_max": 0.3}, untaken=("d_max",), conforms=True),
        (),
    ),
    ("mabn", "The bounds of r are 1.7 up to iteration 30, read off the outputs.", Layer(settings={"clip": 1.7}), ()),
    ("brn", "brn-warm-up-inverted", Layer(settings={"r_max": FALLING}, untaken=("r_max", "d_max")), AGED),
    (
        "mabn",
        "Warm-up lasts warmup iterations, so the last of them still uses batch statistics.",
        Layer(settings={"warmup": lambda config: config.warmup + 1}, conforms=True),
        (),
    ),
    (
        "mabn",
        "r differs from 1 from the iteration after the window is full on.",
        renorm_from(lambda config: config.window + 1),
        (),
    ),
    ("mabn", "r differs from 1 from the end of warm-up on.", renorm_from(lambda config: max(config.warmup, 1)), ()),
    (
        "mabn",
        "r differs from 1 from the iteration after warm-up on.",
        renorm_from(lambda config: config.warmup + 1),
        (),
    ),
    ("mabn", "r differs from 1 from iteration 6 on.", renorm_from(6), ()),
    ("mabn", "r differs from 1 from iteration 7 on.", renorm_from(7), ()),
    (
        "brn",
        "r_max and d_max follow Ioffe's schedule.",
        Layer(settings=ioffe(0)),
        AGED,
    ),
    (
        "brn",
        "r_max and d_max follow Ioffe's schedule, counted from 0.",
        Layer(settings=ioffe(1), untaken=("r_max", "d_max"), conforms=True),
        AGED,
    ),
    ("online", "There is no layer scaling.", Layer(settings={"layer_scaling": False}, conforms=True), ()),
]
"""A normaliser, what is to be said of a layer, the layer, and the scenarios that it takes besides."""


@pytest.mark.parametrize(("norm", "words", "layer", "besides"), SAID, ids=[f"{s[0]}-{s[1][:40]}" for s in SAID])
def test_other_hyper_parameters_are_said(norm: str, words: str, layer: Layer, besides: tuple[str, ...]) -> None:
    given = GIVEN - set(layer.untaken)
    report = judged(norm, layer.target(norm), told(norm, besides), given=given, numbers=(6.0,))
    assert [finding.mistake or finding.words for finding in report.findings] == [words], str(report)
    assert report.conforms is layer.conforms
    assert not report.differences


def test_an_eps_of_inference_alone_is_said() -> None:
    infers_by = edited(batch_norm, ((INFER, INFER.replace("config.eps", "0.005")),))
    report = judged("bn", FunctionsTarget(infers_by), told("bn"), numbers=(0.003, 0.005))
    assert [finding.words for finding in report.findings] == ["Inference has an eps of its own, 0.005."]
    assert not report.conforms


def test_a_guard_that_is_not_the_one_asked_for_is_wrong() -> None:
    given = GIVEN | {"layer_scaling", "guard"}
    for scaling, words in ((False, "There is no layer scaling"), (True, "Layer scaling comes last")):
        scenarios = [replace(s, settings={**s.settings, "layer_scaling": not scaling}) for s in told("online")]
        layer = Layer(settings={"layer_scaling": scaling})
        report = judged("online", layer.target("online"), scenarios, given=given)
        assert [finding.words for finding in report.findings] == [f"{words}; layer_scaling is {not scaling}."]
        assert not report.conforms


PYTORCH_VAR = "fed", "unbiased"
NAMED: list[tuple[str, str, Layer, dict[str, float]]] = [
    ("bn", "the paper", Layer(), {}),
    ("bn", "PyTorch", LAYERS["bn", *PYTORCH_VAR], {"eps": 1e-5, "decay": 0.9}),
    ("bn", "Chainer", LAYERS["bn", *PYTORCH_VAR], {"eps": 2e-5, "decay": 0.9}),
    ("bn", "Keras 3", Layer(), {"eps": 1e-3, "decay": 0.99}),
    ("bn", "Flax", Layer(), {"eps": 1e-5, "decay": 0.99}),
    ("brn", "Ioffe's paper", Layer(), {"decay": 0.99}),
    ("brn", "Ioffe's paper, with the average of equation (12)", LAYERS["brn", "average_of", "square"], {}),
    ("brn", "Keras 3 with renorm", LAYERS["brn", "start", "root"], {"eps": 1e-3, "decay": 0.99}),
    (
        "brn",
        "Chainer",
        Layer(
            edits=((EMA_VAR_BRN, EMA_VAR_BRN.replace(" var,", f" var * {BESSEL},")),),
            settings={"ema_of": "var"},
        ),
        {"eps": 2e-5, "decay": 0.9},
    ),
    ("modified-bn", "the paper", Layer(), {}),
    ("mabn", "the paper", Layer(), {"decay": 0.98, "eps": 1e-5}),
    (
        "mabn",
        "the authors' MABN.py",
        Layer(
            functions=mabn_variants,
            settings={"partial_window": "batch", "ema_of": "window", "renorm_from": 1001},
        ),
        {"decay": 0.98, "eps": 1e-5, "warmup": 100, "clip": 5.0},
    ),
    (
        "mabn",
        "the authors' cls/networks/MABN.py",
        Layer(
            functions=mabn_variants,
            settings={"ema_of": "window", "ema_per": "call", "ema_start": "first", "renorm_from": 100},
        ),
        {"decay": 0.98, "eps": 1e-5, "window": 16, "clip": 5.0},
    ),
    ("gn", "the paper", Layer(), {"eps": 1e-5}),
    ("gn", "Keras 3", Layer(), {"eps": 1e-3}),
    ("gn", "Flax", Layer(), {"eps": 1e-6}),
    ("ln", "the paper", Layer(), {}),
    ("ln", "Transformers", LAYERS["ln", "over", "position"], {}),
    ("in", "the paper", Layer(), {}),
    ("rms", "the paper", Layer(), {}),
    ("rms", "PyTorch", LAYERS["rms", "affine", "beta forgotten"], {}),
    ("rms", "Keras 3 and Flax", LAYERS["rms", "affine", "beta forgotten"], {"eps": 1e-6}),
    ("frn", "the paper", Layer(), {}),
    ("eval-norm", "the paper", Layer(), {}),
    (
        "eval-norm",
        "PyTorch",
        Layer(edits=((EVAL_FORWARD, f"{EVAL_FORWARD}\n    {EVAL_UNBIASED}"),)),
        {"eps": 1e-5, "decay": 0.9},
    ),
    ("online", "the paper", Layer(), {"decay_forward": 0.999, "decay_backward": 0.99, "eps": 1e-5}),
    ("online", "the authors' later code", LAYERS["online", "guard", "clamp"], {"decay_forward": 0.999, "eps": 1e-5}),
]
"""Whose convention, the layer that has it, and the values that its constructor would have taken."""


@pytest.mark.parametrize(("norm", "preset", "layer", "defaults"), NAMED, ids=[f"{n[0]}-{n[1]}" for n in NAMED])
def test_a_convention_is_called_by_its_name(norm: str, preset: str, layer: Layer, defaults: dict[str, float]) -> None:
    report = judged(norm, layer.target(norm), told(norm), defaults=defaults)
    assert report.preset == preset
    assert report.conforms
    assert str(report).startswith(f"layer as {called(norm)}: conforms")
    assert f"  the same choices as {preset}\n" in str(report)


def test_every_convention_with_a_name_has_a_layer_and_these_values() -> None:
    theirs = {(norm, preset.name): preset.defaults for norm in BENDABLE for preset in presets_of(norm)}
    assert {(norm, preset): defaults for norm, preset, _, defaults in NAMED} == theirs


@pytest.mark.parametrize("preset", [preset for preset in presets_of("bn") if preset.defaults], ids=lambda p: p.name)
def test_the_usual_numbers_of_a_convention_are_no_findings_where_they_are_not_taken(preset: Preset) -> None:
    layer = LAYERS["bn", *PYTORCH_VAR] if preset.changes else Layer()
    target = replace(layer, settings=preset.defaults).target("bn")
    report = judged("bn", target, told("bn"), given=GIVEN - {"eps", "decay"}, defaults=preset.defaults)
    assert report.preset == preset.name
    assert report.hyper == preset.defaults
    assert [finding.tensor for finding in report.findings] == [""] * len(preset.changes)
