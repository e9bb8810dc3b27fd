"""The small network in PyTorch, for comparison of speed alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["residual_network", "small_network", "training_step"]


def small_network(torch: Any, norm: Callable[[int], Any], *, convolution: Any = None, width: int = 32) -> Any:
    """The layers of `mabn_ref.nn.networks.small_network`, with a module made by ``norm(channels)``."""
    channels = [3, width, width, 2 * width, 2 * width, 4 * width, 4 * width, 4 * width]
    convolution = convolution or torch.nn.Conv2d
    layers: list[Any] = []
    for i, stride in enumerate((2, 1, 2, 1, 2, 1, 2)):
        layers.append(convolution(channels[i], channels[i + 1], 3, stride=stride, padding=1, bias=False))
        layers += [norm(channels[i + 1]), torch.nn.ReLU()]
    return torch.nn.Sequential(
        *layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(channels[-1], 10)
    )


def residual_network(torch: Any, norm: Callable[[int], Any], *, width: int = 32) -> Any:
    """The layers of `mabn_ref.nn.networks.residual_network` of depth 8."""

    def convolved(takes: int, gives: int, stride: int, kernel: int = 3) -> list[Any]:
        convolution = torch.nn.Conv2d(takes, gives, kernel, stride=stride, padding=kernel // 2, bias=False)
        return [convolution, norm(gives)]

    class Block(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self, takes: int, gives: int, stride: int) -> None:
            super().__init__()
            first, second = convolved(takes, gives, stride), convolved(gives, gives, 1)
            self.f = torch.nn.Sequential(*first, torch.nn.ReLU(), *second)
            self.s = torch.nn.Sequential(*(convolved(takes, gives, stride, 1) if stride > 1 else []))

        def forward(self, x: Any) -> Any:
            return torch.relu(self.f(x) + self.s(x))

    blocks = [Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2)]
    stem = [*convolved(3, width, 2), torch.nn.ReLU()]
    end = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4 * width, 10)]
    return torch.nn.Sequential(*stem, *blocks, *end)


def training_step(torch: Any, net: Any, x: Any, labels: Any, micro_batch: int | None = None) -> Callable[[], None]:
    """One step of SGD over the gradient batch, in one pass or as micro-batches whose gradients add up."""
    optimiser = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    loss_of = torch.nn.CrossEntropyLoss()
    parts = x.split(micro_batch or len(x)), labels.split(micro_batch or len(x))

    def step() -> None:
        optimiser.zero_grad()
        for images, truth in zip(*parts, strict=True):
            (loss_of(net(images), truth) * (len(images) / len(x))).backward()
        optimiser.step()

    return step
