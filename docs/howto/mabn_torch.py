"""MABN for PyTorch, where `BatchNorm2d` stands, behind a convolution whose weight is centred."""

import torch
from torch.autograd.function import once_differentiable
from torch.nn.utils import parametrize


class MABN2d(torch.nn.Module):
    """Moving Average Batch Normalization of (N, C, ...); a call in training is one normalisation batch."""

    def __init__(self, num_features, eps=1e-5, decay=0.98, window=16, clip=5.0):
        super().__init__()
        self.eps, self.decay, self.clip = eps, decay, clip
        self.weight = torch.nn.Parameter(torch.ones(num_features))
        self.bias = torch.nn.Parameter(torch.zeros(num_features))
        self.register_buffer("chi2", torch.ones(num_features))
        self.register_buffer("chi2_window", torch.zeros(window, num_features))
        self.register_buffer("psi_window", torch.zeros(window, num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x):
        if self.training:
            return TrainingPass.apply(x, self.weight, self.bias, self)
        scale = self.weight / torch.sqrt(self.chi2 + self.eps)
        return (per_channel(scale, x) * x + per_channel(self.bias, x)).to(x.dtype)


class TrainingPass(torch.autograd.Function):
    """Equations (19) and (20): the backward pass is not the derivative of the forward pass."""

    @staticmethod
    def forward(ctx, x, gamma, beta, layer):
        dtype, x = x.dtype, x.to(gamma.dtype)  # under autocast x is half, and its squares overflow
        chi2_batch = x.square().mean(every_axis_but_channels(x))
        layer.num_batches_tracked += 1
        held = layer.num_batches_tracked.clamp(max=len(layer.chi2_window))
        chi = torch.sqrt(mean_of_window(layer.chi2_window, chi2_batch, held) + layer.eps)
        r = (chi / torch.sqrt(layer.chi2 + layer.eps)).clamp(1 / layer.clip, layer.clip)
        layer.chi2.lerp_(chi2_batch, 1 - layer.decay)
        y = x / per_channel(chi, x)
        ctx.save_for_backward(y, chi, r, gamma, held)
        ctx.layer = layer
        return (per_channel(gamma * r, x) * y + per_channel(beta, x)).to(dtype)

    @staticmethod
    @once_differentiable  # second derivatives are refused
    def backward(ctx, dz):
        y, chi, r, gamma, held = ctx.saved_tensors
        dtype, dz, axes = dz.dtype, dz.to(gamma.dtype), every_axis_but_channels(y)
        dzy = (dz * y).sum(axes)
        psi_batch = gamma * r * dzy / (y.numel() / len(gamma))
        psi = mean_of_window(ctx.layer.psi_window, psi_batch, held)
        dx = (per_channel(gamma * r, y) * dz - y * per_channel(psi, y)) / per_channel(chi, y)
        return dx.to(dtype), r * dzy, dz.sum(axes), None


def mean_of_window(window, value, held):
    """Move the window on by one value, in place, and return the mean of the values that it holds."""
    window.copy_(torch.cat([window[1:], value[None]]))
    return window.sum(0) / held


def per_channel(a, x):
    return a.reshape(-1, *[1] * (x.ndim - 2))


def every_axis_but_channels(x):
    return [axis for axis in range(x.ndim) if axis != 1]


class Centred(torch.nn.Module):
    """The weight of a convolution, or of a linear layer, less the mean of each of its kernels: equation (18)."""

    def forward(self, weight):
        return weight - weight.mean(list(range(1, weight.ndim)), keepdim=True)


def converted(norm, **settings):
    """An `MABN2d` that computes at inference what a trained `BatchNorm2d` does."""
    if norm.weight is None or norm.running_var is None:
        raise ValueError(f"norm is {norm}, expected one with gamma and beta and with moving statistics")
    layer = MABN2d(norm.num_features, eps=norm.eps, **settings).to(norm.weight)
    sigma = torch.sqrt(norm.running_var + norm.eps)
    with torch.no_grad():
        layer.chi2.copy_(norm.running_var + norm.running_mean**2)
        layer.weight.copy_(norm.weight * torch.sqrt(layer.chi2 + layer.eps) / sigma)
        layer.bias.copy_(norm.bias - norm.weight * norm.running_mean / sigma)
    return layer


def block(channels_in, channels_out):
    """What takes the place of convolution, `BatchNorm2d` and ReLU."""
    convolution = torch.nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    parametrize.register_parametrization(convolution, "weight", Centred())
    return torch.nn.Sequential(convolution, MABN2d(channels_out), torch.nn.ReLU())
