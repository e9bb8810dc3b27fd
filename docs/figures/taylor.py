"""The Taylor remainder along a line through batch norm, with a right backward pass and with one that lacks Psi."""

import matplotlib.pyplot as plt
import numpy as np

from mabn_ref.norms import batch_norm

rng = np.random.default_rng(0)
x, c, p = rng.standard_normal((3, 8, 1))
one, zero, config = np.ones(1), np.zeros(1), batch_norm.Config()
state = batch_norm.init(1, config, dtype=x.dtype)


def loss(x):
    return np.sum(c * batch_norm.forward(x, one, zero, state, config)[0])


_, cache, after = batch_norm.forward(x, one, zero, state, config)
right, *_ = batch_norm.backward(c, cache, after)
without_psi = (c - np.mean(c)) / cache.sigma[0]
steps = 2.0 ** -np.arange(15)

figure, axes = plt.subplots()
for gradient, style, label in (
    (without_psi, "sC1", "Ψ left out: half the step, half the remainder"),
    (right, "oC0", "right: half the step, a quarter of it"),
):
    remainders = [abs(loss(x + h * p) - loss(x) - h * np.sum(gradient * p)) for h in steps]
    axes.loglog(steps, remainders, style, base=2, markerfacecolor="none", label=label)
axes.set(xlabel="step h", ylabel="remainder |R(h)|")
axes.set_title("A wrong slope shows in how fast the remainder falls")
figure.legend(loc="outside lower center")
