r"""
11 Checking a PyTorch layer
===========================

Your framework has a batch normalisation, and you may have written a layer of the family yourself. Does it compute
what the papers say? A layer that differs a little still trains, so nobody notices until a result cannot be repeated.

This tutorial needs PyTorch. What it prints is recorded in ``tutorials/11_checking_a_pytorch_layer.txt``; where
PyTorch is missing, the page shows that record.
"""

# %%
# One channel by hand
# -------------------
#
# A batch of four values goes through PyTorch's layer, once, in training.

import numpy as np
import torch
from _plots import BLUE, GREY, RED, draw
from torch import nn

from mabn_ref.check import assert_conforms, check
from mabn_ref.norms import batch_norm

x = np.array([[3.0], [1.0], [-1.0], [5.0]])
layer = nn.BatchNorm1d(1, eps=1e-5, momentum=0.1, dtype=torch.float64)
z = layer(torch.tensor(x))

config = batch_norm.Config(eps=1e-5, decay=0.9)  # PyTorch's momentum is the weight of the new value
state = batch_norm.init(1, config, dtype=x.dtype)
ours, _, state = batch_norm.forward(x, np.ones(1), np.zeros(1), state, config)
print("largest difference of z:", np.max(np.abs(z.detach().numpy() - ours)))
print("running mean:    ", layer.running_mean.item(), state.mean.item())
print("running variance:", layer.running_var.item(), state.var.item())

# %%
# The output and the running mean are the same, but the running variance is not. It should be 0.9 + 0.1 v, where v is
# the variance of the batch.
#
# .. admonition:: Predict before you run
#    :class: predict
#
#    The two layers put in different values of v, for the same four numbers. Which definition of the variance gives
#    each of them?

print("v that went in: ", (layer.running_var.item() - 0.9) / 0.1, "and", (state.var.item() - 0.9) / 0.1)
print("v(x) with n - 1:", np.var(x, ddof=1), " with n:", np.var(x))

# %%
# PyTorch normalises by the biased variance, :eq:`bn-statistics`, and keeps the unbiased one for inference. That is a
# convention and not a mistake; but anyone who compares two implementations finds a factor of :math:`n / (n - 1)`, and
# it is largest where batches are small.
#
# The check detects it
# --------------------
#
# `mabn_ref.check.check` runs the layer through sequences of training steps and an inference pass, compares every
# output, gradient and moving statistic with the equations, and looks for the convention that reproduces its numbers.

report = check(nn.BatchNorm1d, "bn", short=True)
print(report)

# %%
# In a terminal this is ``mabn-ref check torch.nn:BatchNorm1d --as bn``, and in your own test suite it is
# ``assert_conforms(MyLayer, "bn")``.
#
# A layer of your own
# -------------------
#
# Here is modified batch normalisation in PyTorch, with the backward pass left to autograd. It looks right. Its author
# remembered that moving averages must not take part in differentiation, and put ``no_grad`` one line too early.


class ModifiedBatchNorm(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_chi2", torch.ones(channels))

    def statistic(self, x):
        with torch.no_grad():
            chi2 = (x * x).mean([d for d in range(x.dim()) if d != 1])
            self.running_chi2 += self.momentum * (chi2 - self.running_chi2)
        return chi2

    def forward(self, x):
        shape = (1, -1) + (1,) * (x.dim() - 2)
        chi2 = self.statistic(x) if self.training else self.running_chi2
        y = x / (chi2 + self.eps).sqrt().view(shape)
        return self.weight.view(shape) * y + self.bias.view(shape)


# %%
# Training with it runs, and the loss goes down. Testing shapes and looking at the output reveals nothing: forward is
# right. The gradient is that of :eq:`modified-backward` (16) without :math:`\Psi`, the mean of :math:`y_b u_b`.

report = check(ModifiedBatchNorm, "modified-bn", short=True)
for finding in report.findings:
    print(f"{finding.tensor}: {finding.words}")
print("conforms:", report.conforms)

# %%
# With one line moved, the layer is what it was meant to be.


class Fixed(ModifiedBatchNorm):
    def statistic(self, x):
        chi2 = (x * x).mean([d for d in range(x.dim()) if d != 1])
        with torch.no_grad():
            self.running_chi2 += self.momentum * (chi2 - self.running_chi2)
        return chi2


assert_conforms(Fixed, "modified-bn", short=True)
print("conforms:", check(Fixed, "modified-bn", short=True).conforms)

# %%
# Does it matter?
# ---------------
#
# The variance that PyTorch keeps is larger than the one its training divided by, by the factor :math:`n / (n - 1)`.
# Here are 200 batches of standard normal values, with :math:`n` values per channel in each batch:

rng = np.random.default_rng(0)
sizes = np.array([2, 3, 4, 8, 16, 32])
kept, used = [], []
for n in sizes:
    layer = nn.BatchNorm1d(64, momentum=None, dtype=torch.float64)  # None: the plain mean of all batches
    variances = []
    for _ in range(200):
        values = rng.standard_normal((n, 64))
        layer(torch.tensor(values))
        variances.append(values.var(axis=0))
    kept.append(layer.running_var.mean().item())
    used.append(np.mean(variances))

for n, kept_n, used_n in zip(sizes, kept, used, strict=True):
    print(f"n = {n:2}: kept for inference {kept_n:.2f}, training divided by {used_n:.2f}")
draw(
    "PyTorch's two variances of standard normal values",
    "values in a batch n (per channel)",
    "variance (squared units of x)",
    (sizes, (sizes - 1) / sizes, GREY, "--", "(n - 1) / n"),
    (sizes, kept, BLUE, "o", "kept for inference"),
    (sizes, used, RED, "s", "training divided by (mean)"),
    sizes=sizes,
    ylim=(0, 1.2),
)

# %%
# At :math:`n = 2` training divides by half the variance that inference uses. The unbiased one is the better estimate
# of the population's variance, :eq:`population` (6); the biased one is what the weights were trained with.
#
# Questions
# ---------
#
# 1. In convolutional layers :math:`n` counts images and positions. For which layers of a network trained on images
#    with :math:`|B| = 2` does the factor :math:`n / (n - 1)` matter?
# 2. Why does the check draw its cotangents, the gradients that come in, at random, when the sum of the outputs would
#    be the simplest loss to call ``backward`` on?
# 3. The mistake above was in backward alone. Would a gradient check of the layer, finite differences against
#    autograd, have found it too? And would it accept a correct Batch Renormalization?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. For the last ones, where few positions are left: two images of 4 by 4 positions give :math:`n = 32` and 3 %,
#       two of 1 by 1 give :math:`n = 2` and a factor of two. A first layer of 32 by 32 positions has 0.05 %.
#    2. The sum gives a cotangent of ones. Then the input gradient of batch normalisation is zero, whatever is right
#       or wrong in it (tutorial 02).
#    3. Yes, it would have found this one: the output depends on x through the statistic, and finite differences see
#       that. It would reject a correct Batch Renormalization: by design, r and d are held fixed in backward, and the
#       derivative of forward does not do so (tutorial 05). The check here compares with the equations and covers
#       both.
