r"""
11 Checking a PyTorch layer
===========================

Your framework has a batch normalisation, and you may have written a layer of the family yourself. Does it compute
what the papers say? (This tutorial needs PyTorch.)
"""

# %%
# One channel by hand
# -------------------
#
# A batch of four values goes through PyTorch's layer, once, in training.

import matplotlib.pyplot as plt
import numpy as np
import torch
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
# The output is the same and the running mean is the same, but the running variance is not: 0.9 + 0.1 v has another v.

print("v that went in: ", (layer.running_var.item() - 0.9) / 0.1, "and", (state.var.item() - 0.9) / 0.1)
print("v(x) with n - 1:", np.var(x, ddof=1), " with n:", np.var(x))

# %%
# PyTorch normalises by the biased variance, :eq:`bn-statistics`, and keeps the unbiased one for inference. That is a
# convention and no mistake; but whoever compares two implementations finds a difference of :math:`n / (n - 1)`, and
# it is largest where batches are small.
#
# The check finds it out
# ----------------------
#
# `mabn_ref.check.check` runs the layer through sequences of training steps and an inference, compares every
# output, gradient and moving statistic with the equations, and looks for the convention that reproduces its numbers.

report = check(nn.BatchNorm1d, "bn", short=True)
print(report)

# %%
# In a terminal this is ``mabn-ref check torch.nn:BatchNorm1d --as bn``, and in your own test suite it is
# ``assert_conforms(MyLayer, "bn")``.
#
# A layer of one's own
# --------------------
#
# Modified batch normalisation in PyTorch, and autograd does the backward. It looks right. Its author remembered that
# moving averages must not take part in differentiation, and put ``no_grad`` one line too early.


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
# Training with it runs, and the loss goes down. No test of shapes and no look at the output finds anything: forward
# is right. The gradient is what :eq:`modified-backward` (16) becomes without :math:`\Psi`.

report = check(ModifiedBatchNorm, "modified-bn", short=True)
for finding in report.findings:
    print(f"{finding.tensor}: {finding.words}")
print("conforms:", report.conforms)

# %%
# With one line moved it is the layer that it was meant to be.


class Mended(ModifiedBatchNorm):
    def statistic(self, x):
        chi2 = (x * x).mean([d for d in range(x.dim()) if d != 1])
        with torch.no_grad():
            self.running_chi2 += self.momentum * (chi2 - self.running_chi2)
        return chi2


assert_conforms(Mended, "modified-bn", short=True)
print("conforms:", check(Mended, "modified-bn", short=True).conforms)

# %%
# Does it matter?
# ---------------
#
# The variance that PyTorch keeps is too large by :math:`n / (n - 1)` for what its training divided by. With :math:`n`
# values a channel in each batch, 200 batches of standard normal values:

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

figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
axes.plot(sizes, kept, "o", color="black", label="kept for inference")
axes.plot(sizes, used, "s", color="black", markerfacecolor="white", label="mean of what training divided by")
axes.plot(sizes, (sizes - 1) / sizes, "--", color="0.5", label="(n - 1) / n")
axes.set_xscale("log", base=2)
axes.set_xticks(sizes, [str(n) for n in sizes])
axes.set_ylim(0, 1.2)
axes.set_title("PyTorch's two variances of standard normal values")
axes.set_xlabel("values in a batch n (per channel)")
axes.set_ylabel("variance (squared units of x)")
axes.legend(loc="lower right")
plt.show()

# %%
# At :math:`n = 2` training divides by half the variance that inference does. The unbiased one is the better estimate
# of the population's variance, :eq:`population` (6); the biased one is what the weights were trained with.
#
# Questions
# ---------
#
# 1. In convolutional layers :math:`n` counts images and positions. For which layers of a network trained on images
#    with :math:`|B| = 2` does the factor :math:`n / (n - 1)` matter?
# 2. Why does the check draw its cotangents at random, where the sum of the outputs would be the shortest loss to call
#    ``backward`` on?
# 3. The mistake above was in backward alone. Would a gradient check of the layer, differences against autograd, have
#    found it too? And would it accept a right Batch Renormalization?
#
# .. admonition:: Answers
#    :collapsible: closed
#
#    1. For the last ones, where few positions are left: two images of 4 by 4 positions give :math:`n = 32` and 3 %,
#       two of 1 by 1 give :math:`n = 2` and a factor of two. A first layer of 32 by 32 positions has 0.05 %.
#    2. The sum is a cotangent of ones. The input gradient of batch normalisation is zero then, whatever is right or
#       wrong in it (tutorial 02).
#    3. Yes, for this one: the output depends on x through the statistic, and differences see that. A right Batch
#       Renormalization it would reject: r and d are held in backward, by design, and no derivative of forward is
#       (tutorial 05). The check here compares with the equations and knows of both.
