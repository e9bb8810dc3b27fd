"""Networks brought from batch norm to MABN: what must not change, and what changes least."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabn_ref.nn import centralize, conv2d, network, networks
from mabn_ref.nn.convert import centre, convert, covariance, optimally_centred
from mabn_ref.norms import (
    NORMS,
    batch_norm,
    batch_renorm,
    eval_norm,
    frozen_batch_norm,
    group_norm,
    mabn,
    mabn_variants,
    modified_batch_norm,
    online_norm,
)
from mabn_ref.train import boxes

CONFIG = batch_norm.Config(eps=1e-3)


def made(module, words):
    """A Config for four channels, or None where it cannot be so."""
    groups = {"groups": 2} if hasattr(module.Config, "groups") else {}
    try:
        return module.Config(**groups, **words)
    except (TypeError, ValueError):
        return None


def trained(*, centralized=False, seed=0, dtype=np.float64, make=networks.small_network):
    """A network whose parameters and statistics are what no `init` makes, and images."""
    rng = np.random.default_rng(seed)
    layers = make(batch_norm, CONFIG, centralized=centralized, width=2)
    params, states = network.init(layers, rng, dtype=dtype)
    params = [{k: p + 0.3 * rng.standard_normal(p.shape).astype(dtype) for k, p in layer.items()} for layer in params]
    images = (rng.standard_normal((6, 32, 32, 3)) + 0.5).astype(dtype)
    for _ in range(20):
        _, _, states = network.forward(layers, params, states, images)
    return layers, params, states, images


@pytest.mark.parametrize("eps", [1e-3, 1e-5, 0.1])
@pytest.mark.parametrize("module", [mabn, modified_batch_norm])
def test_the_function_stays(module, eps):
    """eq: convert-chi2, convert-affine"""
    *before, images = trained(centralized=True)
    after = convert(*before, module, module.Config(eps=eps))
    old, new = network.infer(*before, images), network.infer(*after, images)
    np.testing.assert_allclose(new, old, rtol=1e-12, atol=1e-13 * np.max(np.abs(old)))
    assert {layer.module for layer in after.layers if isinstance(layer, network.Norm)} == {module}


@pytest.mark.parametrize("module", [batch_renorm, frozen_batch_norm, batch_norm])
def test_mean_and_variance_are_taken_over(module):
    *before, images = trained()
    after = convert(*before, module, module.Config(eps=CONFIG.eps))
    np.testing.assert_array_equal(network.infer(*after, images), network.infer(*before, images))
    with pytest.raises(ValueError, match=r"^config\.eps is 0\.1, expected 0\.001, the eps of norm1$"):
        convert(*before, module, module.Config(eps=0.1))


WORDS = {}, {"norm_batch": 2}, {"layer_scaling": False}
CONFIGS = {name: [c for words in WORDS if (c := made(entry.module, words))] for name, entry in NORMS.items()}


@pytest.mark.parametrize("target", NORMS)
@pytest.mark.parametrize("source", NORMS)
def test_of_any_two_normalisers_inference_stays_or_is_refused(source, target):
    """Online Normalization with layer scaling and EvalNorm are not linear; they were converted all the same."""
    rng = np.random.default_rng(0)
    for old, new in itertools.product(CONFIGS[source], CONFIGS[target]):
        layers = [network.Norm("norm", NORMS[source].module, 4, old)]
        params, states = network.init(layers, rng, dtype=np.float64)
        for _ in range(3):
            x = rng.standard_normal((4, 3, 3, 4)) + 1
            _, _, states = network.forward(layers, params, states, x)
        try:
            after = convert(layers, params, states, NORMS[target].module, new)
        except (TypeError, ValueError):
            continue
        expected = network.infer(layers, params, states, x)
        np.testing.assert_allclose(network.infer(*after, x), expected, rtol=1e-12, atol=1e-12)


NOT_LINEAR = [(online_norm, {"layer_scaling": True}), (eval_norm, {"norm_batch": 2})]


@pytest.mark.parametrize(("module", "words"), NOT_LINEAR)
def test_a_normaliser_that_is_not_linear_is_refused_on_both_sides(module, words):
    *before, _ = trained()
    with pytest.raises(ValueError, match=rf"^module is {module.__name__}, expected one that config makes linear"):
        convert(*before, module, module.Config(eps=CONFIG.eps, **words))
    layers = [network.Norm("norm", module, 2, module.Config(**words))]
    with pytest.raises(ValueError, match=r"^layers have no linear normaliser"):
        convert(layers, *network.init(layers, np.random.default_rng(0)), mabn, mabn.Config())


def test_training_goes_on_without_a_jump():
    """With the batch that the statistics are of, the first training pass is what inference was: chi^2 is E[u^2].

    Without r, which would make up for another chi^2.
    """
    rng = np.random.default_rng(1)
    layers = [network.Norm("norm", batch_norm, 3, batch_norm.Config(decay=0.0, eps=0.0))]
    params, states = [{"gamma": rng.standard_normal(3), "beta": rng.standard_normal(3)}], None
    x = rng.standard_normal((8, 3)) * [1, 5, 0.1] + [0, 9, 3]
    _, states = network.init(layers, rng, dtype=np.float64)
    _, _, states = network.forward(layers, params, states, x)
    after = convert(layers, params, states, mabn, mabn.Config(eps=0.0, clip=1.0))
    z, _, _ = network.forward(*after, x)
    np.testing.assert_allclose(z, network.infer(layers, params, states, x), rtol=1e-12, atol=1e-12)


def test_nothing_given_is_changed():
    layers, params, states, images = trained()
    kept = [{k: p.copy() for k, p in layer.items()} for layer in params]
    after = convert(*centre(layers, params, states, images), mabn, mabn.Config())
    for mine, theirs in zip(kept, params, strict=True):
        assert all(np.array_equal(mine[k], theirs[k]) for k in mine)
    for array in after.params[0].values():
        array += 1
    taken = convert(layers, params, states, frozen_batch_norm, frozen_batch_norm.Config(eps=CONFIG.eps))
    taken.states[1].mean[:] = 7
    assert not np.any(states[1].mean == 7)
    assert all(np.array_equal(kept[0][k], params[0][k]) for k in kept[0])


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 4))
@settings(max_examples=40)
def test_no_centred_filter_is_closer(seed, kernel, channels):
    """eq: centre-optimal"""
    rng = np.random.default_rng(seed)
    size = kernel * kernel * channels
    w = rng.standard_normal((kernel, kernel, channels, 2)) + rng.standard_normal(2)
    factor = rng.standard_normal((size, size)) * np.exp(rng.uniform(-2, 2, size))
    sigma = factor.T @ factor + np.eye(size) * 10.0 ** rng.uniform(-3, 1)

    def lost(centred, sigma):
        d = (centred - w).reshape(size, 2)
        return np.einsum("ik,ij,jk->k", d, sigma, d)

    best, plain = optimally_centred(w, sigma), centralize.centred(w)
    np.testing.assert_allclose(best.sum(axis=(0, 1, 2)), 0, atol=1e-12 * np.abs(best).max() * size)
    assert np.all(lost(best, sigma) <= lost(plain, sigma) * (1 + 1e-9))
    ridged = sigma + 1e-6 * np.trace(sigma) / size * np.eye(size)  # what it is optimal for: no singular sigma
    closed = w.reshape(size, 2).sum(axis=0) ** 2 / np.sum(np.linalg.solve(ridged, np.ones(size)))
    np.testing.assert_allclose(lost(best, ridged), closed, rtol=1e-7)
    for _ in range(3):
        other = best + centralize.centred(rng.standard_normal(w.shape)) * 0.1 * np.abs(best).max()
        assert np.all(lost(best, ridged) <= lost(other, ridged) * (1 + 1e-7))


def test_inputs_that_are_always_zero():
    """They have no variance, and take up the filter's sum at no cost."""
    w = np.array([1.0, 2.0, 6.0]).reshape(1, 1, 3, 1)
    best = optimally_centred(w, np.diag([1.0, 0.0, 4.0]))
    np.testing.assert_allclose(best.ravel()[[0, 2]], [1, 6], atol=1e-4)


