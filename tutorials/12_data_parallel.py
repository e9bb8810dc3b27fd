r"""
12 Data-parallel training
=========================

A batch of 32 images is spread over four workers, eight for each. What has to be sent so that all of it is one batch,
and what does MABN save?

Run it as one process, ``python tutorials/12_data_parallel.py``, and the workers are four threads; or as four, with
``mpirun -n 4 python tutorials/12_data_parallel.py``, which needs ``pip install -e ".[run,mpi]"`` and an MPI such as
Debian's ``openmpi-bin``. The numbers are the same.
"""

# %%
# A communicator that counts
# --------------------------
#
# All that the workers, the *ranks*, need is one call: ``allreduce(value)`` returns the sum of what all ranks passed,
# on each of them. This one hands the call on and counts the bytes that its rank sends, under the name of what they
# are for.

import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.data import channel_statistics, embedded, to_float
from mabn_ref.nn import network, networks, optimiser, softmax_cross_entropy
from mabn_ref.norms import batch_norm, communicators, mabn, sync_batch_norm
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
# mean over all 32, so that gradients only have to be added: that is the first thing sent, for every normaliser. The
# second are the statistics, if the normaliser is synchronised: :eq:`sync-mean` and :eq:`sync-variance` in forward,
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
# Statistics are few bytes beside gradients, and would be fewer still beside those of a wider network. What they cost
# is waiting: six sums a layer, each of which every rank must reach before any goes on, while the gradients can
# travel together and behind the computation.
#
# BN without statistics from the others is another network, that of a batch of eight. MABN has statistics of two
# images and sends none: its averages over the last :math:`m` batches need no other rank.
#
# Four ranks as one
# -----------------
#
# The last check: one rank with all 32 images and batch normalisation as it is. Four synchronised ranks must follow
# it to rounding.

whole = train(communicators.Alone(), "BN")
if rank == 0:
    difference = max(abs(a - b) for a, b in zip(results["SyncBN"][0], whole[0], strict=True))
    print(f"SyncBN on all ranks and BN on one: the losses of {STEPS} steps differ by at most {difference:.0e}")

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    axes.plot(whole[0], linewidth=4, color="0.8", label="BN, one rank with all images")
    for name, style in (("SyncBN", "-"), ("BN", "--"), ("MABN", ":")):
        axes.plot(results[name][0], style, color="black", label=f"{name}, four ranks")
    axes.set_title("The loss of a batch of 32 on four ranks")
    axes.set_xlabel("time (steps)")
    axes.set_ylabel("loss (nats)")
    axes.legend()
    plt.show()

# %%
# Questions
# ---------
#
# 1. Which of the two columns of bytes grows with the number of channels, which with its square, which with the size
#    of the images?
# 2. Each rank of MABN has moving averages of its own, and they differ. Which of them should be used at inference?
# 3. What would have to change here if the ranks had different numbers of images? And what in ``sync_batch_norm``?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. The statistics are two numbers a channel in each direction. The gradients are mostly those of kernels, which
#       have as many numbers as there are pairs of channels, times nine. Neither grows with the images.
#    2. Any will do, since all estimate the same; their mean is the better estimate. It can be taken once, at the end.
#    3. ``share`` must be this rank's part of all images, for the loss is a mean over all of them. In
#       ``sync_batch_norm`` nothing: it adds up sums and numbers of values, not means.
