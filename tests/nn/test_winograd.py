"""The convolution with fewer products is the convolution."""

from __future__ import annotations

import itertools
from fractions import Fraction

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.gradcheck import check
from mabn_ref.mistakes.plain import LAYERS
from mabn_ref.nn import common, conv2d, winograd

by_definition = LAYERS["conv2d"]


def correlate(padded, w):
    return winograd.correlate(winograd.arranged(padded, 0, w.shape[3]), w)


def weight_gradient(padded, dout):
    return winograd.weight_gradient(winograd.arranged(padded, 0, dout.shape[3]), dout)


@st.composite
def tiled(draw):
    """Images, zeros included, a kernel of 3x3, and a gradient of the output, whose sides are multiples of 4."""
    n, h, w, channels_in, channels_out = (
        draw(st.integers(1, most)) * by for most, by in ((4, 1), (3, 4), (3, 4), (3, 1), (3, 1))
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = (n, h + 2, w + 2, channels_in), (3, 3, channels_in, channels_out), (n, h, w, channels_out)
    return tuple(rng.standard_normal(shape) for shape in shapes)


@given(tiled())
def test_it_is_the_definition(case):
    """eq: winograd-line, winograd-forward, conv2d-forward"""
    padded, w, _ = case
    expected = by_definition(padded, w, stride=1, padding=0)
    np.testing.assert_allclose(correlate(padded, w), expected, rtol=1e-12, atol=1e-12)


def test_a_line():
    """eq: winograd-polynomials, winograd-line

    The matrices against the sums that they are for, and against values of polynomials multiplied out.
    """
    rng = np.random.default_rng(7)
    d, w, g = rng.standard_normal(6), rng.standard_normal(3), rng.standard_normal(4)
    out = winograd._A.T @ ((winograd._G @ w) * (winograd._B.T @ d))
    np.testing.assert_allclose(out, [d[i : i + 3] @ w for i in range(4)], rtol=1e-13, atol=1e-13)
    product = winograd._B @ ((winograd._G @ w) * (winograd._A @ g))
    np.testing.assert_allclose(product, np.convolve(w, g), rtol=1e-13, atol=1e-13)


@given(tiled(), st.integers(0, 3))
def test_zeros_around_and_a_turned_kernel(case, padding):
    """eq: winograd-forward, conv2d-backward"""
    padded, w, _ = case
    x = padded[:, padding : padded.shape[1] - padding, padding : padded.shape[2] - padding]
    hypothesis.assume(x.size)
    images = winograd.arranged(x, padding, w.shape[2])
    expected = by_definition(x, w, stride=1, padding=padding)
    np.testing.assert_allclose(winograd.correlate(images, w), expected, rtol=1e-12, atol=1e-12)
    turned = w[::-1, ::-1].swapaxes(2, 3)
    found = winograd.correlate(images, turned.copy(), turned=True)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@given(tiled())
def test_the_weight_gradient_is_that_of_the_definition(case):
    """eq: winograd-backward, conv2d-backward

    It is linear in w: a derivative is what one weight alone gives.
    """
    padded, w, dout = case
    weights = by_definition(padded, np.eye(w[..., 0].size).reshape(*w.shape[:3], -1), stride=1, padding=0)
    expected = np.tensordot(weights, dout, axes=((0, 1, 2), (0, 1, 2))).reshape(w.shape)
    np.testing.assert_allclose(weight_gradient(padded, dout), expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("channels", [32, 64, 256])
def test_rounding_is_at_most_four_times_as_coarse(monkeypatch, channels):
    """Whether sums have 32 channels or 256, of which it adds 64 at a time."""
    rng = np.random.default_rng(0)
    x, w, dout = (rng.standard_normal(s) for s in ((40, 8, 4, channels), (3, 3, channels, 40), (40, 8, 4, 40)))
    x = np.maximum(x, 0)

    def all_three(dtype):
        out, cache = conv2d.forward(x.astype(dtype), w.astype(dtype), padding=1)
        return out, *conv2d.backward(dout.astype(dtype), cache)

    quick = all_three(np.float32)
    monkeypatch.setattr(winograd, "_CHANNELS", ())
    direct, exact = all_three(np.float32), all_three(np.float64)
    for ours, usual, true in zip(quick, direct, exact, strict=True):
        assert ours.dtype == np.float32
        assert not np.array_equal(ours, usual)
        scale = np.finfo(np.float32).eps * np.max(np.abs(true))
        assert np.max(np.abs(ours - true)) <= 40 * scale
        assert np.sqrt(np.mean((ours - true) ** 2)) <= 4 * np.sqrt(np.mean((usual - true) ** 2))


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_the_three_passes_of_conv2d(monkeypatch, padding):
    rng = np.random.default_rng(6)
    x, w = rng.standard_normal((33, 14 - 2 * padding, 10 - 2 * padding, 32)), rng.standard_normal((3, 3, 32, 33))
    dout = rng.standard_normal((33, 12, 8, 33))

    def all_three():
        out, cache = conv2d.forward(x, w, padding=padding)
        return out, *conv2d.backward(dout, cache)

    assert winograd.pays(x, w, 1, padding)
    backwards = winograd.pays(dout, w, 1, 2 - padding)
    assert backwards == (padding == 1)  # else the sides of the image are no multiples of 4
    quick = all_three()
    monkeypatch.setattr(winograd, "_CHANNELS", ())
    for ours, usual, so in zip(quick, all_three(), (True, backwards, True), strict=True):
        assert np.array_equal(ours, usual) != so
        np.testing.assert_allclose(ours, usual, rtol=1e-11, atol=1e-12 * np.max(np.abs(usual)))


def test_blocks_of_images_are_all_images(monkeypatch):
    rng = np.random.default_rng(1)
    padded, w, dout = (rng.standard_normal(s) for s in ((7, 6, 14, 2), (3, 3, 2, 3), (7, 4, 12, 3)))
    whole = correlate(padded, w), weight_gradient(padded, dout)
    values = 3 * 36 * 3  # of a row of tiles of one image, of which there are more behind the kernel than before it
    monkeypatch.setattr(common, "_BLOCK_BYTES", 3 * values * padded.itemsize)
    assert [block.shape[2] for block in winograd.arranged(padded, 0, 3)] == [3, 3, 1]
    for expected, found in zip(whole, (correlate(padded, w), weight_gradient(padded, dout)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def test_a_complex_step_goes_through():
    rng = np.random.default_rng(2)
    padded, dx, w, dout = (rng.standard_normal(s) for s in (*2 * [(2, 6, 10, 3)], (3, 3, 3, 2), (2, 4, 8, 2)))
    stepped = correlate(padded + 1e-30j * dx, w.astype(complex))
    expected = by_definition(dx, w, stride=1, padding=0)
    np.testing.assert_allclose(stepped.imag / 1e-30, expected, rtol=1e-12, atol=1e-13)
    stepped = weight_gradient(padded + 1e-30j * dx, dout.astype(complex))
    np.testing.assert_allclose(stepped.imag / 1e-30, weight_gradient(dx, dout), rtol=1e-12, atol=1e-13)


def test_the_gradient_of_a_convolution_of_many_channels():
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((25, 8, 8, 32)), rng.standard_normal((3, 3, 32, 32))
    assert winograd.pays(x, w, 1, 1)
    result = check(lambda x, w: conv2d.forward(x, w, padding=1), conv2d.backward, (x, w))
    assert result.verdict == "ok", result
    assert max(found.complex_error for found in result.inputs) <= 1e-13


@pytest.mark.parametrize("dtypes", [(float, complex, float), (complex, float, float), (float, complex, complex)])
def test_one_complex_argument_among_real_ones(monkeypatch, dtypes):
    rng = np.random.default_rng(5)
    shapes = (25, 8, 8, 32), (3, 3, 32, 32), (25, 8, 8, 32)
    x, w, dout = (
        (rng.standard_normal(s) + 1e-30j * rng.standard_normal(s) if t is complex else rng.standard_normal(s))
        for s, t in zip(shapes, dtypes, strict=True)
    )

    def all_three():
        out, cache = conv2d.forward(x, w, padding=1)
        return out, *conv2d.backward(dout, cache)

    assert winograd.pays(x, w, 1, 1)
    quick = all_three()
    monkeypatch.setattr(winograd, "_CHANNELS", ())
    for ours, usual in zip(quick, all_three(), strict=True):
        assert ours.dtype == usual.dtype
        for part in (np.real, np.imag):
            np.testing.assert_allclose(part(ours), part(usual), rtol=1e-11, atol=1e-12 * np.max(np.abs(part(usual))))


def test_an_image_is_not_touched(frozen):
    rng = np.random.default_rng(3)
    padded, w, dout = frozen(*(rng.standard_normal(s) for s in ((2, 6, 6, 3), (3, 3, 3, 2), (2, 4, 4, 2))))
    for _ in range(2):
        correlate(padded, w)
        weight_gradient(padded, dout)


def test_nan_reaches_the_outputs_of_every_tile_that_sees_it_and_no_others():
    """Not of that tile alone: two tiles share two lines. In the weight gradient it reaches all weights."""
    image, w = np.random.default_rng(4).standard_normal((1, 10, 10, 1)), np.ones((3, 3, 1, 1))
    for place in np.ndindex(10, 10):
        padded = image.copy()
        padded[0, *place, 0] = np.nan
        tops, lefts = ([start for start in (0, 4) if start <= at < start + 6] for at in place)
        expected = np.zeros((1, 8, 8, 1), dtype=bool)
        for top, left in itertools.product(tops, lefts):
            expected[:, top : top + 4, left : left + 4] = True
        assert np.array_equal(np.isnan(correlate(padded, w)), expected), place
        assert expected[np.isnan(by_definition(padded, w, stride=1, padding=0))].all()
        if place == (0, 0):  # which only the first weight meets
            assert np.isnan(weight_gradient(padded, np.ones((1, 8, 8, 1)))).all()


def test_what_is_not_finite_or_too_large_becomes_nan():
    padded, w = np.zeros((1, 6, 6, 1), dtype=np.float32), np.full((3, 3, 1, 1), 1e-3, dtype=np.float32)
    worst = np.outer(*2 * [np.where(winograd._B[:, 0] < -1e-9, -1, 1)]).astype(np.float32)
    bound = 3.4e38 / np.sum(np.abs(winograd._B), axis=0).max() ** 2
    for value, fine in ((np.inf, False), (2e38, False), (1.1 * bound, False), (bound / 1.1, True)):
        padded[0, :, :, 0] = value * worst
        with np.errstate(over="ignore", invalid="ignore"):
            assert np.isfinite(correlate(padded, w)).all() == fine


@pytest.mark.parametrize("padding", [0, 1])
def test_what_is_kept_for_backward_is_not_the_callers_image(padding):
    x = np.ones((7, 6, 6, 2))
    assert not any(np.shares_memory(x, block) for block in winograd.arranged(x, padding, 2))
    one = np.ones((1, 6, 6, 1))[:, :, :, :]
    assert not any(np.shares_memory(one, block) for block in winograd.arranged(one, padding, 1))


MANY = np.zeros((3, 3, 32, 32))


@pytest.mark.parametrize(
    ("shape", "w", "stride", "pays"),
    [
        ((17, 10, 14, 32), MANY, 1, True),  # 102 tiles
        ((17, 10, 14, 32), MANY, 2, False),
        ((16, 10, 14, 32), MANY, 1, False),  # 96
        ((99, 9, 10, 32), MANY, 1, False),
        ((99, 8, 10, 32), MANY, 1, False),
        ((99, 6, 7, 32), MANY, 1, False),
        ((99, 6, 8, 32), MANY, 1, False),
        ((99, 6, 10, 31), MANY[:, :, :31], 1, False),
        ((99, 6, 10, 32), MANY[..., :31], 1, False),
        ((99, 6, 10, 32), MANY[:2], 1, False),
        ((99, 6, 10, 32), MANY[:, :2], 1, False),
        ((8, 6, 10, 200), np.zeros((3, 3, 200, 32)), 1, True),  # 16 in a row
        ((15, 10, 6, 200), np.zeros((3, 3, 200, 32)), 1, False),  # 15
        ((99, 6, 10, 256), np.zeros((3, 3, 256, 32)), 1, True),
        ((99, 6, 10, 257), np.zeros((3, 3, 257, 32)), 1, False),
    ],
)
def test_what_it_is_for(shape, w, stride, pays):
    assert winograd.pays(np.zeros(shape), w, stride, 0) == pays
    assert winograd.pays(np.zeros(shape, dtype=complex), w, stride, 0) == pays
    assert not winograd.pays(np.full(shape, Fraction(1)), w, stride, 0)
    n, height, width, channels = shape
    assert winograd.pays(np.zeros((n, height - 2, width - 2, channels)), w, stride, 1) == pays


def test_other_libraries_keep_their_path():
    xp = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    assert not winograd.pays(xp.zeros((99, 6, 10, 32)), xp.asarray(MANY), 1, 0)
