"""Layers of published packages: what each computes by its source, and what the check has to say of it.

The verdicts were reasoned out from the sources before the check was asked. ``python -m tests.check.real_layers`` runs
all of them and writes the table of docs/real_layers.rst, docs/results/check/real_layers.json.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from mabn_ref.check import Report, check

RECORD = Path(__file__).parents[2] / "docs" / "results" / "check" / "real_layers.json"
_HERE = "tests.check.real_adapters:"


class Layer(NamedTuple):
    """A layer, the name of what it is to be, and what is true of it."""

    name: str
    """As users know it."""
    package: str
    """On the package index."""
    norm: str
    computes: str
    departs: str = ""
    """How it departs from the equations; "" where it conforms."""
    said: tuple[str, ...] = ()
    """What the check has to say of that: words of its report, each in what is wrong with the layer."""
    understood: bool = True
    """Whether every number of it is explained."""
    target: str = ""
    """What the check is given, if not the name."""
    extra: Mapping[str, Any] = {}
    """Keywords of the constructor."""
    backend: str = ""
    """Of Keras."""

    @property
    def conforms(self) -> bool:
        """The verdict that was reasoned out."""
        return not self.departs

    @property
    def label(self) -> str:
        """Its name with what it was given."""
        told = ", ".join(f"{name}={value}" for name, value in self.extra.items())
        return f"{self.name}{f'({told})' if told else ''}{f' on {self.backend}' if self.backend else ''}"


_ONE_PASS = "takes the variance in one pass, E[x^2] - E[x]^2, which loses it in float32 where the mean is large"
_FAST = {"said": ("one-pass-variance",), "departs": _ONE_PASS}
_TWO_PASS = {"extra": {"use_fast_variance": False}}
_NO_MEAN = {"said": ("No mean is subtracted",), "departs": "subtracts no mean; it is RMS normalisation"}
_NO_ACT = {"extra": {"apply_act": False}}

_BN, _BIASED = "BN; its moving variance is unbiased", "BN; its moving variance is biased"
_POSITION = "LN of every position by itself, over the channels"

TORCH = (
    Layer("torch.nn:BatchNorm1d", "torch", "bn", _BN),
    Layer("torch.nn:BatchNorm2d", "torch", "bn", _BN),
    Layer(
        "torch.nn:BatchNorm2d", "torch", "bn", "BN without moving statistics", extra={"track_running_stats": False}
    ),
    Layer("torch.nn:BatchNorm2d", "torch", "bn", "BN that averages all batches alike", extra={"momentum": None}),
    Layer("torch.nn:BatchNorm2d", "torch", "bn", "BN whose new value weighs 0.9, as asked", extra={"momentum": 0.9}),
    Layer("torch.nn:BatchNorm3d", "torch", "bn", _BN),
    Layer("torch.nn:LazyBatchNorm2d", "torch", "bn", _BN),
    Layer("torch.nn:SyncBatchNorm", "torch", "bn", f"{_BN}; in one process"),
    Layer("torch.nn:GroupNorm", "torch", "gn", "GN"),
    Layer("torch.nn:GroupNorm", "torch", "ln", "GN of one group, the LN of its paper", extra={"num_groups": 1}),
    Layer("torch.nn:LayerNorm", "torch", "ln", _POSITION),
    Layer("torch.nn:InstanceNorm1d", "torch", "in", "IN"),
    Layer("torch.nn:InstanceNorm2d", "torch", "in", "IN"),
    Layer(
        "torch.nn:InstanceNorm2d",
        "torch",
        "in",
        "IN; at inference moving statistics",
        extra={"track_running_stats": True},
    ),
    Layer("torch.nn:RMSNorm", "torch", "ln", "every position by its root mean square", **_NO_MEAN),
)

KERAS = (
    Layer("keras.layers:BatchNormalization", "keras", "bn", _BIASED, backend="jax"),
    Layer("keras.layers:BatchNormalization", "keras", "bn", _BIASED, backend="torch", **_FAST),
    Layer(
        "keras.layers:BatchNormalization",
        "keras",
        "brn",
        "BRN, with renorm=True; its sigma starts at 1",
        backend="jax",
    ),
    Layer("keras.layers:GroupNormalization", "keras", "gn", "GN", backend="jax"),
    Layer("keras.layers:GroupNormalization", "keras", "gn", "GN", backend="torch", **_FAST),
    Layer("keras.layers:LayerNormalization", "keras", "ln", _POSITION, backend="torch"),
    Layer(
        "keras.layers:RMSNormalization",
        "keras",
        "ln",
        "every position by its root mean square",
        backend="jax",
        **_NO_MEAN,
    ),
)

FLAX = (
    Layer("flax.linen:BatchNorm", "flax", "bn", _BIASED, **_FAST),
    Layer("flax.linen:BatchNorm", "flax", "bn", _BIASED, **_TWO_PASS),
    Layer("flax.linen:LayerNorm", "flax", "ln", _POSITION, **_FAST),
    Layer("flax.linen:LayerNorm", "flax", "ln", _POSITION, **_TWO_PASS),
    Layer("flax.linen:GroupNorm", "flax", "gn", "GN", **_FAST),
    Layer("flax.linen:GroupNorm", "flax", "gn", "GN", **_TWO_PASS),
    Layer("flax.linen:InstanceNorm", "flax", "in", "IN", **_FAST),
    Layer("flax.linen:InstanceNorm", "flax", "in", "IN", **_TWO_PASS),
    Layer("flax.linen:RMSNorm", "flax", "ln", "every position by its root mean square", **_NO_MEAN),
    Layer("flax.nnx:BatchNorm", "flax", "bn", _BIASED, **_FAST),
    Layer("flax.nnx:BatchNorm", "flax", "bn", _BIASED, **_TWO_PASS),
    Layer("flax.nnx:LayerNorm", "flax", "ln", _POSITION, **_TWO_PASS),
    Layer("flax.nnx:GroupNorm", "flax", "gn", "GN", **_TWO_PASS),
)

OF_JAX = (
    Layer(
        "haiku:BatchNorm",
        "dm-haiku",
        "bn",
        f"{_BIASED}, its averages are divided by the sum of their weights",
        target=f"{_HERE}haiku_batch_norm",
        **_FAST,
    ),
    Layer("haiku:LayerNorm", "dm-haiku", "ln", _POSITION, target=f"{_HERE}haiku_layer_norm"),
    Layer(
        "haiku:LayerNorm",
        "dm-haiku",
        "ln",
        f"{_POSITION}; use_fast_variance=True",
        target=f"{_HERE}haiku_fast_layer_norm",
        **_FAST,
    ),
    Layer("haiku:GroupNorm", "dm-haiku", "gn", "GN", target=f"{_HERE}haiku_group_norm"),
    Layer("haiku:InstanceNorm", "dm-haiku", "in", "IN", target=f"{_HERE}haiku_instance_norm"),
    Layer(
        "haiku:RMSNorm",
        "dm-haiku",
        "ln",
        "every position by its root mean square",
        target=f"{_HERE}haiku_rms_norm",
        **_NO_MEAN,
    ),
    Layer(
        "equinox.nn:BatchNorm",
        "equinox",
        "bn",
        f"{_BIASED}, mode='batch'; inference divides by 1 - momentum^t",
        "divides an average that starts at 1 by the sum of its weights, so its first variances are far too large",
        ("right only for averages that start at 0",),
        target=f"{_HERE}equinox_batch_norm",
    ),
    Layer(
        "equinox.nn:BatchNorm",
        "equinox",
        "bn",
        "mode='ema': normalises by the moving statistics in training",
        "trains by moving statistics that already include this batch, not by the batch's own",
        ("Training normalises by moving statistics that already include this batch",),
        understood=False,
        target=f"{_HERE}equinox_batch_norm_ema",
    ),
    Layer("equinox.nn:LayerNorm", "equinox", "ln", _POSITION, target=f"{_HERE}equinox_layer_norm"),
    Layer("equinox.nn:GroupNorm", "equinox", "gn", "GN", target=f"{_HERE}equinox_group_norm"),
    Layer(
        "equinox.nn:RMSNorm",
        "equinox",
        "ln",
        "every position by its root mean square",
        target=f"{_HERE}equinox_rms_norm",
        **_NO_MEAN,
    ),
    Layer(
        "sbx.common.jax_layers:BatchRenorm",
        "sbx-rl",
        "brn",
        "BRN after 100,000 steps of BN",
        f"adds eps to var / r^2, after r; {_ONE_PASS}",
        ("after r", "one-pass-variance"),
    ),
)

TIMM = (
    Layer("timm.layers:BatchNormAct2d", "timm", "bn", _BN, **_NO_ACT),
    Layer(
        "timm.layers:BatchNormAct2d",
        "timm",
        "bn",
        f"{_BN}, then ReLU",
        "has an activation after it",
        understood=False,
    ),
    Layer(
        "timm.layers:FrozenBatchNormAct2d",
        "timm",
        "bn",
        "an affine map by statistics that never move",
        "normalises by its moving statistics in training, and never moves them",
        ("a frozen layer",),
        **_NO_ACT,
    ),
    Layer("timm.layers:GroupNorm", "timm", "gn", "GN"),
    Layer("timm.layers:GroupNormAct", "timm", "gn", "GN", **_NO_ACT),
    Layer("timm.layers:GroupNorm1", "timm", "ln", "GN of one group, the LN of its paper"),
    Layer("timm.layers:LayerNorm", "timm", "ln", _POSITION),
    Layer("timm.layers:LayerNorm2d", "timm", "ln", f"{_POSITION}, which are axis 1"),
    Layer("timm.layers:LayerNormAct2d", "timm", "ln", f"{_POSITION}, which are axis 1", **_NO_ACT),
    Layer("timm.layers:RmsNorm", "timm", "ln", "every position by its root mean square", **_NO_MEAN),
    Layer(
        "timm.layers:FilterResponseNormAct2d",
        "timm",
        "in",
        "every channel of a sample by its root mean square",
        **_NO_MEAN,
        **_NO_ACT,
    ),
)

RENORM = (
    Layer(
        "sb3_contrib.common.torch_layers:BatchRenorm1d",
        "sb3-contrib",
        "brn",
        "BRN after 100,000 steps of BN",
        "divides by the unbiased variance, which is NaN for one sample, and adds eps to var / r^2, after r",
        ("bn-unbiased-variance", "after r"),
        understood=False,
    ),
    Layer(
        "torchrl.modules:BatchRenorm1d",
        "torchrl",
        "brn",
        "BRN after 10,000 steps of BN",
        "its warm-up factor, steps // warmup_steps, has no bound",
        ("has no bound",),
        understood=False,
    ),
    Layer(
        "torchrl.modules:BatchRenorm1d",
        "torchrl",
        "brn",
        "BRN that comes in over 10,000 steps",
        "its warm-up factor, steps / warmup_steps, has no bound",
        ("has no bound",),
        understood=False,
        extra={"smooth": True},
    ),
    Layer(
        "avalanche.models.batch_renorm:BatchRenorm2D",
        "avalanche-lib",
        "brn",
        "BRN whose bounds grow with the samples",
        "its moving mean starts at 1 and its sigma at 0; state_dict has neither",
        ("starts at 1", "starts at 0", "statistics-not-saved"),
    ),
)

LAYERS = (*TORCH, *KERAS, *FLAX, *OF_JAX, *TIMM, *RENORM)


@contextlib.contextmanager
def surroundings(layer: Layer) -> Iterator[None]:
    """JAX on the CPU, and the backend of Keras, for processes that are started inside."""
    told = {"JAX_PLATFORMS": "cpu"} | ({"KERAS_BACKEND": layer.backend} if layer.backend else {})
    with mock.patch.dict(os.environ, told):
        yield


def ask(layer: Layer) -> Report:
    """Run the check on a layer, in a process of its own."""
    with surroundings(layer):
        return check(layer.target or layer.name, layer.norm, short=True, time_limit=60, extra=layer.extra)


def misjudged(layer: Layer, report: Report) -> list[str]:
    """What is wrong with a report on a layer."""
    wrong = [f"{f.words} [{f.mistake}]" for f in report.findings if not f.accepted]
    found = [] if report.preset else ["it could not be compared"]
    if report.conforms != layer.conforms:
        found.append(f"conforms is {report.conforms}, expected {layer.conforms}")
    if report.understood != layer.understood:
        found.append(f"understood is {report.understood}, expected {layer.understood}")
    found += [f"{words!r} is not said" for words in layer.said if not any(words in line for line in wrong)]
    return found if not found else [*found, str(report)]


def row(layer: Layer, report: Report) -> dict[str, Any]:
    """What is kept of a layer that was run."""
    headline = str(report).partition("\n")[0].partition(": ")[2]
    return {
        "layer": layer.label,
        "package": layer.package,
        "version": importlib.metadata.version(layer.package),
        "as": layer.norm,
        "computes": layer.computes,
        "departs": layer.departs,
        "conforms": report.conforms,
        "understood": report.understood,
        "said": headline,
    }


def installed(package: str) -> bool:
    """Whether there is one of this name."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return bool(importlib.metadata.version(package))
    return False


def main() -> int:
    """Run all, print what is misjudged, and write the record if nothing is."""
    rows, wrong = [], 0
    for layer in LAYERS:
        if not installed(layer.package):
            print(f"{layer.label}: {layer.package} is not installed", flush=True)
            wrong += 1
            continue
        report = ask(layer)
        rows.append(row(layer, report))
        faults = misjudged(layer, report)
        wrong += bool(faults)
        print(f"{layer.label} as {layer.norm}: {rows[-1]['said']}", *faults, sep="\n", flush=True)
    if not wrong:
        record = {
            "command": "python -m tests.check.real_layers",
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "python": platform.python_version(),
            "numpy": importlib.metadata.version("numpy"),
            "rows": rows,
        }
        RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{len(rows) - wrong} of {len(LAYERS)} as reasoned out")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
