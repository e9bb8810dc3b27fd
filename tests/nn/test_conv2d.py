from __future__ import annotations

import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mabn_ref.mistakes.plain import LAYERS
from mabn_ref.nn import centralize, common, conv2d, linear

by_definition = LAYERS["conv2d"]
TRACE = Path(__file__).parents[1] / "traces" / "cenconv.npz"


def convolution(size, kernel, stride, padding, *, n=2, channels=(2, 3), seed=0):
    """x, w, stride, padding, and the generator that drew x and w."""
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((n, *size, channels[0])), rng.standard_normal((*kernel, *channels))
    return x, w, stride, padding, rng


EDGES = [
    convolution((1, 1), (3, 3), 1, 1),  # a kernel as large as the image with its padding
    convolution((5, 4), (3, 3), 1, 0),
    convolution((5, 4), (3, 3), 1, 2),
    convolution((5, 4), (2, 4), 1, 1),
    convolution((5, 4), (2, 4), 1, 2),  # as much padding as the kernel is high
    convolution((5, 4), (4, 2), 1, 3),
    convolution((3, 2), (1, 1), 1, 1),
    convolution((6, 5), (3, 2), 2, 1),  # positions below and at the right that no output sees
    convolution((7, 6), (4, 3), 3, 2),
    convolution((6, 7), (1, 2), 3, 0),  # a stride beyond the kernel
]


@st.composite
def convolutions(draw):
    """x, w, stride and padding that fit together; kernels need not be square, nor padding smaller than they are."""
    size, kernel, n = st.integers(1, 6), st.integers(1, 4), draw(st.integers(1, 3))
    h, w, kh, kw = draw(size), draw(size), draw(kernel), draw(kernel)
    stride, padding = draw(st.integers(1, 3)), draw(st.integers(0, 3))
    channels = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    assume(kh <= h + 2 * padding and kw <= w + 2 * padding)
    seed = draw(st.integers(0, 2**32 - 1))
    return convolution((h, w), (kh, kw), stride, padding, n=n, channels=channels, seed=seed)


def check_forward(case):
    x, w, stride, padding, _ = case
    out, _ = conv2d.forward(x, w, stride=stride, padding=padding)
    np.testing.assert_allclose(out, by_definition(x, w, stride=stride, padding=padding), rtol=1e-12, atol=1e-13)


def check_gradients(case):
    """It is linear in each argument: a derivative is what one pixel alone, or one weight alone, gives."""
    x, w, stride, padding, rng = case
    out, cache = conv2d.forward(x, w, stride=stride, padding=padding)
    dout = rng.standard_normal(out.shape)
    dx, dw = conv2d.backward(dout, cache)
    pixels = by_definition(np.eye(x[0].size).reshape(-1, *x.shape[1:]), w, stride=stride, padding=padding)
    expected_dx = np.tensordot(dout, pixels, axes=((1, 2, 3), (1, 2, 3))).reshape(x.shape)
    weights = by_definition(x, np.eye(w[..., 0].size).reshape(*w.shape[:3], -1), stride=stride, padding=padding)
    expected_dw = np.tensordot(weights, dout, axes=((0, 1, 2), (0, 1, 2))).reshape(w.shape)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(dw, expected_dw, rtol=1e-10, atol=1e-11)


@given(convolutions())
def test_it_is_the_definition(case):
    """eq: conv2d-forward"""
    check_forward(case)


@given(convolutions())
def test_gradients_are_those_of_the_definition(case):
    """eq: conv2d-backward"""
    check_gradients(case)


@pytest.mark.parametrize("case", EDGES, ids=lambda case: f"{case[0].shape[1:3]}-{case[1].shape[:2]}-{case[2:4]}")
def test_edges(case):
    """eq: conv2d-forward, conv2d-backward

    What few random draws may miss.
    """
    check_forward(case)
    check_gradients(case)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("images", [1, 3])
