r"""
08 Training, with the controls
==============================

Moving averages cost a little time and a little memory. Are they worth it? We train one small network with batch
normalisation and with MABN, at two images per normalisation batch. And what has to be compared with what, so that the
answer is about MABN? A table that compares the wrong rows can be right in every number and still mislead.
"""

# %%
# Images
# ------
#
# The package generates a data set shaped like CIFAR-10 from a seed: ten classes of textures. To finish in half a
# minute we train on random crops of 16 by 16 pixels.

# sphinx_gallery_thumbnail_number = 2
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from _plots import BLUE, GREY, RED, draw

import mabn_ref
from mabn_ref.data import channel_statistics, embedded, to_float
from mabn_ref.nn import network, optimiser, softmax_cross_entropy
from mabn_ref.norms import batch_norm, mabn
from mabn_ref.train import comparison, results
from mabn_ref.train.config import RunConfig
from mabn_ref.train.table_layout import mean_interval, paired_difference

STEPS, EPOCH, GRADIENT_BATCH, SEEDS = 300, 75, 32, range(4)
SGD = {"momentum": 0.9, "weight_decay": 5e-4}

train, test = embedded.generate(train_size=2400, test_size=1000, seed=0)
scale = channel_statistics(train.images)
images = to_float(train.images, *scale)
test_images = to_float(test.images, *scale)[:, 8:24, 8:24]
print(images.shape, images.dtype, "classes:", len(set(train.labels.tolist())))

figure, axes = plt.subplots(2, 5, figsize=(7.2, 3.2), layout="constrained")
for label, ax in enumerate(axes.ravel()):
    ax.imshow(train.images[np.argmax(train.labels == label)])
    ax.set_title(embedded.CLASS_NAMES[label], fontsize="small")
    ax.set_axis_off()
figure.suptitle("One image of each class")
plt.show()

# %%
# The network
# -----------
#
# A network is a list of layers: here four convolutions, each followed by the normaliser and a ReLU, then an average
# over the positions and a linear layer. The maps are 8, 8, 4 and 2 pixels wide, so at :math:`|B| = 2` the last
# normaliser has :math:`2 \cdot 2 \cdot 2` values per channel.


def layers_of(norm, config, centralized):
    """The network with one of the normalisers, its convolutions' weights centred or not."""
    layers, channels = [], [3, 8, 16, 32, 32]
    for i, stride in enumerate([2, 1, 2, 2]):
        sizes = channels[i : i + 2]
        layers += [
            network.Conv(f"conv{i}", *sizes, stride=stride, centralized=centralized),
            network.Norm(f"norm{i}", norm, sizes[1], config),
            network.ReLU(f"relu{i}"),
        ]
    return [*layers, network.GlobalAveragePool("pool"), network.Linear("linear", 32, 10)]


# %%
# Training is a loop over gradient batches of 32 images: draw, forward, loss, backward, step. ``norm_batch`` alone
# says how many of the 32 share statistics, so that nothing else changes with :math:`|B|`. The seed determines the
# initial weights, the order of the images and the crops. It is the same for all methods, so their runs can be paired.


def run(norm, config, centralized, seed):
    """Train one network; return the loss of every step, and the last test error in %."""
    layers, rng = layers_of(norm, config, centralized), np.random.default_rng(seed)
    params, states = network.init(layers, rng)
    velocity, losses = optimiser.init(params), []
    for step in range(STEPS):
        if step % EPOCH == 0:
            order = rng.permutation(len(images))
        chosen = order[step % EPOCH * GRADIENT_BATCH :][:GRADIENT_BATCH]
        top, left = rng.integers(0, 17, 2)
        x = np.ascontiguousarray(images[chosen, top : top + 16, left : left + 16])
        logits, caches, states = network.forward(layers, params, states, x)
        loss, cache = softmax_cross_entropy.forward(logits, train.labels[chosen])
        dlogits = softmax_cross_entropy.backward(1.0, cache)
        grads, states = network.backward(layers, dlogits, caches, states)
        lr = optimiser.cosine_rate(step, steps=STEPS, lr=0.1, warmup=30)
        params, velocity = optimiser.step(params, grads, velocity, lr=lr, **SGD)
        losses.append(float(loss))
    answers = np.argmax(network.infer(layers, params, states, test_images), axis=1)
    return losses, 100 * float(np.mean(answers != test.labels))


