from __future__ import annotations

import numpy as np
import pytest

from mabn_ref.nn import conv2d, network, networks, optimiser, softmax_cross_entropy
from mabn_ref.norms import batch_norm, batch_renorm, mabn, modified_batch_norm, moving_statistics, online_norm

BN = batch_norm.Config(decay=0.9)
NORMALISERS = [
    pytest.param(batch_norm, BN, id="bn"),
    pytest.param(batch_norm, batch_norm.Config(decay=0.9, norm_batch=2), id="bn-2"),
    pytest.param(modified_batch_norm, modified_batch_norm.Config(decay=0.9), id="modified"),
]
ALL = [
    *NORMALISERS,
    pytest.param(batch_renorm, batch_renorm.Config(decay=0.9, norm_batch=2, r_max=3.0, d_max=5.0), id="brn-2"),
    pytest.param(mabn, mabn.Config(window=4, norm_batch=2), id="mabn-2"),
]


WEIGHTS = [{}, {"centralized": True}, {"standardized": True}]


def all_kinds(module, config, weights):
    return [
        network.Conv("conv1", 2, 3, **weights),
        network.Norm("norm1", module, 3, config),
        network.ReLU("relu1"),
        network.Conv("conv2", 3, 4, kernel=2, stride=2, padding=0, **weights),
        network.Norm("norm2", module, 4, config),
        network.ReLU("relu2"),
        network.Bias("bias", 4),
        network.GlobalAveragePool("pool"),
        network.Linear("linear", 4, 3),
    ]


def perturbed(params, rng):
    """Parameters away from gamma = 1, beta = 0, b = 0, where mistakes hide."""
    return [{k: p + 0.3 * rng.standard_normal(p.shape).astype(p.dtype) for k, p in layer.items()} for layer in params]


def train_step(layers, params, states, velocity, x, labels, lr=0.05):
    logits, caches, states = network.forward(layers, params, states, x)
    loss, cache = softmax_cross_entropy.forward(logits, labels)
    grads, states = network.backward(layers, softmax_cross_entropy.backward(1.0, cache), caches, states)
    params, velocity = optimiser.step(params, grads, velocity, lr=lr, momentum=0.9, weight_decay=5e-4)
    return loss, params, states, velocity


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
@pytest.mark.parametrize(("module", "config"), NORMALISERS)
def test_gradients_of_a_whole_network(central_differences, module, config, weights):
    """eq: conv2d-backward, centralize-backward, standardize-backward, relu-backward, global-average-pool-backward,
    linear-backward"""
    rng = np.random.default_rng(0)
    layers = all_kinds(module, config, weights)
    params, states = network.init(layers, rng, dtype=np.float64)
    params = perturbed(params, rng)
    x, labels = rng.standard_normal((4, 4, 4, 2)), np.array([0, 2, 1, 2])

    def loss(changed):
        logits, _, _ = network.forward(layers, changed, states, x)
        return softmax_cross_entropy.forward(logits, labels)[0]

    logits, caches, new_states = network.forward(layers, params, states, x)
    _, cache = softmax_cross_entropy.forward(logits, labels)
    grads, _ = network.backward(layers, softmax_cross_entropy.backward(1.0, cache), caches, new_states)
    assert [list(grad) for grad in grads] == [list(layer) for layer in params]
    for i, layer in enumerate(params):
        for name, p in layer.items():
            expected = central_differences(
                lambda v, i=i, name=name: loss([*params[:i], {**params[i], name: v}, *params[i + 1 :]]), p, h=1e-6
            )
            np.testing.assert_allclose(
                grads[i][name], expected, rtol=1e-6, atol=1e-8, err_msg=f"{layers[i].name} {name}"
            )


