"""What is said of an argument that is refused."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mabn_ref.data import boxes
from mabn_ref.nn import conv2d, focal_loss, optimiser
from mabn_ref.norms import NORMS, batch_renorm, common
from mabn_ref.train.config import RunConfig

CONFIGS = [*dict.fromkeys(norm.module.Config for norm in NORMS.values()), batch_renorm.Ramp, RunConfig]
NUMBERS = [(c, f.name) for c in CONFIGS for f in dataclasses.fields(c) if f.metadata["at_least"] is not None]


@pytest.mark.parametrize(("config", "name"), NUMBERS)
@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_a_setting_that_is_a_number_of_numpy_is_named_as_a_plain_one(config: Any, name: str, kind: Any) -> None:
    others = {
        field.name: 1
        for field in dataclasses.fields(config)
        if field.default is dataclasses.MISSING and field.name != name
    }
    with pytest.raises((ValueError, TypeError), match=rf"^{name} is -1(\.0)?, expected "):
        config(**others, **{name: kind(-1)})


IMAGES, WEIGHTS = np.ones((2, 4, 4, 3)), np.ones((7, 7, 3, 2))
RATE = {"factor": 0.1, "lr": 1.0, "warmup": 0}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda n: conv2d.forward(IMAGES, WEIGHTS, stride=n(0)), "stride is 0, expected"),
        (lambda n: conv2d.forward(IMAGES, WEIGHTS, padding=n(1)), "(7, 7), expected at most (6, 6), the size"),
        (lambda n: common.ema(np.ones(2), np.ones((3, 2)), n(2)), "decay is 2, expected"),
        (lambda n: focal_loss.forward(np.ones((2, 3)), np.ones((2, 3), int), alpha=n(2)), "alpha is 2, expected"),
        (lambda n: optimiser.milestone_rate(1, milestones=[n(3), n(3)], **RATE), "milestones is [3, 3], expected"),
        (lambda n: boxes.generate(train_size=4, test_size=2, seed=0, exposure=n(2)), "exposure is 2, expected"),
    ],
)
@pytest.mark.parametrize("number", [int, np.int64, np.int32])
def test_an_argument_that_is_a_number_of_numpy_is_named_as_a_plain_one(
    call: Callable[[Any], Any], said: str, number: Any
) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        call(number)


def test_a_word_that_is_of_numpy_is_named_as_a_plain_one() -> None:
    with pytest.raises(ValueError, match=r"^ema_of is 'mean', expected one of"):
        batch_renorm.Config(ema_of=np.str_("mean"))