# %%
# What to compare
# ---------------
#
# The paper compares MABN 2 with BN 2 and with BN 32: MABN and batch normalisation at that :math:`|B|`. But it gives
# MABN an additional feature: its convolutions centre their weights, :eq:`centralize-forward` (18), and those of BN do
# not. If MABN does better, the reason may be the averages, :eq:`mabn-forward` (19) and :eq:`mabn-backward` (20), or
# the centring. So we need two *controls*: BN with centred weights (+ WC), at 32 and at 2. Between rows that treat the
# weights alike, only the normaliser differs.
#
# .. admonition:: Predict before you run
#    :class: predict
#
#    Which of the five rows will have the lowest test error, and which the highest? Do centred weights help BN 2, hurt
#    it, or neither?

bn_32, bn_2 = (batch_norm.Config(norm_batch=size, decay=0.98) for size in (32, 2))
mabn_2 = mabn.Config(norm_batch=2, window=16, decay=0.98, renorm_from=16 * 100 + 1)  # r = 1 for 100 steps
ROWS = {
    "BN 32": (batch_norm, bn_32, False),
    "BN 2": (batch_norm, bn_2, False),
    "MABN 2 + WC": (mabn, mabn_2, True),
    "BN 32 + WC": (batch_norm, bn_32, True),
    "BN 2 + WC": (batch_norm, bn_2, True),
}
runs = {name: {seed: run(*row, seed) for seed in SEEDS} for name, row in ROWS.items()}
final = {name: {seed: by_seed[seed][1] for seed in SEEDS} for name, by_seed in runs.items()}

# %%
# What came out
# -------------
#
# The table gives one number per seed, their mean, and the difference from the two references, with 95 % intervals.
# The differences are taken seed by seed: what the seed does to both runs of a pair cancels.


def show(interval, sign="+"):
    """A mean with half its 95 % interval."""
    if interval is None:
        return " " * 12
    return f"{interval.mean:{sign}5.1f} ± {interval.half:4.1f}"


print(f"{'':11} {'test error in %':^23}  {'mean':^12}  {'minus BN 32':12}  minus BN 32 + WC")
for name, errors in final.items():
    shown = [" ".join(f"{error:5.1f}" for error in errors.values())]
    shown.append(show(mean_interval(list(errors.values())), sign=""))
    for base in ("BN 32", "BN 32 + WC"):
        shown.append(show(paired_difference(errors, final[base]) if name != base else None))
    print(f"{name:11} " + "  ".join(shown))

curves = []
for place, errors in enumerate(final.values()):
    values = list(errors.values())
    interval = mean_interval(values)
    ends = [interval.mean - interval.half, interval.mean + interval.half]
    first = place == 0  # one entry in the legend is enough
    curves += [
        ([place] * 2, ends, GREY, "-", "95 % interval of the mean" if first else ""),
        ([place], [interval.mean], RED, "s", "mean" if first else ""),
        (place + np.linspace(-0.12, 0.12, len(values)), values, BLUE, "o", "one seed" if first else ""),
    ]
draw(
    "Test error of each method",
    "normaliser, |B| (images) and WC (centred weights)",
    "test error (%)",
    *curves,
    xticks=range(len(final)),
    xticklabels=list(final),
)

# %%
# BN 32 has the lowest mean error and BN 2 + WC the highest: in this short run centred weights hurt BN 2. Here is the
# loss on the training images on the way there, as a mean over the seeds and over 25 steps:

looks = [(GREY, "o-"), (RED, "s-"), (BLUE, "^-"), (GREY, "o--"), (RED, "s--")]
every = 25
at = np.arange(every, STEPS + 1, every)
curves = []
for (name, by_seed), look in zip(runs.items(), looks, strict=True):
    losses = np.mean([losses for losses, _ in by_seed.values()], axis=0)
    curves.append((at, np.mean(losses.reshape(-1, every), axis=1), *look, name))