@pytest.mark.frameworks
@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_three_steps_of_the_small_network_agree_with_pytorch(weights):
    """eq: centralize-backward, standardize-backward, conv2d-backward, relu-backward, global-average-pool-backward,
    linear-backward, sgd"""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    functional = torch.nn.functional
    rng = np.random.default_rng(1)
    layers = networks.small_network(batch_norm, BN, width=4, **weights)
    params, states = network.init(layers, rng, dtype=np.float64)
    velocity = optimiser.init(params)

    def to_torch(p):
        array = p.transpose(3, 2, 0, 1) if p.ndim == 4 else p.T
        return torch.tensor(array.copy(), requires_grad=True)

    tensors = [{name: to_torch(p) for name, p in layer.items()} for layer in params]
    theirs = torch.optim.SGD([t for layer in tensors for t in layer.values()], 0.05, 0.9, weight_decay=5e-4)

    def reference(x):
        for layer, t in zip(layers, tensors, strict=True):
            match layer:
                case network.Conv():
                    var, mean = torch.var_mean(t["w"], (1, 2, 3), correction=0, keepdim=True)
                    w = t["w"] - mean if weights else t["w"]
                    w = w / torch.sqrt(var + 1e-5) if "standardized" in weights else w
                    x = functional.conv2d(x, w, stride=layer.stride, padding=layer.padding)
                case network.Norm():
                    x = functional.batch_norm(x, None, None, t["gamma"], t["beta"], training=True, eps=BN.eps)
                case network.ReLU():
                    x = functional.relu(x)
                case network.GlobalAveragePool():
                    x = x.mean((2, 3))
                case network.Linear():
                    x = functional.linear(x, t["w"], t["b"])
        return x

    for _ in range(3):
        x, labels = rng.standard_normal((8, 32, 32, 3)), rng.integers(0, 10, 8)
        loss, params, states, velocity = train_step(layers, params, states, velocity, x, labels)
        theirs.zero_grad()
        tloss = functional.cross_entropy(reference(torch.tensor(x.transpose(0, 3, 1, 2))), torch.tensor(labels))
        tloss.backward()
        theirs.step()
        assert float(loss) == pytest.approx(tloss.item(), rel=1e-11)
    for layer, t in zip(params, tensors, strict=True):
        for name, p in layer.items():
            theirs = t[name].detach().numpy()
            theirs = theirs.transpose(2, 3, 1, 0) if p.ndim == 4 else theirs.T
            np.testing.assert_allclose(p, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("module", "config"), ALL)
def test_float32_stays_float32_and_inputs_stay(frozen, module, config):
    rng = np.random.default_rng(2)
    layers = all_kinds(module, config, {"centralized": True})
    params, states = network.init(layers, rng)
    x, dlogits = frozen(
        rng.standard_normal((4, 6, 6, 2), dtype=np.float32), rng.standard_normal((4, 3), dtype=np.float32)
    )
    for _ in range(2):
        frozen(*(p for layer in params for p in layer.values()))
        frozen(*(a for state in states if state is not None for a in state if isinstance(a, np.ndarray)))
        logits, caches, states = network.forward(layers, params, states, x)
        grads, states = network.backward(layers, dlogits, caches, states)
        arrays = [logits, *(g for grad in grads for g in grad.values())]
        arrays += [a for state in states if state is not None for a in state if isinstance(a, np.ndarray)]
        assert {a.dtype for a in arrays} == {np.dtype(np.float32)}
        assert network.infer(layers, params, states, x).dtype == np.float32


def kept(lists):
    """Everything in lists of dicts, tuples and arrays, by the objects themselves and by the values of the arrays."""

    def of(value):
        if isinstance(value, np.ndarray):
            return id(value), value.tobytes()
        if isinstance(value, dict):
            return id(value), [(name, of(part)) for name, part in value.items()]
        if isinstance(value, (list, tuple)):
            return id(value), [of(part) for part in value]
        return id(value)

    return [of(value) for value in lists]


@pytest.mark.parametrize(
    ("module", "config"),
    [
        *ALL,
        pytest.param(online_norm, online_norm.Config(), id="online"),
        pytest.param(
            moving_statistics,
            moving_statistics.Config(form="vanilla", forward="ema", backward="sma", norm_batch=2, window=4),
            id="moving-2",
        ),
    ],
)
def test_the_callers_lists_stay_as_they_are(module, config):
    """Those of params, states and caches, the dicts and states in them, and the arrays in those."""
    rng = np.random.default_rng(3)
    layers = all_kinds(module, config, {"centralized": True})
    params, states = network.init(layers, rng, dtype=np.float64)
    x, dlogits = rng.standard_normal((4, 6, 6, 2)), rng.standard_normal((4, 3))
    _, caches, states = network.forward(layers, params, states, x)
    _, states = network.backward(layers, dlogits, caches, states)  # windows and averages that are not their start

    before = kept([params, states, x])
    _, caches, after = network.forward(layers, params, states, x)
    assert kept([params, states, x]) == before
    before = kept([params, states, x, caches, after, dlogits])
    _, last = network.backward(layers, dlogits, caches, after)
    assert kept([params, states, x, caches, after, dlogits]) == before
    assert last is not after
    before = kept([params, last, x])
    network.infer(layers, params, last, x)
    assert kept([params, last, x]) == before