def test_blocks_of_images_are_all_images(monkeypatch, stride, images):
    """eq: conv2d-forward, conv2d-backward"""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((7, 6, 5, 2)), rng.standard_normal((3, 3, 2, 2))
    dout = rng.standard_normal(conv2d.forward(x, w, stride=stride, padding=1)[0].shape)
    found = []
    for size in (common._BLOCK_BYTES, images * dout[0].size * w[:, :, 0, :].size * x.itemsize // 2):
        monkeypatch.setattr(common, "_BLOCK_BYTES", size)
        out, cache = conv2d.forward(x, w, stride=stride, padding=1)
        found.append((out, *conv2d.backward(dout, cache)))
    assert len(common.blocks(x, dout[0].size * w[:, :, 0, :].size // 2)) == {1: 7, 3: 3}[images]
    for whole, in_blocks in zip(*found, strict=True):
        np.testing.assert_allclose(in_blocks, whole, rtol=1e-12, atol=1e-13)


def test_a_stride_beyond_the_image_takes_no_memory():
    x, w = np.zeros((1, 8, 8, 3)), np.zeros((3, 3, 3, 2))
    out, cache = conv2d.forward(x, w, stride=3000)
    tracemalloc.start()
    dx = conv2d.input_gradient(np.ones_like(out), cache)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert dx.shape == x.shape
    assert peak < 20 * x.nbytes


@pytest.mark.parametrize("stride", [1, 2])
def test_parts_of_backward_are_backward(stride):
    rng = np.random.default_rng(0)
    out, cache = conv2d.forward(
        rng.standard_normal((2, 5, 5, 3)), rng.standard_normal((3, 3, 3, 4)), stride=stride, padding=1
    )
    dout = rng.standard_normal(out.shape)
    dx, dw = conv2d.backward(dout, cache)
    assert np.array_equal(dx, conv2d.input_gradient(dout, cache))
    assert np.array_equal(dw, conv2d.weight_gradient(dout, cache))


def test_authors_centred_convolution():
    """eq: centralize-forward (18), centralize-backward, conv2d-forward, conv2d-backward"""
    with np.load(TRACE, allow_pickle=False) as trace:
        x, dout, out_expected, dx_expected = (trace[k].transpose(0, 2, 3, 1) for k in ("x", "dy", "y", "dx"))
        w, dw_expected = (trace[k].transpose(2, 3, 1, 0) for k in ("w", "dw"))
    w_c, centring = centralize.forward(w)
    out, cache = conv2d.forward(x, w_c, stride=2, padding=1)
    dx, dw_c = conv2d.backward(dout, cache)
    dw = centralize.backward(dw_c, centring)
    for ours, theirs in ((out, out_expected), (dx, dx_expected), (dw, dw_expected)):
        assert ours.shape == theirs.shape
        assert np.max(np.abs(ours - theirs)) <= 1e-12 * np.max(np.abs(theirs))


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [((3, 3), 1, 1), ((3, 3), 2, 1), ((2, 5), 3, 4), ((1, 1), 1, 2)]
)
def test_agrees_with_pytorch(kernel, stride, padding):
    """eq: conv2d-forward, conv2d-backward"""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((3, 9, 8, 4)), rng.standard_normal((*kernel, 4, 5))
    tx = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    tw = torch.tensor(w.transpose(3, 2, 0, 1), requires_grad=True)
    tout = torch.nn.functional.conv2d(tx, tw, stride=stride, padding=padding)
    out, cache = conv2d.forward(x, w, stride=stride, padding=padding)
    dout = rng.standard_normal(out.shape)
    tout.backward(torch.tensor(dout.transpose(0, 3, 1, 2)))
    dx, dw = conv2d.backward(dout, cache)
    np.testing.assert_allclose(out, tout.detach().numpy().transpose(0, 2, 3, 1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dx, tx.grad.numpy().transpose(0, 2, 3, 1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dw, tw.grad.numpy().transpose(2, 3, 1, 0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_float32_stays_float32_and_inputs_stay(frozen, stride):
    rng = np.random.default_rng(2)
    x, w, dout = frozen(
        rng.standard_normal((2, 6, 6, 3), dtype=np.float32),
        rng.standard_normal((3, 3, 3, 4), dtype=np.float32),
        rng.standard_normal((2, 6 // stride, 6 // stride, 4), dtype=np.float32),
    )
    out, cache = conv2d.forward(x, w, stride=stride, padding=1)
    dx, dw = conv2d.backward(dout, cache)
    assert out.dtype == dx.dtype == dw.dtype == np.float32
    double, double_cache = conv2d.forward(x.astype(float), w.astype(float), stride=stride, padding=1)
    double_dx, double_dw = conv2d.backward(dout.astype(float), double_cache)
    for single, expected in ((out, double), (dx, double_dx), (dw, double_dw)):
        np.testing.assert_allclose(single, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("padding", [0, 1])
def test_memory_layout_of_x_does_not_matter(padding):
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((2, 3, 5, 6)).transpose(0, 2, 3, 1), rng.standard_normal((3, 2, 3, 4))
    assert not x.flags.c_contiguous
    out, _ = conv2d.forward(x, w, stride=2, padding=padding)
    again, _ = conv2d.forward(x.copy(order="C"), w, stride=2, padding=padding)
    assert np.array_equal(out, again)


@pytest.mark.parametrize("stride", [1, 2])
def test_exact_numbers_give_exact_gradients(stride):
    """eq: conv2d-forward, conv2d-backward"""
    rng = np.random.default_rng(5)

    def fractions(*shape):
        return np.vectorize(lambda k: Fraction(int(k), 7), otypes=[object])(rng.integers(-9, 9, shape))

    x, w = fractions(1, 4, 4, 2), fractions(3, 3, 2, 2)
    out, cache = conv2d.forward(x, w, stride=stride, padding=1)
    dout = fractions(*out.shape)
    dx, dw = conv2d.backward(dout, cache)
    # Bilinear, so that <dout, out> is exactly <dx, x> and <dw, w>.
    assert np.sum(dout * out) == np.sum(dx * x) == np.sum(dw * w)
    assert isinstance(np.sum(dx * x), Fraction)


def test_nan_reaches_every_output_that_sees_it_and_no_other():
    x = np.random.default_rng(6).standard_normal((1, 5, 5, 2))
    x[0, 0, 0, 1] = np.nan
    out, cache = conv2d.forward(x, np.ones((3, 3, 2, 1)), padding=1)
    assert np.argwhere(np.isnan(out[0, :, :, 0])).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert np.isnan(conv2d.weight_gradient(np.ones_like(out), cache)).any()


X, W = np.zeros((2, 5, 5, 3)), np.zeros((3, 3, 3, 4))


@pytest.mark.parametrize(
    ("x", "w", "options", "error", "message"),
    [
        (X[0], W, {}, ValueError, r"x has shape \(5, 5, 3\), expected \(N, H, W, C\): channels last"),
        (X[:0], W, {}, ValueError, r"x has shape \(0, 5, 5, 3\).*no axis empty"),
        (X, W[0], {}, ValueError, r"w has shape \(3, 3, 4\), expected \(kh, kw, in, out\)"),
        (
            X.transpose(0, 3, 1, 2),
            W,
            {},
            ValueError,
            r"x has shape \(2, 3, 5, 5\).* 5 channels .channels last.*expected 3",
        ),
        (X, W, {"stride": 0}, ValueError, "stride is 0, expected an integer of at least 1"),
        (X, W, {"stride": 1.0}, TypeError, "stride is 1.0, expected an integer"),
        (X, W, {"stride": True}, TypeError, "stride is True, expected an integer"),
        (X, W, {"padding": -1}, ValueError, "padding is -1, expected an integer of at least 0"),
        (X, W, {"padding": (1, 1)}, TypeError, r"padding is \(1, 1\), expected an integer"),
        (X[:, :2], W, {}, ValueError, r"w has a kernel of \(3, 3\), expected at most \(2, 5\)"),
        (X[:, :, :2], W, {}, ValueError, r"w has a kernel of \(3, 3\), expected at most \(5, 2\)"),
        (
            X[:, :1, :1],
            np.ones((4, 4, 3, 4)),
            {"padding": 1},
            ValueError,
            r"w has a kernel of \(4, 4\), expected at most \(3, 3\)",
        ),
        (X.astype(int), W, {}, TypeError, "x has dtype int64, expected float32 or float64"),
        (X.astype(np.float16), W, {}, TypeError, "x has dtype float16, expected float32 or float64"),
        (X, W.astype(np.float32), {}, TypeError, "w has dtype float32, expected float64, the dtype of x"),
        (X.tolist(), W, {}, TypeError, "x is a list, expected an array"),
    ],
)
def test_bad_input_is_refused(x, w, options, error, message):
    with pytest.raises(error, match=message):
        conv2d.forward(x, w, **options)


@pytest.mark.parametrize("call", [conv2d.backward, conv2d.input_gradient, conv2d.weight_gradient])
def test_bad_cotangents_and_caches_are_refused(call):
    out, cache = conv2d.forward(X, W)
    with pytest.raises(
        ValueError, match=r"dout has shape \(2, 3, 3\), expected \(2, 3, 3, 4\), the shape of the output"
    ):
        call(out[..., 0], cache)
    with pytest.raises(TypeError, match="dout has dtype float32, expected float64"):
        call(out.astype(np.float32), cache)
    with pytest.raises(TypeError, match=r"cache is a linear\.Cache, expected a conv2d\.Cache"):
        call(out, linear.forward(X[0, 0], W[0, 0], W[0, 0, 0])[1])
