"""The relatives in PyTorch, each as short as it is usually written, of (N, C, H, W): opponents in speed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["LAYERS"]

EPS = 1e-5
PER_CHANNEL = (0, 2, 3)


def frn(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Filter Response Normalization, without its threshold."""
    return x * (x.square().mean((2, 3), keepdim=True) + EPS).rsqrt() * gamma[:, None, None] + beta[:, None, None]


class _PowerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, layer: PowerNorm) -> Tensor:
        over_chi = (layer.chi2 + EPS).rsqrt()
        y = x * over_chi[:, None, None]
        layer.chi2.lerp_(x.square().mean(PER_CHANNEL), 1 - layer.decay)
        ctx.save_for_backward(y, over_chi, gamma)
        ctx.layer = layer
        return y * gamma[:, None, None] + beta[:, None, None]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        y, over_chi, gamma = ctx.saved_tensors
        (dz,), layer, values = grads, ctx.layer, y.numel() / y.shape[1]
        dgamma, held = (dz * y).sum(PER_CHANNEL), 1 - layer.decay
        dx = (dz * gamma[:, None, None]).addcmul_(y, (held * layer.v)[:, None, None], value=-1)
        layer.v += gamma * dgamma / values - held * y.square().mean(PER_CHANNEL) * layer.v
        return dx * over_chi[:, None, None], dgamma, dz.sum(PER_CHANNEL), None


class PowerNorm:
    """PowerNorm after its warm-up: `mabn_ref.norms.power_norm`."""

    def __init__(self, channels: int, decay: float = 0.9) -> None:
        self.decay, self.chi2, self.v = decay, torch.ones(channels), torch.zeros(channels)

    def __call__(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        out: Tensor = _PowerNorm.apply(x, gamma, beta, self)
        return out


class _UnifiedNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, layer: UnifiedNorm) -> Tensor:
        layer.iteration += 1
        layer.chi2s = torch.cat([layer.chi2s[1:], x.square().mean(PER_CHANNEL)[None]])
        early = layer.iteration <= layer.window
        chi2 = layer.chi2s[-1] if early else layer.chi2s.log().mean(0).exp()
        over_chi = (chi2 + EPS).rsqrt()
        r = ((chi2 + EPS) / (layer.chi2 + EPS)).sqrt_().clamp_(0.2, 5.0)
        layer.chi2.lerp_(chi2, 1 - layer.decay)
        y = x * over_chi[:, None, None]
        ctx.save_for_backward(y, over_chi, gamma * r, r)
        ctx.layer, ctx.early = layer, early
        return y * gamma[:, None, None] + beta[:, None, None]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        y, over_chi, scale, r = ctx.saved_tensors
        (dz,), layer = grads, ctx.layer
        dzy = (dz * y).sum(PER_CHANNEL)
        layer.psis = torch.cat([layer.psis[1:], (scale * dzy * (y.shape[1] / y.numel()))[None]])
        layer.psi.lerp_(layer.psis[-1] if ctx.early else layer.psis.mean(0), 1 - layer.decay)
        dx = (dz * scale[:, None, None]).addcmul_(y, layer.psi[:, None, None], value=-1)
        return dx * over_chi[:, None, None], r * dzy, dz.sum(PER_CHANNEL), None


class UnifiedNorm:
    """Unified Normalization without a filter of outliers: `mabn_ref.norms.unified_norm`."""

    def __init__(self, channels: int, decay: float = 0.9, window: int = 4) -> None:
        self.decay, self.window, self.iteration = decay, window, 0
        self.chi2, self.psi = torch.ones(channels), torch.zeros(channels)
        self.chi2s, self.psis = torch.ones(window, channels), torch.zeros(window, channels)

    def __call__(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        out: Tensor = _UnifiedNorm.apply(x, gamma, beta, self)
        return out


def _rms(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """PyTorch's own, over the last axis; it has no beta."""
    out = torch.nn.functional.rms_norm(x.movedim(1, -1), (x.shape[1],), gamma, EPS) + beta
    return out.movedim(-1, 1)


def _grouped(groups: int | None) -> Any:
    return lambda x, gamma, beta: torch.nn.functional.group_norm(x, groups or x.shape[1], gamma, beta, EPS)


def _frozen(channels: int) -> Any:
    """PyTorch's own with the constants that it starts with."""
    mean, var = torch.zeros(channels), torch.ones(channels)
    return lambda x, gamma, beta: torch.nn.functional.batch_norm(x, mean, var, gamma, beta, training=False, eps=EPS)


LAYERS: dict[str, Any] = {
    "BN": lambda channels: (
        lambda x, g, b: torch.nn.functional.batch_norm(x, None, None, g, b, training=True, eps=EPS)
    ),
    "GN": lambda channels: _grouped(min(channels, 8)),
    "LN": lambda channels: _grouped(1),
    "IN": lambda channels: _grouped(None),
    "RMSNorm": lambda channels: _rms,
    "FRN": lambda channels: frn,
    "PowerNorm": PowerNorm,
    "UN": UnifiedNorm,
    "frozen BN": _frozen,
    "threshold": lambda channels: lambda x, tau: torch.maximum(x, tau[:, None, None]),
    "DyT": lambda channels: lambda x, alpha, g, b: torch.tanh(alpha * x) * g[:, None, None] + b[:, None, None],
    "Derf": lambda channels: lambda x, alpha, s, g, b: torch.erf(alpha * x + s) * g[:, None, None] + b[:, None, None],
}
"""For a number of channels, a function of x and the parameters, gamma and beta at the end."""