def test_first_weights_do_not_depend_on_normaliser_or_centralisation():
    first = None
    for module, config in [case.values for case in ALL]:
        for centralized in (False, True):
            layers = networks.small_network(module, config, centralized=centralized, width=4)
            params, _ = network.init(layers, np.random.default_rng(3))
            weights = [layer["w"] for layer in params if "w" in layer]
            first = first or weights
            assert len(weights) == 8
            assert all(np.array_equal(a, b) for a, b in zip(weights, first, strict=True))
    other, _ = network.init(layers, np.random.default_rng(4))
    assert not np.array_equal(other[0]["w"], first[0])


def test_float32_weights_are_the_float64_ones_rounded():
    layers = networks.small_network(batch_norm, BN, width=4)
    single, _ = network.init(layers, np.random.default_rng(5))
    double, _ = network.init(layers, np.random.default_rng(5), dtype=np.float64)
    for a, b in zip(single, double, strict=True):
        assert all(np.array_equal(a[name], b[name].astype(np.float32)) for name in a)


def test_first_parameters_have_the_spread_they_should():
    params, _ = network.init(networks.small_network(batch_norm, BN), np.random.default_rng(6))
    conv, norm, linear = params[12], params[13], params[-1]
    assert conv["w"].shape == (3, 3, 64, 128)
    assert np.std(conv["w"]) == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)
    assert np.std(linear["w"]) == pytest.approx(np.sqrt(1 / 128), rel=0.1)
    assert (norm["gamma"] == 1).all()
    assert not norm["beta"].any()
    assert not linear["b"].any()


