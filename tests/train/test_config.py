"""RunConfig: plain values, checked when built."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from mabn_ref.norms import NORMS
from mabn_ref.train.comparison import DEFAULT_ROWS, ROWS, plan
from mabn_ref.train.config import SAMPLE_NORMS, RunConfig, groups_of, is_control, label, recipe


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("norm", "batchnorm"),
        ("norm_batch", 0),
        ("norm_batch", 3),
        ("devices", 0),
        ("devices", 3),
        ("devices", 32),
        ("network", "resnet9"),
        ("decay", 1.0),
        ("decay", -0.1),
        ("momentum", 1.0),
        ("window", 0),
        ("standardized", True),
        ("gradient_centralized", True),
        ("clip", 0.5),
        ("renorm_after", -1),
        ("r_max", 0.9),
        ("d_max", -1.0),
        ("data", "imagenet"),
        ("data_dir", "somewhere"),
        ("train_size", 31),
        ("train_size", None),
        ("test_size", 0),
        ("width", 0),
        ("epochs", 0),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("lr", 1e200),
        ("weight_decay", 1e100),
        ("weight_decay", -1e-4),
        ("warmup", -1),
        ("seed", -1),
        ("start", 5),
        ("exposure", 2.0),
        ("exposure", 0.0),
    ],
)
def test_a_value_out_of_range_is_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{field}.* is .*{re.escape(str(value))}.*expected"):
        RunConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"), [("norm_batch", 2.0), ("lr", "0.1"), ("augment", 1), ("seed", True), ("train_size", "all")]
)
def test_a_value_of_another_type_is_named(field: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{field} is {value!r}, expected"):
        RunConfig(**{field: value})


@pytest.mark.parametrize(
    ("data", "data_dir", "expected"),
    [
        ("embedded", 3, "None: only data='directory' reads it"),
        ("cifar10", "'x'", "None: only data='directory' reads it"),
        ("directory", 3, "the path of a directory"),
        ("directory", None, "the path of a directory"),
    ],
)
def test_a_directory_is_named_by_its_path_where_there_is_one(data: str, data_dir: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=f"data_dir is {data_dir} with data='{data}', expected {expected}"):
        RunConfig(data=data, data_dir=data_dir.strip("'") if isinstance(data_dir, str) else data_dir)


_MOVING = {"form": "modified", "forward_average": "sma", "backward_average": "batch"}


@pytest.mark.parametrize(
    ("field", "value", "unused", "too"), [("window", 4, None, []), ("clip", 2.0, 5.0, ["moving"])]
)
def test_a_setting_is_for_all_whose_config_has_it(field: str, value: Any, unused: Any, too: list[str]) -> None:
    """Of "moving", `clip` is the bound that its own Config calls r_max."""
    having = {name for name, norm in NORMS.items() if field in norm.module.Config.__dataclass_fields__} | {*too}
    assert {"mabn", "moving"} <= having < set(NORMS)
    for norm in NORMS:
        settings = {"norm": norm, "norm_batch": 1 if norm in SAMPLE_NORMS else 2, field: value}
        settings |= _MOVING if norm == "moving" else {}
        if norm in having:
            assert getattr(RunConfig(**settings), field) == value
        else:
            with pytest.raises(ValueError, match=f"^{field} is {value} with norm='{norm}', expected {unused}: ") as e:
                RunConfig(**settings)
            assert set(str(e.value).partition("only ")[2].removesuffix(" can use it").split(", ")) == set(
                map(repr, having)
            )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "gn", "norm_batch": 2}, "norm_batch is 2 with norm='gn', expected 1: it has no batch statistics"),
        ({"norm": "bn", "groups": 4}, "groups is 4 with norm='bn', expected None: only 'gn' can use it"),
        (
            {"norm": "gn", "norm_batch": 1, "decay": 0.5},
            "decay is 0.5 with norm='gn', expected 0.98: only 'bn', 'brn'",
        ),
        *(
            ({"norm": norm, "norm_batch": 1, "decay": 0.5}, f"decay is 0.5 with norm='{norm}', expected 0.98")
            for norm in ("ln", "in", "rms", "frn", "frozen-bn", "dyt", "derf")
        ),
        (
            {"norm": "ln", "norm_batch": 1, "groups": 2},
            "groups is 2 with norm='ln', expected None: only 'gn' can use it",
        ),
        ({"norm": "mabn", "r_max": 2.0}, "r_max is 2.0 with norm='mabn', expected 3.0: only 'brn' can use it"),
        ({"norm": "bn", "d_max": 2.0}, "d_max is 2.0 with norm='bn', expected 5.0: only 'brn', 'moving' can use it"),
        ({"norm": "brn", "renorm_after": 2}, "renorm_after is 2 with norm='brn', expected 100"),
        ({"norm": "mabn", "ramp": 1.0}, "ramp is 1.0 with norm='mabn', expected None"),
        ({"norm": "mabn", "form": "vanilla"}, "form is 'vanilla' with norm='mabn', expected None"),
        ({"norm": "moving"}, "form is None, expected one of 'vanilla', 'modified', with norm='moving'"),
        (
            {"norm": "moving", "form": "modified", "forward_average": "sma", "backward_average": "smas"},
            "backward_average is 'smas', expected one of 'batch', 'sma', 'ema'",
        ),
        ({"norm": "gn", "norm_batch": 1, "groups": 0}, "groups is 0, expected"),
        ({"norm": "brn", "ramp": -1.0}, "ramp is -1.0, expected"),
        (
            {"norm": "sync-bn", "norm_batch": 2, "devices": 8},
            "devices is 8 with norm='sync-bn', expected 1: they would",
        ),
        ({"norm": "bn", "estimated": True}, "estimated is True with norm='bn', expected False"),
    ],
)
def test_settings_of_one_normaliser_alone(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RunConfig(**settings)


def test_labels_of_the_others() -> None:
    factorial = {"form": "modified", "forward_average": "sma", "backward_average": "ema"}
    assert label(recipe("moving", **factorial)) == "modified SMAS/EMAS 2 + WC"
    assert [label(recipe(name, norm_batch=1)) for name in ("gn", "ln", "in")] == ["GN (8 groups)", "LN", "IN"]
    assert label(recipe("gn", norm_batch=1, width=5)) == "GN (1 group)"
    assert label(recipe("eval-norm", estimated=True)) == "EvalNorm 2 estimated"
    assert not is_control(recipe("moving", **factorial))
    assert is_control(recipe("moving", **{**factorial, "form": "vanilla"}, centralized=True))


def test_a_configuration_is_json_and_a_key() -> None:
    config = recipe("mabn", window=64, data="directory", data_dir="d", train_size=None)
    assert RunConfig(**json.loads(json.dumps(config.as_dict()))) == config
    assert len({config, recipe("mabn", window=64, data="directory", data_dir="d", train_size=None)}) == 1


def test_the_default_rows_are_the_papers_pairing_and_the_controls() -> None:
    runs = plan(DEFAULT_ROWS, seeds=[0])
    assert [(label(run), is_control(run)) for run in runs] == [
        ("BN 32", False),
        ("BN 2", False),
        ("BRN 2", False),
        ("MABN 2 + WC", False),
        ("BN 32 + WC", True),
        ("BN 2 + WC", True),
    ]
    assert {run.gradient_batch for run in runs} == {32}


def test_all_rows_have_different_labels_and_a_plan_has_no_run_twice() -> None:
    runs = plan(list(ROWS), seeds=[0, 1], windows=[16, 64, 64])
    assert len(runs) == len(set(runs)) == 2 * (len(ROWS) + 1)
    assert len({label(run) for run in runs}) == len(ROWS) + 1
    assert [run.seed for run in runs] == [0] * (len(ROWS) + 1) + [1] * (len(ROWS) + 1)


@pytest.mark.parametrize(("width", "groups", "expected"), [(32, None, 8), (12, None, 4), (5, None, 1), (12, 3, 3)])
def test_groups_of_gn_divide_the_width_unless_they_are_given(width: int, groups: int | None, expected: int) -> None:
    assert groups_of(recipe("gn", norm_batch=1, width=width, groups=groups)) == expected
