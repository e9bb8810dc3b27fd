"""What every rank does under `mpirun -n K python mpi_ranks.py TASK`, which `test_mpi.py` starts."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import numpy as np

from mabn_ref.norms import batch_norm, sync_batch_norm
from mabn_ref.train.mpi import world


def equality(ranks: Any) -> None:
    """The largest relative difference to BN over the union, over splits, shapes and steps."""
    worst = 0.0
    for draw in range(20):
        rng = np.random.default_rng(draw)  # the same on every rank
        sizes = rng.integers(1, 5, ranks.size) if draw else np.full(ranks.size, 2)
        space, channels = ((), (3,), (2, 3))[draw % 3], int(rng.integers(1, 5))
        if space:
            sizes[draw % (ranks.size + 1) :][:1] = 0  # a rank without samples, or none
        ends = np.cumsum(sizes)
        mine = slice(int(ends[ranks.rank] - sizes[ranks.rank]), int(ends[ranks.rank]))
        gamma, beta = rng.uniform(0.5, 2, channels), rng.standard_normal(channels)
        config = sync_batch_norm.Config(communicator=ranks, eps=0.1)
        plain = batch_norm.Config(eps=0.1)
        state = sync_batch_norm.init(channels, config, dtype=float)
        whole = batch_norm.init(channels, plain, dtype=float)
        for _ in range(3):
            scale = 10 ** rng.uniform(-2, 2, channels)
            x = scale * (rng.standard_normal((int(ends[-1]), *space, channels)) + rng.uniform(-5, 5, channels))
            dz = rng.standard_normal(x.shape)
            z, cache, state = sync_batch_norm.forward(x[mine], gamma, beta, state, config)
            graph = sync_batch_norm.backward_graph(dz[mine], cache, state)
            dx, dgamma, dbeta, state = sync_batch_norm.backward(dz[mine], cache, state)
            z_, cache_, whole = batch_norm.forward(x, gamma, beta, whole, plain)
            dx_, dgamma_, dbeta_, whole = batch_norm.backward(dz, cache_, whole)
            terms = np.abs(gamma) * np.abs(dz).max() / cache_.sigma[0]
            summed = np.abs(dz).sum()
            for ours, theirs, size in (
                (z, z_[mine], np.abs(z_).max()),
                (dx, dx_[mine], terms),
                (graph[0], dx_[mine], terms),
                (ranks.allreduce(dgamma), dgamma_, summed),
                (ranks.allreduce(dbeta), dbeta_, summed),
                (state.mean, whole.mean, np.abs(whole.mean) + np.sqrt(whole.var)),
                (state.var, whole.var, whole.var),
            ):
                worst = max(worst, float(np.max(np.abs(ours - theirs) / size, initial=0.0)))
    worst = max(ranks.allgather(worst))
    if ranks.rank == 0:
        print(f"ranks {ranks.size} worst {worst:.3e}")


def one_dies(ranks: Any) -> None:
    """The last rank fails between two sums, for which the others wait."""
    ranks.allreduce(1.0)
    if ranks.rank == ranks.size - 1:
        raise ZeroDivisionError("no more")
    ranks.allreduce(1.0)


def one_is_killed(ranks: Any) -> None:
    """The last rank is gone without a word."""
    ranks.allreduce(1.0)
    if ranks.rank == ranks.size - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    ranks.allreduce(1.0)


def channels_differ(ranks: Any) -> None:
    channels = 3 if ranks.rank == 0 else 2
    config, one = sync_batch_norm.Config(communicator=ranks), np.ones(channels)
    state = sync_batch_norm.init(channels, config, dtype=float)
    sync_batch_norm.forward(np.ones((4, channels)), one, one, state, config)


if __name__ == "__main__":
    tasks = {"equality": equality, "dies": one_dies, "killed": one_is_killed, "channels": channels_differ}
    with world() as all_ranks:
        tasks[sys.argv[1]](all_ranks)