@pytest.mark.parametrize(("module", "config"), ALL)
def test_training_is_reproducible_to_the_bit_and_lowers_the_loss(module, config):
    def train():
        rng = np.random.default_rng(7)
        layers = networks.small_network(module, config, centralized=True, width=4)
        params, states = network.init(layers, rng)
        velocity = optimiser.init(params)
        x, labels = rng.standard_normal((8, 32, 32, 3), dtype=np.float32), rng.integers(0, 10, 8)
        losses = []
        for _ in range(25):
            loss, params, states, velocity = train_step(layers, params, states, velocity, x, labels)
            losses.append(float(loss))
        return params, losses

    params, losses = train()
    again, losses_again = train()
    assert losses == losses_again
    assert all(np.array_equal(a[name], b[name]) for a, b in zip(params, again, strict=True) for name in a)
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(("module", "config"), ALL)
def test_inference_looks_at_each_image_alone(module, config):
    rng = np.random.default_rng(8)
    layers = networks.small_network(module, config, centralized=True, width=4)
    params, states = network.init(layers, rng, dtype=np.float64)
    _, _, states = network.forward(layers, params, states, rng.standard_normal((8, 32, 32, 3)))
    x = rng.standard_normal((3, 32, 32, 3))
    together = network.infer(layers, params, states, x)
    alone = np.concatenate([network.infer(layers, params, states, x[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(together, alone, rtol=1e-11, atol=1e-12)


def test_inference_is_training_with_the_statistics_it_left():
    """With decay 0 the moving statistics are those of the batch, so that both passes give the same logits."""
    rng = np.random.default_rng(9)
    layers = all_kinds(batch_norm, batch_norm.Config(decay=0.0), {"centralized": True})
    params, states = network.init(layers, rng, dtype=np.float64)
    params, x = perturbed(params, rng), rng.standard_normal((4, 6, 6, 2))
    logits, _, states = network.forward(layers, params, states, x)
    np.testing.assert_allclose(network.infer(layers, params, states, x), logits, rtol=1e-12, atol=1e-12)


def test_inference_has_the_strides_paddings_and_factors_of_training():
    rng = np.random.default_rng(13)
    layers = [
        network.Conv("conv1", 2, 3, kernel=3, stride=3, padding=2),
        network.ReLU("relu"),
        network.Upsample("up", 3),
        network.Conv("conv2", 3, 1, kernel=2, padding=0),
    ]
    params, states = network.init(layers, rng, dtype=np.float64)
    x = rng.standard_normal((2, 5, 6, 2))
    out, _, _ = network.forward(layers, params, states, x)
    assert out.shape == (2, 8, 8, 1)
    np.testing.assert_array_equal(network.infer(layers, params, states, x), out)


def test_inference_uses_the_centred_weight():
    """eq: centralize-forward (18), standardize-forward"""
    rng = np.random.default_rng(10)
    x = rng.standard_normal((2, 6, 6, 2))
    for weights in WEIGHTS:
        layers = all_kinds(batch_norm, BN, weights)
        params, states = network.init(layers, np.random.default_rng(11), dtype=np.float64)
        shifted = [
            {**p, "w": p["w"] + 1.0} if isinstance(layer, network.Conv) else p
            for layer, p in zip(layers, params, strict=True)
        ]
        logits, moved = (network.infer(layers, p, states, x) for p in (params, shifted))
        assert np.allclose(logits, moved, rtol=1e-10, atol=1e-12) == bool(weights)


def test_the_gradient_of_the_images_is_not_computed(monkeypatch):
    seen = []
    original = conv2d.input_gradient
    monkeypatch.setattr(conv2d, "input_gradient", lambda d, cache: seen.append(cache.x_shape) or original(d, cache))
    layers = networks.small_network(batch_norm, BN, width=2)
    params, states = network.init(layers, np.random.default_rng(12))
    logits, caches, states = network.forward(layers, params, states, np.ones((2, 32, 32, 3), dtype=np.float32))
    network.backward(layers, np.ones_like(logits), caches, states)
    assert seen == [(2, 4, 4, 8), (2, 4, 4, 8), (2, 8, 8, 4), (2, 8, 8, 4), (2, 16, 16, 2), (2, 16, 16, 2)]


def test_first_non_finite_names_the_layer():
    rng = np.random.default_rng(13)
    layers = all_kinds(batch_norm, BN, {})
    params, states = network.init(layers, rng)
    x = rng.standard_normal((4, 6, 6, 2), dtype=np.float32)
    assert network.first_non_finite(layers, params, states, x) is None
    for i, name, value, expected in [
        (0, "w", np.nan, "conv1"),
        (3, "w", np.inf, "conv2"),
        (4, "gamma", np.nan, "norm2"),
        (6, "b", np.nan, "bias"),
        (8, "b", -np.inf, "linear"),
    ]:
        broken = [{k: p.copy() for k, p in layer.items()} for layer in params]
        broken[i][name].flat[-1] = value
        assert network.first_non_finite(layers, broken, states, x) == expected
    huge = [*params[:3], {"w": np.full_like(params[3]["w"], 3e38)}, *params[4:]]
    assert network.first_non_finite(layers, huge, states, x) == "conv2"
    large = [*params[:3], {"w": np.full_like(params[3]["w"], 1e30)}, *params[4:]]  # finite; its squares are not
    assert network.first_non_finite(layers, large, states, x) == "norm2"
    x[2, 0, 0, 0] = np.nan
    assert network.first_non_finite(layers, params, states, x) == "conv1"


@pytest.mark.parametrize(("module", "config"), ALL)
def test_runs_in_another_array_library(strict, to_numpy, module, config):
    rng = np.random.default_rng(14)
    layers = all_kinds(module, config, {"centralized": True})
    params, states = network.init(layers, rng, dtype=np.float64)
    x, dlogits = rng.standard_normal((4, 6, 6, 2)), rng.standard_normal((4, 3))

    def other(value):
        return strict(value) if isinstance(value, np.ndarray) else value

    other_params = [{name: strict(p) for name, p in layer.items()} for layer in params]
    other_states = [
        None if state is None else state._replace(**{k: other(v) for k, v in state._asdict().items()})
        for state in states
    ]
    for _ in range(2):
        logits, caches, states = network.forward(layers, params, states, x)
        grads, states = network.backward(layers, dlogits, caches, states)
        other_logits, other_caches, other_states = network.forward(layers, other_params, other_states, strict(x))
        other_grads, other_states = network.backward(layers, strict(dlogits), other_caches, other_states)
        np.testing.assert_allclose(to_numpy(other_logits), logits, rtol=1e-11, atol=1e-12)
        for grad, other_grad in zip(grads, other_grads, strict=True):
            for name in grad:
                np.testing.assert_allclose(to_numpy(other_grad[name]), grad[name], rtol=1e-10, atol=1e-11)
    inferred = network.infer(layers, other_params, other_states, strict(x))
    np.testing.assert_allclose(to_numpy(inferred), network.infer(layers, params, states, x), rtol=1e-11, atol=1e-12)


def test_init_fills_another_array_library(to_numpy):
    xp = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    layers = all_kinds(mabn, mabn.Config(window=4, norm_batch=2), {"centralized": True})
    params, _ = network.init(layers, np.random.default_rng(15), dtype=np.float32)
    other, states = network.init(layers, np.random.default_rng(15), dtype=xp.float32, xp=xp)
    assert all(np.array_equal(to_numpy(b[name]), a[name]) for a, b in zip(params, other, strict=True) for name in a)
    assert all(isinstance(p, xp.ones(1).__class__) for layer in other for p in layer.values())
    assert [state is None for state in states] == [not isinstance(layer, network.Norm) for layer in layers]


def test_small_network_is_the_one_of_the_experiments():
    layers = networks.small_network(batch_norm, BN, centralized=True)
    convolutions = [layer for layer in layers if isinstance(layer, network.Conv)]
    assert [(c.channels_in, c.channels_out, c.stride) for c in convolutions] == [
        (3, 32, 2),
        (32, 32, 1),
        (32, 64, 2),
        (64, 64, 1),
        (64, 128, 2),
        (128, 128, 1),
        (128, 128, 2),
    ]
    assert all(c.centralized and c.kernel == 3 and c.padding == 1 for c in convolutions)
    assert layers[-1] == network.Linear("linear", 128, 10)
    params, states = network.init(layers, np.random.default_rng(16))
    logits, caches, _ = network.forward(layers, params, states, np.zeros((2, 32, 32, 3), dtype=np.float32))
    assert logits.shape == (2, 10)
    shapes = [c.convolution.out_shape for c in caches if isinstance(c, network.ConvCache)]
    assert [s[1:3] for s in shapes] == [(16, 16), (16, 16), (8, 8), (8, 8), (4, 4), (4, 4), (2, 2)]


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        (["conv"], TypeError, r"layers\[0\] is 'conv', expected one of Conv, Norm"),
        (
            [network.ReLU("a"), network.ReLU("a")],
            ValueError,
            r"layers\[1\].name is 'a', expected a name that no other",
        ),
        ([network.Conv("a", 3, 0)], ValueError, "a: channels out is 0, expected an integer of at least 1"),
        ([network.Conv("a", 3, 4.0)], TypeError, "a: channels out is 4.0, expected an integer"),
        ([network.Conv("a", 3, 4, kernel=0)], ValueError, "a: kernel is 0, expected an integer of at least 1"),
        ([network.Norm("a", batch_norm, -1, BN)], ValueError, "a: channels in is -1"),
        (
            [network.Conv("a", 3, 4, centralized=True, standardized=True)],
            ValueError,
            "a is centralized and standardized, expected at most one of them",
        ),
        (
            [network.Conv("a", 3, 4), network.ReLU("r"), network.Norm("b", batch_norm, 5, BN)],
            ValueError,
            "b takes 5 channels, expected 4, those that a gives",
        ),
        (
            [network.Norm("b", batch_norm, 5, BN), network.Linear("c", 4, 2)],
            ValueError,
            "c takes 4 channels, expected 5, those that b gives",
        ),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers, error, message):
    with pytest.raises(error, match=message):
        network.init(layers, np.random.default_rng(17))


def test_lists_that_are_not_parallel_are_refused():
    layers = all_kinds(batch_norm, BN, {})
    params, states = network.init(layers, np.random.default_rng(18))
    x = np.ones((4, 6, 6, 2), dtype=np.float32)
    for run in (network.forward, network.infer, network.first_non_finite):
        with pytest.raises(ValueError, match="params has 8 members, expected 9, one per layer"):
            run(layers, params[:-1], states, x)
        with pytest.raises(ValueError, match="states has 10 members, expected 9, one per layer"):
            run(layers, params, [*states, None], x)
    logits, caches, states = network.forward(layers, params, states, x)
    with pytest.raises(ValueError, match="caches has 8 members, expected 9"):
        network.backward(layers, logits, caches[1:], states)


@pytest.mark.parametrize("options", [{"width": 0}, {"classes": -1}])
def test_bad_sizes_are_refused(options):
    with pytest.raises(ValueError, match=r"(width is 0|classes is -1), expected an integer of at least 1"):
        networks.small_network(batch_norm, BN, **options)


@pytest.mark.parametrize(("module", "config"), ALL)
def test_a_network_of_one_normaliser_is_that_normaliser(module, config):
    """States go through both passes: MABN's backward window too."""
    rng = np.random.default_rng(19)
    layers = [network.Norm("norm", module, 3, config)]
    params, states = network.init(layers, rng, dtype=np.float64)
    params = perturbed(params, rng)
    gamma, beta, state = params[0]["gamma"], params[0]["beta"], states[0]
    for _ in range(3):
        x, dz = rng.standard_normal((2, 4, 2, 2, 3))
        z, cache, state = module.forward(x, gamma, beta, state, config)
        _, dgamma, dbeta, state = module.backward(dz, cache, state)
        out, caches, states = network.forward(layers, params, states, x)
        grads, states = network.backward(layers, dz, caches, states)
        for ours, theirs in ((out, z), (grads[0]["gamma"], dgamma), (grads[0]["beta"], dbeta)):
            assert np.array_equal(ours, theirs)
        assert all(np.array_equal(ours, theirs) for ours, theirs in zip(states[0], state, strict=True))
