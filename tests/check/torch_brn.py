"""Batch Renormalization in PyTorch from scratch, its backward by hand: a second opinion on the check."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["BatchRenorm"]


class BatchRenorm(torch.nn.Module):
    """Ioffe's, of (N, C, ...): the moving average tracks sigma, and r and d are constants in backward."""

    def __init__(
        self, channels: int, eps: float = 1e-5, momentum: float = 0.01, r_max: float = 3.0, d_max: float = 5.0
    ) -> None:
        super().__init__()
        self.eps, self.momentum, self.r_max, self.d_max = eps, momentum, r_max, d_max
        self.weight = torch.nn.Parameter(torch.ones(channels))
        self.bias = torch.nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_sigma", torch.full((channels,), (1 + eps) ** 0.5, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1) + (1,) * (x.dim() - 2)
        if not self.training:
            y = (x - self.running_mean.view(shape)) / self.running_sigma.view(shape)
            return self.weight.view(shape) * y + self.bias.view(shape)
        dims = [d for d in range(x.dim()) if d != 1]
        with torch.no_grad():
            mean = x.mean(dims)
            sigma = (x.var(dims, unbiased=False) + self.eps).sqrt()
            r = (sigma / self.running_sigma).clamp(1 / self.r_max, self.r_max)
            d = ((mean - self.running_mean) / self.running_sigma).clamp(-self.d_max, self.d_max)
            self.running_mean += self.momentum * (mean - self.running_mean)
            self.running_sigma += self.momentum * (sigma - self.running_sigma)
        return _Passes.apply(
            x, self.weight, self.bias, mean.view(shape), sigma.view(shape), r.view(shape), d.view(shape)
        )


class _Passes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, *statistics: Tensor) -> Tensor:
        mean, sigma, r, d = statistics
        y = (x - mean) / sigma
        ctx.save_for_backward(y, gamma, sigma, r, d)
        return gamma.view(sigma.shape) * (r * y + d) + beta.view(sigma.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        y, gamma, sigma, r, d = ctx.saved_tensors
        dims = [k for k in range(y.dim()) if k != 1]
        dz = grads[0]
        dy = dz * gamma.view(sigma.shape) * r
        g, psi = dy.mean(dims, keepdim=True), (dy * y).mean(dims, keepdim=True)
        dx = (dy - g - y * psi) / sigma
        return dx, (dz * (r * y + d)).sum(dims), dz.sum(dims), None, None, None, None
