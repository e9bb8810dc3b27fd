"""Online Normalization from scratch in PyTorch, as a user would write it."""

from __future__ import annotations

from typing import Any

import torch


class _Control(torch.autograd.Function):
    """Normalisation by averages, sample by sample; backward is the control process."""

    @staticmethod
    def forward(ctx: Any, x: Any, layer: Any) -> Any:
        y, sigmas = torch.empty_like(x), []
        for t, sample in enumerate(x):
            flat = sample.reshape(len(sample), -1)
            mean, var = flat.mean(1), flat.var(1, unbiased=False)
            sigmas.append((layer.moving_var + layer.eps).sqrt())
            y[t] = ((flat - layer.moving_mean[:, None]) / sigmas[-1][:, None]).reshape(sample.shape)
            layer.move(mean, var)
        ctx.layer, ctx.y, ctx.sigmas = layer, y, sigmas
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        layer, dx = ctx.layer, torch.empty_like(grads[0])
        for t, dy in enumerate(grads[0]):
            shape = dy.shape
            y, dy = ctx.y[t].reshape(len(dy), -1), dy.reshape(len(dy), -1)
            dx[t] = layer.control(dy, y, ctx.sigmas[t]).reshape(shape)
        return dx, None


class OnlineNorm2d(torch.nn.Module):
    """Its state is in buffers; its hyper-parameters have the names that its authors give them."""

    def __init__(
        self, channels: int, alpha_fwd: float = 0.999, alpha_bkw: float = 0.99, eps: float = 1e-5, guard: str = "ls"
    ) -> None:
        super().__init__()
        self.weight, self.bias = (torch.nn.Parameter(f(channels)) for f in (torch.ones, torch.zeros))
        self.alpha_fwd, self.alpha_bkw, self.eps, self.guard = alpha_fwd, alpha_bkw, eps, guard
        for name in ("moving_mean", "moving_var", "u", "v"):
            self.register_buffer(name, torch.ones(channels) if name == "moving_var" else torch.zeros(channels))

    def move(self, mean: Any, var: Any) -> None:
        a, apart = self.alpha_fwd, mean - self.moving_mean
        self.moving_var = a * self.moving_var + (1 - a) * var + a * (1 - a) * apart**2
        self.moving_mean = self.moving_mean + (1 - a) * apart

    def control(self, dy: Any, y: Any, sigma: Any) -> Any:
        held = 1 - self.alpha_bkw
        g = dy - held * self.v[:, None] * y
        self.v = self.v + (g * y).mean(1)
        dx = g / sigma[:, None] - held * self.u[:, None]
        self.u = self.u + dx.mean(1)
        return dx

    def forward(self, x: Any) -> Any:
        shape = (1, -1, *[1] * (x.ndim - 2))
        if self.training:
            y = _Control.apply(x, self)
        else:
            y = (x - self.moving_mean.reshape(shape)) / (self.moving_var.reshape(shape) + self.eps).sqrt()
        axes = tuple(range(1, x.ndim))
        if self.guard == "ls first":
            y = y / (y.square().mean(axes, keepdim=True) + self.eps).sqrt()
        a = self.weight.reshape(shape) * y + self.bias.reshape(shape)
        if self.guard == "ac":
            return a.clamp(-5, 5)
        return a / (a.square().mean(axes, keepdim=True) + self.eps).sqrt() if self.guard == "ls" else a
