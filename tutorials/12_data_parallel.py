r"""
12 Data-parallel training
=========================

A batch of 32 images is spread over four workers, eight for each. What do the workers have to send each other so that
all of it counts as one batch, and what does MABN save? This is where small normalisation batches come from in
practice: a worker with large images has room for few of them.

Run this as one process, ``python tutorials/12_data_parallel.py``, and the workers are four threads; or as four, with
``mpirun -n 4 python tutorials/12_data_parallel.py``, which needs ``pip install -e ".[run,mpi]"`` and an MPI such as
Debian's ``openmpi-bin``. The numbers are the same.
"""

# %%
# A communicator that counts
# --------------------------
#
# The workers, called *ranks*, need only one call: ``allreduce(value)`` returns, on every rank, the sum of what all
# ranks passed to it. The communicator below passes the call on and counts the bytes that its rank sends.

import numpy as np
from _plots import BLUE, GREY, RED, draw

from mabn_ref.data import channel_statistics, embedded, to_float
from mabn_ref.nn import network, networks, optimiser, softmax_cross_entropy
from mabn_ref.norms import batch_norm, communicators, mabn, sync_batch_norm
from mabn_ref.norms.devices import on_devices
from mabn_ref.train.mpi import started_by_mpi, world


class Counting:
    def __init__(self, ranks):
        self.ranks, self.sent = ranks, 0

    def allreduce(self, value):
        self.sent += np.asarray(value).nbytes
        return self.ranks.allreduce(value)


# %%
# One training run
# ----------------
#
# Every rank starts from the same weights and takes its own eight images of each batch. Its loss is its share of the
# mean over all 32, so that gradients only have to be added. The ranks send these gradients, for every normaliser. If
# the normaliser is synchronised, they send its statistics too: :eq:`sync-mean` and :eq:`sync-variance` in forward,
# and :eq:`sync-gradient-statistics` in backward.

STEPS, BATCH, LR = 20, 32, 0.05
pictures, _ = embedded.generate(STEPS * BATCH, 1, seed=0)
images, labels = to_float(pictures.images, *channel_statistics(pictures.images)), pictures.labels


def train(ranks, name):
    statistics, gradients = Counting(ranks), Counting(ranks)
    module, config = {
        "SyncBN": (sync_batch_norm, sync_batch_norm.Config(communicator=statistics)),
        "BN": (batch_norm, batch_norm.Config()),
        "MABN": (mabn, mabn.Config(norm_batch=2)),
    }[name]
    layers = networks.small_network(module, config, centralized=name == "MABN", width=4)
    params, states = network.init(layers, np.random.default_rng(0), dtype=np.float64)
    velocity, losses, share = optimiser.init(params), [], 1 / ranks.size
    for step in range(STEPS):
        mine = slice(step * BATCH + ranks.rank, (step + 1) * BATCH, ranks.size)
        logits, caches, states = network.forward(layers, params, states, images[mine].astype(float))
        loss, cache = softmax_cross_entropy.forward(logits, labels[mine])
        dlogits = softmax_cross_entropy.backward(share, cache)
        grads, states = network.backward(layers, dlogits, caches, states)
        grads = [{key: gradients.allreduce(grad) for key, grad in layer.items()} for layer in grads]
        params, velocity = optimiser.step(params, grads, velocity, lr=LR, momentum=0.9, weight_decay=5e-4)
        losses.append(float(ranks.allreduce(share * loss)))
    return losses, gradients.sent // STEPS, statistics.sent // STEPS


# %%
# Bytes per step
# --------------
#
# ``communicators.run`` gives four threads; ``world`` gives the ranks that ``mpirun`` started, and ends the whole job
# if one of them fails.
#
# .. admonition:: Predict before you run
#    :class: predict
#
#    Which is more: the bytes of the gradients, or those of SyncBN's statistics? And how many bytes of statistics does
#    MABN send?


def all_runs(ranks):
    return ranks.rank, {name: train(ranks, name) for name in ("SyncBN", "BN", "MABN")}