def test_the_covariance_is_that_of_the_patches():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((110, 4, 5, 2)) + 3
    layer = network.Conv("conv", 2, 3, kernel=2, stride=2, padding=1)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    patches = [
        padded[n, i : i + 2, j : j + 2].ravel() for n in range(110) for i in range(0, 5, 2) for j in range(0, 6, 2)
    ]
    np.testing.assert_allclose(covariance(layer, x), np.cov(np.array(patches).T, bias=True), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("optimal", [True, False])
def test_statistics_are_measured_again_from_the_input_on(optimal):
    """The statistics of every normaliser are those of what reaches it in the centred network."""
    layers, params, states, images = trained()
    after = centre(layers, params, states, images, optimal=optimal)
    x = images
    for layer, p, state in zip(*after, strict=True):
        if isinstance(layer, network.Conv):
            assert layer.centralized
            np.testing.assert_allclose(p["w"].sum(axis=(0, 1, 2)), 0, atol=1e-11)
            x = conv2d.forward(x, p["w"], stride=layer.stride, padding=layer.padding)[0]
        else:
            if isinstance(layer, network.Norm):
                np.testing.assert_allclose(state.mean, x.mean(axis=(0, 1, 2)), rtol=1e-9, atol=1e-9)
                np.testing.assert_allclose(state.var, x.var(axis=(0, 1, 2)), rtol=1e-9)
            x = network.infer([layer], [p], [state], x)


def test_residual_blocks_are_followed():
    """The statistics of all normalisers, those of shortcuts too, are those of the whole network's training pass."""
    layers, params, states, images = trained(make=networks.residual_network)
    after = centre(layers, params, states, images)
    measuring = [
        layer._replace(config=batch_norm.Config(eps=CONFIG.eps, decay=0.0))
        if isinstance(layer, network.Norm)
        else layer
        for layer in after.layers
    ]
    logits, _, measured = network.forward(measuring, after.params, after.states, images)
    np.testing.assert_allclose(network.infer(*after, images), logits, rtol=1e-9, atol=1e-9)
    found = [(a, b) for a, b in zip(after.states, measured, strict=True) if a is not None]
    assert len(found) == 9
    for mine, theirs in found:
        np.testing.assert_allclose(mine.mean, theirs.mean, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(mine.var, theirs.var, rtol=1e-9)


def test_a_normaliser_without_a_convolution_is_measured_all_the_same():
    rng = np.random.default_rng(0)
    layers = [
        network.Conv("conv", 3, 2),
        network.Norm("norm1", batch_norm, 2, CONFIG),
        network.ReLU("relu"),
        network.Norm("norm2", batch_norm, 2, CONFIG),
    ]
    params, states = network.init(layers, rng, dtype=np.float64)
    images = rng.standard_normal((6, 8, 8, 3))
    after = centre(layers, params, states, images)
    x = network.infer(after.layers[:3], after.params[:3], after.states[:3], images)
    np.testing.assert_allclose(after.states[3].mean, x.mean(axis=(0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(after.states[3].var, x.var(axis=(0, 1, 2)), rtol=1e-9)


def test_a_convolution_without_a_normaliser_is_left_alone():
    layers, params, states, images = trained(make=boxes.detector)
    after = centre(layers, params, states, images)
    for i, layer in enumerate(layers):
        if layer.name in ("head", "output"):
            assert after.layers[i] == layer
            np.testing.assert_array_equal(after.params[i]["w"], params[i]["w"])


def test_centring_loses_less_the_optimal_way():
    layers, params, states, images = trained()
    old = network.infer(layers, params, states, images)
    naive = [layer._replace(centralized=True) if isinstance(layer, network.Conv) else layer for layer in layers]

    def off(*net):
        return np.sqrt(np.mean((network.infer(*net, images) - old) ** 2))

    plain, best = (off(*centre(layers, params, states, images, optimal=optimal)) for optimal in (False, True))
    assert best < plain
    assert off(naive, params, states) > best


@pytest.mark.parametrize(
    ("module", "config", "error", "said"),
    [
        (
            group_norm,
            group_norm.Config(groups=1),
            TypeError,
            r"^module is mabn_ref\.norms\.group_norm, expected one that keeps",
        ),
        (mabn_variants, mabn_variants.Config(ema_start="first"), ValueError, r"^ema_start is 'first', expected a"),
        (mabn, batch_norm.Config(), TypeError, r"config is a batch_norm\.Config"),
    ],
)
def test_refused(module, config, error, said):
    *before, _ = trained()
    with pytest.raises(error, match=said):
        convert(*before, module, config)


def test_lists_of_different_lengths_are_refused():
    layers, params, states, images = trained()
    for name, lists in (("params", (layers, params[1:], states)), ("states", (layers, params, states[1:]))):
        for call, more in ((convert, (mabn, mabn.Config())), (centre, (images,))):
            with pytest.raises(
                ValueError, match=rf"^{name} has {len(layers) - 1} members, expected {len(layers)}, one per layer"
            ):
                call(*lists, *more)


def test_nothing_to_convert():
    layers = networks.small_network(group_norm, group_norm.Config(groups=1), width=2)
    params, states = network.init(layers, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"^layers have no linear normaliser with a moving mean and variance"):
        convert(layers, params, states, mabn, mabn.Config())
    with pytest.raises(ValueError, match=r"^layers have no convolution before a normaliser"):
        centre(layers, params, states, np.zeros((1, 32, 32, 3)))
    *before, images = trained()
    standard = [
        layer._replace(standardized=True) if isinstance(layer, network.Conv) else layer for layer in before[0]
    ]
    with pytest.raises(ValueError, match=r"^conv1 is standardized, expected weights that are used as they are$"):
        centre(standard, *before[1:], images)
