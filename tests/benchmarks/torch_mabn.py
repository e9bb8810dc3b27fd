"""MABN in PyTorch, after the paper and as quick as eager mode lets it be: an opponent in speed, a second opinion.

Backward is written by hand, since (20) is not the derivative of (19). Where a call is one normalisation batch, most
of the work is done by two fused kernels of PyTorch's own batch norm, with a mean of 0 and the averaged mean square in
the place of the variance. Settings and phases are those of `mabn_ref.norms.mabn.Config`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["CentredConv2d", "MABN2d"]


class CentredConv2d(torch.nn.Conv2d):
    """A convolution with a centred weight (18)."""

    def forward(self, x: Tensor) -> Tensor:
        centred = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return functional.conv2d(x, centred, self.bias, self.stride, self.padding)


class MABN2d(torch.nn.Module):
    """MABN of (N, C, H, W): batches of `norm_batch` neighbouring samples share statistics; None: the whole call does.

    Iterations are normalisation batches. Weights must stay as they are while the calls of one gradient batch run, and
    the backward passes must come in the order of the forward passes.
    """

    def __init__(
        self,
        channels: int,
        *,
        norm_batch: int | None = None,
        window: int = 16,
        decay: float = 0.98,
        clip: float = 5.0,
        eps: float = 1e-5,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.norm_batch, self.window, self.decay, self.clip, self.eps = norm_batch, window, decay, clip, eps
        self.iteration = 0
        self.weight = torch.nn.Parameter(torch.ones(channels, dtype=dtype))
        self.bias = torch.nn.Parameter(torch.zeros(channels, dtype=dtype))
        self.register_buffer("zero", torch.zeros(channels, dtype=dtype))
        self.register_buffer("chi2", torch.ones(channels, dtype=dtype))
        self.register_buffer("chi2_window", torch.zeros(window, channels, dtype=dtype))
        self.register_buffer("psi_window", torch.zeros(window, channels, dtype=dtype))

    def get_extra_state(self) -> int:  # in state_dict: where the rings of the windows begin
        return self.iteration

    def set_extra_state(self, state: int) -> None:
        self.iteration = state

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return functional.batch_norm(x, self.zero, self.chi2, self.weight, self.bias, False, 0.0, self.eps)
        one = self.norm_batch is None or self.norm_batch == len(x)
        return (_OneBatch if one else _Grouped).apply(x, self.weight, self.bias, self)


class _OneBatch(torch.autograd.Function):
    """A call that is one normalisation batch."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, layer: MABN2d) -> Tensor:
        chi2_batch = x.square().mean((0, 2, 3))  # (15)
        chi2 = _mean_of_window(layer.chi2_window, chi2_batch, layer.iteration)  # (13)
        r = ((chi2 + layer.eps) / (layer.chi2 + layer.eps)).sqrt_().clamp_(1 / layer.clip, layer.clip)  # (19)
        layer.chi2.lerp_(chi2_batch, 1 - layer.decay)  # (12)
        scale = gamma * r
        ctx.save_for_backward(x, chi2, r, scale)
        ctx.layer, ctx.iteration = layer, layer.iteration
        layer.iteration += 1
        return functional.batch_norm(x, layer.zero, chi2, scale, beta, False, 0.0, layer.eps)  # (19), (3)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, chi2, r, scale = ctx.saved_tensors
        layer, eps = ctx.layer, ctx.layer.eps
        # dy / chi, and the sums of dz * y and of dz
        dx, dzy, dbeta = torch.ops.aten.native_batch_norm_backward(
            grads[0], x, scale, layer.zero, chi2, None, None, False, eps, (True, True, True)
        )
        psi_batch = scale * dzy * (x.shape[1] / x.numel())  # (5)
        psi = _mean_of_window(layer.psi_window, psi_batch, ctx.iteration)  # (13)
        dx.addcmul_(x, (psi / (chi2 + eps))[:, None, None], value=-1)  # (20), where y / chi = x / chi^2
        return dx, r * dzy, dbeta, None


def _mean_of_window(window: Tensor, value: Tensor, iteration: int) -> Tensor:
    """Put one batch value into the ring and return the mean of those held."""
    size = len(window)
    window[iteration % size] = value
    return window.mean(0) if iteration + 1 >= size else window[: iteration + 1].mean(0)


class _Grouped(torch.autograd.Function):
    """A call of several normalisation batches, as (G, |B|, C, H * W)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, layer: MABN2d) -> Tensor:
        groups = len(x) // layer.norm_batch
        xs = x.contiguous().view(groups, layer.norm_batch, x.shape[1], -1)
        chi2_batch = xs.square().mean((1, 3))  # (15)
        chi2 = _means_of_window(layer.chi2_window, chi2_batch, layer.iteration) + layer.eps  # (13)
        before = [layer.chi2]
        for value in (1 - layer.decay) * chi2_batch:
            before.append(torch.add(value, before[-1], alpha=layer.decay))  # (12)
        layer.chi2 = before.pop()
        r = (chi2 / (torch.stack(before) + layer.eps)).sqrt_().clamp_(1 / layer.clip, layer.clip)  # (19)
        over_chi = chi2.rsqrt()
        ctx.save_for_backward(xs, over_chi, r, gamma)
        ctx.layer, ctx.iteration = layer, layer.iteration
        layer.iteration += groups
        scale = gamma * r * over_chi
        return torch.addcmul(beta[:, None], xs, scale[:, None, :, None]).view(x.shape)  # (19), (3)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        xs, over_chi, r, gamma = ctx.saved_tensors
        dz = grads[0].contiguous().view(xs.shape)
        dzy = (dz * xs).sum((1, 3)) * over_chi
        psi_batch = gamma * r * dzy / (xs.shape[1] * xs.shape[3])  # (5)
        psi = _means_of_window(ctx.layer.psi_window, psi_batch, ctx.iteration)  # (13)
        from_y = (psi * over_chi * over_chi)[:, None, :, None]
        dx = (dz * (gamma * r * over_chi)[:, None, :, None]).addcmul_(xs, from_y, value=-1)  # (20)
        return dx.view(grads[0].shape), (r * dzy).sum(0), dz.sum((0, 1, 3)), None


def _means_of_window(window: Tensor, values: Tensor, iteration: int) -> Tensor:
    """The mean of the values held at each of several iterations; `window` becomes the last ones, oldest first."""
    size, groups = len(window), len(values)
    rows = torch.cat([window, values])
    window.copy_(rows[groups:])
    sums = rows[1:].unfold(0, size, 1).sum(-1)
    if iteration + 1 >= size:
        return sums / size
    held = torch.arange(iteration + 1, iteration + groups + 1).clamp_(max=size)
    return sums / held[:, None]
