"""The unit of length of each element, and how cotangents and directions are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from mabn_ref.gradcheck.probes import CONSTANT, DECADES, bounded, scattered, units

CHANNELS = {
    "spread": ([1.0, 2.0, 3.0, -4.0], [2.0] * 4),  # 2.69
    "constant": ([-0.1] * 4, [2.0**-3] * 4),
    "zeros": ([0.0] * 4, [2.0**666] * 4),  # the largest number there is
    "decades": ([1e-8, -2.0, 1e5, 0.0], [2.0**-27, 2.0, 2.0**17, 2.0**-3]),  # the mean of their logarithms for 0
    "many decades": ([1e-100, 2e-100, -3e-100, 1e100], [2.0**-332, 2.0**-331, 2.0**-331, 2.0**332]),
    "small": ([1e-200, 2e-200, 3e-200, 4e-200], [2.0**-664] * 4),
    "large": ([1e200, 2e200, 3e200, 4e200], [2.0**665] * 4),
}


def test_units_are_those_of_each_channel() -> None:
    values, expected = (np.array(columns).T for columns in zip(*CHANNELS.values(), strict=True))
    np.testing.assert_array_equal(units(values), expected)
    np.testing.assert_array_equal(units(values.reshape(2, 2, -1)), expected.reshape(2, 2, -1))
    for name, (channel, unit) in CHANNELS.items():
        np.testing.assert_array_equal(units(np.array(channel)), [1.0] * 4 if name == "zeros" else unit)
    assert units(np.array(-5.0)) == 4.0


@pytest.mark.parametrize("part", [0.5, 2.0])
def test_where_a_channel_is_constant_and_where_it_runs_over_decades(part: float) -> None:
    nearly = np.array([1.0, 1 + 2 * CONSTANT * part])
    assert (units(nearly) == (1 if part < 1 else CONSTANT * part)).all()
    small = (DECADES * np.sqrt(2) / 3 * np.sqrt(part)) ** 1.5  # two of them, and 1: typical is small**(2/3)
    own = [*2 * [2.0 ** np.round(np.log2(small))], 1.0]
    np.testing.assert_array_equal(units(np.array([small, small, 1.0])), own if part < 1 else [0.5] * 3)


def test_what_is_drawn_has_every_number_of_64ths_and_six_decades() -> None:
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(np.unique(64 * bounded(rng, (10000,))), np.r_[-96:-31, 32:97])
    sizes = np.abs(scattered(rng, (10000,)))
    assert (np.min(sizes), np.max(sizes)) == (2.0**-11, 1.5 * 2.0**10)