draw(
    "Training loss (dashed: controls)",
    "steps (gradient batches of 32 images)",
    "cross-entropy (nats)",
    *curves,
)

# %%
# How far to trust this
# ---------------------
#
# Not far. With four seeds, half an interval is 1.6 times the standard deviation of the values averaged (Student's
# :math:`t`, 3.18, over :math:`\sqrt 4`), and a difference whose interval contains zero has not been seen. Which of
# these have been seen?

for one, other in (
    ("BN 2", "BN 32"),
    ("MABN 2 + WC", "BN 32"),
    ("MABN 2 + WC", "BN 2"),
    ("MABN 2 + WC", "BN 2 + WC"),
):
    difference = paired_difference(final[one], final[other])
    seen = "seen" if abs(difference.mean) > difference.half else "not seen"
    print(f"{one:11} minus {other:9}  {show(difference)}  {seen}")

# %%
# Also, the images are artificial, the network is tiny, and so is the run. Another learning rate or a longer run may
# change the order: with centred weights BN does better in some settings and worse in others.
#
# The real figures
# ----------------
#
# The repository contains the records of longer runs with a larger network on real images of CIFAR-10, made with
# ``mabn-ref compare --data-dir cifar-10-subset --seeds 5 --mabn-window 64``. Read from the file, they give this
# table:

repository = Path(mabn_ref.__path__[0]).parent
records = results.read(repository / "docs" / "results" / "cifar10-subset" / "results.jsonl")
rows = comparison.collect([RunConfig(**record["config"]) for record in records], records)
print(comparison.table(rows))

# %%
# What do the recorded runs say? Call the distance between BN 2 and BN 32 the gap. How much of it does MABN
# close, with the paper's window :math:`m = 16` and with :math:`m = 64`, first as the paper pairs the rows, then like
# for like?

errors = {row.label: row.errors for row in rows}
for bottom, top in (("BN 2", "BN 32"), ("BN 2 + WC", "BN 32 + WC")):
    gap = paired_difference(errors[bottom], errors[top])
    print(f"{bottom} minus {top}: {gap.mean:.1f} ± {gap.half:.1f}")
    for name in ("MABN 2 + WC", "MABN 2 + WC, m=64"):
        closed = paired_difference(errors[bottom], errors[name])
        share = closed.mean / gap.mean
        print(f"   {name:18} closes {closed.mean:5.1f} ± {closed.half:.1f}, {share:4.0%} of it")

# %%
# The first pair of lines looks better for MABN than the second: part of what MABN closes there is what centred
# weights do for every method, BN 32 included. Like for like, MABN closes about half of the gap with :math:`m = 16`,
# and more with :math:`m = 64`. Where a share is above 100 %, MABN with centred weights is better than BN 32
# without. Intervals from so few seeds are wide, so do not read much into the shares. ``mabn-ref compare`` repeats
# such runs on your machine, :doc:`/howto/train_and_compare`.
#
# Questions
# ---------
#
# 1. Why are the differences taken seed by seed before they are averaged, and not from the two means?
# 2. A table without controls says "MABN 2 beats BN 2 by 8 points". What else could explain that, apart from averaged
#    statistics? Name two things.
# 3. BN 2 is tested with moving averages of statistics that come from two images each. How could those make its test
#    error worse although its weights are as good as any, and how would you find out?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. The difference of means is the same number. But its interval is not: both runs share the weights, the order
#       and the crops of a seed, and a hard seed is hard for both. Pairing takes that out of the spread; without it
#       the interval would be wider.
#    2. Centred weights, if only MABN has them. A learning rate, a schedule or a decay that was tuned for only one of
#       the two. One seed each. Or a BN whose moving averages at inference are bad, which is not the fault of its
#       training.
#    3. With a short memory (a decay of 0.9) the moving average is as noisy as the mean of 19 batches, some forty
#       images (tutorial 04), and the variance of few values is on average too small. Estimate the mean and the
#       variance again over the whole training set, with the weights as they are, and test with those.

# %%
# Exercises
# ---------
#
# .. exercises::
