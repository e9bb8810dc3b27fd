"""Synchronised BN against BN over the union of the ranks' batches; ranks are threads here, real in `test_mpi.py`."""

from __future__ import annotations

import gc
import itertools
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabn_ref.gradcheck import check, exact, to_float
from mabn_ref.nn import network, optimiser, softmax_cross_entropy
from mabn_ref.norms import batch_norm, sync_batch_norm
from mabn_ref.norms.communicators import RankDied, run
from tests.strategies import parameters, sample, seeds

splits = st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(lambda sizes: sum(sizes) > 1)


def parts_of(x: Any, sizes: list[int]) -> list[Any]:
    """Consecutive samples: so many for each rank."""
    ends = list(itertools.accumulate(sizes))
    return [x[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def together(xs: list[Any], dzs: list[Any], sizes: list[int], gamma: Any, beta: Any, **options: Any) -> list[Any]:
    """A few steps on as many ranks as there are sizes: outputs of all ranks joined, shares of gradients added."""

    def work(ranks: Any) -> list[Any]:
        config = sync_batch_norm.Config(communicator=ranks, **options)
        state = sync_batch_norm.init(len(gamma), config, dtype=xs[0].dtype)
        if gamma.dtype == object:
            state = sync_batch_norm.State(*map(exact, state[:2]))
        found: list[Any] = []
        for x, dz in zip(xs, dzs, strict=True):
            x, dz = parts_of(x, sizes)[ranks.rank], parts_of(dz, sizes)[ranks.rank]
            z, cache, state = sync_batch_norm.forward(x, gamma, beta, state, config)
            graph = sync_batch_norm.backward_graph(dz, cache, state)[:3]
            dx, dgamma, dbeta, state = sync_batch_norm.backward(dz, cache, state)
            statistics = sync_batch_norm.statistics(x, config) + sync_batch_norm.gradient_statistics(dz, cache)
            found.append(((z, dx, graph[0]), (dgamma, dbeta, *graph[1:]), (*statistics, *state[:2])))
        return found

    found: list[Any] = []
    for step in zip(*run(len(sizes), work), strict=True):
        joined, added, same = (list(zip(*kind, strict=True)) for kind in zip(*step, strict=True))
        assert all(np.array_equal(value, values[0]) for values in same for value in values), "bit for bit"
        found += [np.concatenate(values) for values in joined] + [sum(values) for values in added]
        found += [values[0] for values in same]
    return found


def alone(xs: list[Any], dzs: list[Any], gamma: Any, beta: Any, **options: Any) -> list[Any]:
    """The same of BN over the union."""
    config = batch_norm.Config(**options)
    state = batch_norm.init(len(gamma), config, dtype=xs[0].dtype)
    found: list[Any] = []
    for x, dz in zip(xs, dzs, strict=True):
        z, cache, state = batch_norm.forward(x, gamma, beta, state, config)
        dx, dgamma, dbeta, state = batch_norm.backward(dz, cache, state)
        statistics = batch_norm.statistics(x, config) + batch_norm.gradient_statistics(dz, cache)
        found += [z, dx, dx, dgamma, dbeta, dgamma, dbeta, *statistics, *state[:2]]
    return found


def assert_equal(ours: list[Any], theirs: list[Any], dz: Any, gamma: Any, spread: Any) -> None:
    """1e-12 of the largest number of each channel, or of the terms that cancel in it."""
    names = ("z", "dx", "dx graph", "dgamma", "dbeta", "dgamma graph", "dbeta graph", "mu", "var", "g", "psi", "mean")
    names = (*names, "moving var")
    terms = np.abs(gamma) * np.abs(dz).max()
    for name, a, b in zip(2 * names, ours, theirs, strict=True):
        size = np.max(np.abs(b), axis=tuple(range(b.ndim - 1)))
        size = size + {"dx": terms / spread, "dx graph": terms / spread, "g": terms, "psi": terms}.get(name, 0)
        size = size + (dz.size * np.abs(dz).max() * 3 if name.startswith(("dgamma", "dbeta")) else 0)
        assert np.all(np.abs(a - b) <= 1e-12 * size), name


@given(
    sizes=splits,
    space=st.lists(st.integers(1, 3), max_size=2),
    seed=seeds,
    eps=st.sampled_from([1e-5, 0.1]),
    decay=st.sampled_from([0.0, 0.9]),
)
def test_any_split_is_the_union(sizes: list[int], space: list[int], seed: int, eps: float, decay: float) -> None:
    """Uneven splits, one rank, a rank with one value per channel, or with none.

    eq: sync-mean, sync-variance, sync-gradient-statistics, sync-graph, bn-normalise, bn-backward, ema-forward
    """
    rng = np.random.default_rng(seed)
    shape = (sum(sizes), *space, 3)
    xs, dzs = [sample(rng, shape) for _ in range(2)], [rng.standard_normal(shape) for _ in range(2)]
    gamma, beta = parameters(rng, 3)
    ours = together(xs, dzs, sizes, gamma, beta, eps=eps, decay=decay)
    theirs = alone(xs, dzs, gamma, beta, eps=eps, decay=decay)
    spread = np.sqrt(np.min([x.var(axis=tuple(range(x.ndim - 1))) for x in xs], axis=0) + eps)
    assert_equal(ours, theirs, np.array(dzs), gamma, spread)


def test_one_rank_is_batch_norm_bit_for_bit() -> None:
    """eq: sync-mean, sync-variance, sync-gradient-statistics"""
    rng = np.random.default_rng(0)
    x, dz, (gamma, beta) = sample(rng, (6, 4, 3)), rng.standard_normal((6, 4, 3)), parameters(rng, 3)
    results = []
    for module in (sync_batch_norm, batch_norm):
        config = module.Config(norm_batch=2)
        z, cache, state = module.forward(x, gamma, beta, module.init(3, config, dtype=float), config)
        out = module.infer(x, gamma, beta, state, config)
        results.append(
            [z, *module.backward(dz, cache, state)[:3], *state, out, *module.affine(gamma, beta, state, config)]
        )
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


def test_groups_are_joined_group_by_group() -> None:
    """Two ranks with two groups of two samples: BN on the four first, then on the four others."""
    rng = np.random.default_rng(1)
    x, gamma, beta = rng.standard_normal((8, 2, 3)), *parameters(rng, 3)
    # rank 0 has samples 0 1 | 4 5, rank 1 has 2 3 | 6 7
    mine = [x[[0, 1, 4, 5]], x[[2, 3, 6, 7]]]

    def work(ranks: Any) -> Any:
        config = sync_batch_norm.Config(norm_batch=2, communicator=ranks)
        state = sync_batch_norm.init(3, config, dtype=float)
        return sync_batch_norm.forward(mine[ranks.rank], gamma, beta, state, config)[0]

    config = batch_norm.Config(norm_batch=4)
    z = batch_norm.forward(x, gamma, beta, batch_norm.init(3, config, dtype=float), config)[0]
    one, two = run(2, work)
    np.testing.assert_allclose(np.concatenate([one[:2], two[:2], one[2:], two[2:]]), z, rtol=1e-12, atol=1e-13)


def test_a_rank_without_samples_has_as_many_groups_as_the_others() -> None:
    """The first of three ranks is empty, and so is what it returns; its state is the others'.

    eq: sync-mean, sync-variance, sync-gradient-statistics
    """
    rng = np.random.default_rng(9)
    x, dz, (gamma, beta) = 1e8 + rng.standard_normal((4, 5, 3)), rng.standard_normal((4, 5, 3)), parameters(rng, 3)
    parts = [slice(0, 0), slice(0, 4), slice(4, 4)]

    def work(ranks: Any) -> Any:
        config = sync_batch_norm.Config(norm_batch=2, communicator=ranks)
        state = sync_batch_norm.init(3, config, dtype=float)
        z, cache, state = sync_batch_norm.forward(x[parts[ranks.rank]], gamma, beta, state, config)
        return z, *sync_batch_norm.backward(dz[parts[ranks.rank]], cache, state)

    config = batch_norm.Config(norm_batch=2)
    z, cache, state = batch_norm.forward(x, gamma, beta, batch_norm.init(3, config, dtype=float), config)
    expected = z, *batch_norm.backward(dz, cache, state)
    for rank, found in enumerate(run(3, work)):
        assert found[-1].iteration == 2
        for a, b in zip((*found[:-1], *found[-1][:2]), (*expected[:-1], *state[:2]), strict=True):
            if b.shape == x.shape:
                b = b[parts[rank]]
            elif b is expected[2] or b is expected[3]:  # a share of nothing
                b = b if rank == 1 else 0 * b
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_no_rank_has_samples() -> None:
    def work(ranks: Any) -> Any:
        config, one = sync_batch_norm.Config(communicator=ranks), np.ones(3)
        x = np.zeros((0, 4, 3))
        with pytest.raises(
            ValueError, match=r"x has shape \(0, 4, 3\), and no other rank has samples, expected some"
        ):
            sync_batch_norm.forward(x, one, one, sync_batch_norm.init(3, config, dtype=float), config)
        with pytest.raises(ValueError, match="no other rank has samples"):
            sync_batch_norm.statistics(x, config)

    run(2, work)


def test_squares_that_overflow_elsewhere_are_an_error_on_a_rank_without_samples() -> None:
    def work(ranks: Any) -> Any:
        x = np.full((2, 1), [[1e200], [-1e200]])[: 2 * ranks.rank]
        message = r"x reaches 1e\+200 in channel 0" if ranks.rank else "squares of x overflow on another rank"
        with np.errstate(over="ignore"), pytest.raises(OverflowError, match=message):
            sync_batch_norm.statistics(x, sync_batch_norm.Config(communicator=ranks))

    run(2, work)


@pytest.mark.parametrize("other", [-3e38, np.nan, np.inf])
def test_distances_between_ranks_that_overflow_are_an_error_unless_a_value_is_not_finite(other: float) -> None:
    def work(ranks: Any) -> Any:
        x = np.full((2, 1), other if ranks.rank else 3e38, dtype=np.float32)
        config = sync_batch_norm.Config(communicator=ranks)
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(other):
                with pytest.raises(OverflowError, match=r"x reaches 3e\+38 in channel 0"):
                    sync_batch_norm.statistics(x, config)
            else:
                assert np.isnan(sync_batch_norm.statistics(x, config)[1]).all()

    run(2, work)


def test_ranks_may_have_images_of_different_sizes() -> None:
    """eq: sync-mean, sync-variance"""
    rng = np.random.default_rng(2)
    xs = [rng.standard_normal((2, 3, 3, 2)), rng.standard_normal((1, 5, 4, 2))]

    def work(ranks: Any) -> Any:
        return sync_batch_norm.statistics(xs[ranks.rank], sync_batch_norm.Config(communicator=ranks))

    values = np.concatenate([x.reshape(-1, 2) for x in xs])
    for mu, var in run(2, work):
        np.testing.assert_allclose(mu[0], values.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(var[0], values.var(axis=0), rtol=1e-12)


@pytest.mark.parametrize("numbers", ["float", "exact"])
def test_gradient_through_all_ranks(numbers: str) -> None:
    """Differences, complex step and 50 digits of all ranks' z with respect to all ranks' x: no rank's own derivative.

    eq: sync-gradient-statistics, sync-graph, bn-backward
    """
    rng, sizes = np.random.default_rng(3), [1, 3, 2]
    arrays = rng.standard_normal((6, 2)) + 3, *parameters(rng, 2)
    if numbers == "exact":
        arrays = tuple(map(exact, arrays))
    state = sync_batch_norm.init(2, sync_batch_norm.Config(), dtype=float)

    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        def work(ranks: Any) -> Any:
            config = sync_batch_norm.Config(eps=0.1, communicator=ranks)
            return sync_batch_norm.forward(parts_of(x, sizes)[ranks.rank], gamma, beta, state, config)[:2]

        results = run(3, work)
        return np.concatenate([z for z, _ in results]), tuple(cache for _, cache in results)

    for backward in (sync_batch_norm.backward, sync_batch_norm.backward_graph):

        def back(dz: Any, caches: Any, backward: Any = backward) -> Any:
            def work(ranks: Any) -> Any:
                config = sync_batch_norm.Config(eps=0.1, communicator=ranks)
                cache = caches[ranks.rank]._replace(config=config)
                return backward(parts_of(dz, sizes)[ranks.rank], cache, state._replace(iteration=1))[:3]

            dx, dgamma, dbeta = zip(*run(3, work), strict=True)
            return np.concatenate(dx), sum(dgamma), sum(dbeta)

        result = check(forward, back, arrays)
        result.raise_for_error()
        assert numbers == "float" or all(found.error <= 1e-25 for found in result.inputs)


def test_float32_stays_and_nan_reaches_every_rank() -> None:
    rng = np.random.default_rng(4)
    x, one = rng.standard_normal((4, 3)).astype(np.float32), np.ones(3, dtype=np.float32)
    x[3, 1] = np.nan

    def work(ranks: Any) -> Any:
        config = sync_batch_norm.Config(communicator=ranks, eps=np.float64(1e-5))
        state = sync_batch_norm.init(3, config, dtype=np.float32)
        z, cache, state = sync_batch_norm.forward(parts_of(x, [2, 2])[ranks.rank], one, one, state, config)
        return [z, *sync_batch_norm.backward(z, cache, state)[:3], *state[:2]]

    for arrays in run(2, work):
        assert all(array.dtype == np.float32 for array in arrays)
        for array in (arrays[0], arrays[1], *arrays[4:]):
            assert np.all(np.isnan(array[..., 1]))
            assert not np.any(np.isnan(array[..., [0, 2]]))


@pytest.mark.parametrize("device", ["CPU_DEVICE", "device1"])
def test_two_ranks_in_another_array_library(device: str) -> None:
    xp = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    place, (x, dz) = xp.Device(device), np.random.default_rng(5).standard_normal((2, 5, 3, 2))
    strict = [xp.asarray(a, device=place) for a in (x, dz)]

    def work(ranks: Any) -> Any:
        config = sync_batch_norm.Config(communicator=ranks)
        results = []
        for a, d in ((x, dz), strict):
            part = slice(0, 2) if ranks.rank == 0 else slice(2, 5)
            ones = 0 * a[0, 0, :] + 1
            state = sync_batch_norm.State(0 * ones, ones)
            z, cache, state = sync_batch_norm.forward(a[part, ...], ones, ones, state, config)
            results.append([z, *sync_batch_norm.backward(d[part, ...], cache, state)[:3], *state[:2]])
        return results

    for plain, other in run(2, work):
        for a, b in zip(plain, other, strict=True):
            assert b.device == place
            b = np.asarray(xp.asarray(b, device=xp.Device("CPU_DEVICE")))
            np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("shapes", "dtypes", "message"),
    [
        (
            [(4, 3), (4, 2)],
            [float, float],
            r"ranks differ in channels: this one has [23], the mean over 2 ranks is 2.5",
        ),
        (
            [(4, 3), (2, 3)],
            [float, float],
            r"ranks differ in normalisation batches in x: this one has [12], the mean",
        ),
        ([(2, 3), (2, 3)], [float, np.float32], "the sum over all ranks has dtype float64, expected float32"),
        ([(2, 3), (2, 3)], [float, int], "rank 1 of 2 died: TypeError: x has dtype int64"),
    ],
)
def test_ranks_that_do_not_fit_say_so(shapes: Any, dtypes: Any, message: str) -> None:
    def work(ranks: Any) -> Any:
        x = np.arange(float(np.prod(shapes[ranks.rank]))).reshape(shapes[ranks.rank]).astype(dtypes[ranks.rank])
        config = sync_batch_norm.Config(norm_batch=2, communicator=ranks)
        dtype = np.float32 if dtypes[ranks.rank] is np.float32 else float
        one = np.ones(x.shape[1], dtype=dtype)
        return sync_batch_norm.forward(x, one, one, sync_batch_norm.init(x.shape[1], config, dtype=dtype), config)

    with pytest.raises(RankDied, match=message):
        run(2, work)


def test_one_value_a_channel_over_all_ranks_is_refused_and_two_are_not() -> None:
    one, config = np.ones(3), sync_batch_norm.Config()
    state = sync_batch_norm.init(3, config, dtype=float)
    with pytest.raises(ValueError, match="one value per channel over all ranks"):
        sync_batch_norm.forward(np.ones((1, 3)), one, one, state, config)


@pytest.mark.parametrize("communicator", [None, 3, object(), type("Broken", (), {"allreduce": 5})()])
def test_a_communicator_without_allreduce(communicator: Any) -> None:
    with pytest.raises(
        TypeError, match=r"communicator is .*, which has no allreduce; expected an object whose allred"
    ):
        sync_batch_norm.Config(communicator=communicator)


def test_a_communicator_needs_no_hash_and_is_not_kept() -> None:
    """One of mpi4py has none; one of threads holds the arrays of the last sum."""

    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def allreduce(self, value: Any) -> Any:
            return value

    communicator, x, one = Unhashable(), np.random.default_rng(0).standard_normal((4, 3)), np.ones(3)
    config = sync_batch_norm.Config(communicator=communicator)
    z, cache, state = sync_batch_norm.forward(x, one, one, sync_batch_norm.init(3, config, dtype=float), config)
    sync_batch_norm.backward(z, cache, state)
    sync_batch_norm.infer(x, one, one, state, config)
    held = weakref.ref(communicator)
    del communicator, config, cache
    gc.collect()
    assert held() is None


def test_fifty_steps_on_four_ranks_follow_the_run_of_one_process() -> None:
    """The same gradient batch, spread unevenly: weights, moving statistics and loss, to rounding.

    eq: sync-mean, sync-variance, sync-gradient-statistics
    """
    rng, sizes, steps = np.random.default_rng(6), [3, 1, 2, 2], 50
    images, labels = rng.standard_normal((steps, 8, 6, 6, 3)), rng.integers(0, 4, (steps, 8))

    def layers(module: Any, config: Any) -> list[Any]:
        return [
            network.Conv("conv1", 3, 4),
            network.Norm("norm1", module, 4, config),
            network.ReLU("relu1"),
            network.Conv("conv2", 4, 5, stride=2),
            network.Norm("norm2", module, 5, config),
            network.ReLU("relu2"),
            network.GlobalAveragePool("pool"),
            network.Linear("linear", 5, 4),
        ]

    def train(net: list[Any], ranks: Any, sizes: list[int]) -> Any:
        params, states = network.init(net, np.random.default_rng(7), dtype=np.float64)
        velocity, losses = optimiser.init(params), []
        for x, y in zip(images, labels, strict=True):
            x, y = parts_of(x, sizes)[ranks.rank], parts_of(y, sizes)[ranks.rank]
            logits, caches, states = network.forward(net, params, states, x)
            loss, cache = softmax_cross_entropy.forward(logits, y)
            share = len(y) / sum(sizes)
            losses.append(float(ranks.allreduce(share * loss)))
            grads, states = network.backward(net, softmax_cross_entropy.backward(share, cache), caches, states)
            grads = [{name: ranks.allreduce(g) for name, g in layer.items()} for layer in grads]
            params, velocity = optimiser.step(params, grads, velocity, lr=0.05, momentum=0.9, weight_decay=5e-4)
        return losses, [p for layer in params for p in layer.values()], [a for s in states if s for a in s]

    four = run(
        4, lambda ranks: train(layers(sync_batch_norm, sync_batch_norm.Config(communicator=ranks)), ranks, sizes)
    )
    (one,) = run(1, lambda ranks: train(layers(batch_norm, batch_norm.Config()), ranks, [8]))
    for losses, params, states in four:
        np.testing.assert_allclose(losses, one[0], rtol=1e-12)
        for a, b in zip(params + states, one[1] + one[2], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_exact_numbers_over_ranks() -> None:
    rng = np.random.default_rng(8)
    x, dz, (gamma, beta) = rng.standard_normal((3, 2)), rng.standard_normal((3, 2)), parameters(rng, 2)
    plain = together([x], [dz], [1, 2], gamma, beta)
    truth = together([exact(x)], [exact(dz)], [1, 2], exact(gamma), exact(beta))
    for a, b in zip(plain, truth, strict=True):
        np.testing.assert_allclose(a, to_float(b), rtol=1e-11, atol=1e-12)