if started_by_mpi():
    with world() as ranks:
        rank, results = all_runs(ranks)
else:
    rank, results = communicators.run(4, all_runs)[0]

if rank == 0:  # one rank speaks for all
    print("sent by a rank in a step   gradients   statistics   last loss")
    for name, (losses, gradients, statistics) in results.items():
        print(f"{name:<20}{gradients:12,} B{statistics:11,} B{losses[-1]:12.4f}")

# %%
# Statistics are few bytes compared with gradients, and the share would be smaller still in a wider network. What they
# cost is waiting: six sums per layer, each of which every rank must reach before any can continue, while the
# gradients can be sent together and during the computation.
#
# BN without statistics from the other ranks is a different network, that of a batch of eight. MABN uses statistics of
# two images and sends none: its averages over the last :math:`m` batches need no other rank.
#
# A trap
# ------
#
# So each rank of MABN has moving averages and a window of its own. PyTorch's ``DistributedDataParallel`` undoes that:
# it copies the buffers of rank 0 to all ranks before every forward pass, and averages and windows are buffers. Two
# devices in one process (`mabn_ref.norms.devices`) show what happens. To train MABN or Batch Renormalization, pass
# ``broadcast_buffers=False``, as MABN's authors do. Batch norm does not read its averages in training.


def psi_windows(broadcast):
    norm, config, rng = on_devices(mabn, 2), mabn.Config(norm_batch=2, window=3), np.random.default_rng(0)
    state = norm.init(1, config, dtype=np.float64)
    for _ in range(3):
        if broadcast:
            state = state._replace(each=(state.each[0], state.each[0]))
        _, cache, state = norm.forward(rng.standard_normal((4, 9, 1)), np.ones(1), np.zeros(1), state, config)
        *_, state = norm.backward(rng.standard_normal((4, 9, 1)), cache, state)
    return [np.round(of_one.psi_window[:, 0], 2) for of_one in state.each]


if rank == 0:
    for broadcast in (False, True):
        first, second = psi_windows(broadcast)
        print(f"broadcast {broadcast!s:<5}   Psi window of device 0 {first}   of device 1 {second}")

# %%
# With the broadcast, device 1 has device 0's window except for the last entry: what it found before is lost.
#
# Four ranks as one
# -----------------
#
# The last check: one rank with all 32 images and ordinary batch normalisation. Four synchronised ranks must agree
# with it up to rounding.

whole = train(communicators.Alone(), "BN")
if rank == 0:
    difference = max(abs(a - b) for a, b in zip(results["SyncBN"][0], whole[0], strict=True))
    print(f"SyncBN on all ranks and BN on one: the losses of {STEPS} steps differ by at most {difference:.0e}")

    step = np.arange(STEPS)
    draw(
        "The loss of a batch of 32 on four ranks",
        "time (steps)",
        "loss (nats)",
        (step, whole[0], GREY, "-", "BN, one rank with all images"),
        (step, results["SyncBN"][0], BLUE, ".-", "SyncBN, four ranks"),
        (step, results["BN"][0], RED, "s--", "BN, four ranks"),
        (step, results["MABN"][0], BLUE, "^:", "MABN, four ranks"),
    )

# %%
# Questions
# ---------
#
# 1. Which of the two columns of bytes grows with the number of channels, which with its square, and which with the
#    size of the images?
# 2. Each rank of MABN has its own moving averages, and they differ. Which of them should be used at inference?
# 3. What would have to change here if the ranks had different numbers of images? And what in ``sync_batch_norm``?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. The statistics take four numbers per channel in forward, two in backward, and seven per layer. The gradients
#       are mostly those of kernels, which have nine numbers for each pair of channels. Neither grows with the images.
#    2. Any will do, since all estimate the same quantity; their mean is a better estimate. It can be taken once, at
#       the end.
#    3. ``share`` must be this rank's part of all images, because the loss is a mean over all of them. In
#       ``sync_batch_norm`` nothing: it adds up sums and numbers of values, not means.
