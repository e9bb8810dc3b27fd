"""What ``train``, ``compare`` and ``paper`` share: options, checks before hours of training, a sweep with its bar."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mabn_ref import extras, storage
from mabn_ref.cli.parser import add_name, add_number, usage_errors
from mabn_ref.train.config import DEFAULTS, RunConfig, label
from mabn_ref.train.devices import DEVICES, library

__all__ = [
    "add_run_options",
    "count",
    "data_title",
    "failures",
    "lock",
    "require",
    "require_images",
    "settings",
    "sweep",
]


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that fill the fields of a `RunConfig` other than the normaliser's."""
    source = parser.add_argument_group("data").add_mutually_exclusive_group()
    help = "embedded (generated, no file needed) or cifar10 (see `mabn-ref fetch`); default %(default)s"
    add_name(source, "--data", "data set", ("embedded", "cifar10"), help, "embedded")
    source.add_argument(
        "--data-dir",
        type=_directory,
        metavar="DIR",
        help="a directory of CIFAR-10 binary files: data_batch_*.bin to train on, test_batch*.bin to test on",
    )
    recipe = parser.add_argument_group("sizes and recipe")
    for field, meaning, most in (
        ("train_size", "training images, class-balanced", 10**7),
        ("test_size", "test images, class-balanced", 10**7),
        ("width", "channels of the first convolution", 4096),
        ("epochs", "passes over the training images", 10**6),
    ):
        option = f"--{field.replace('_', '-')}"
        add_number(recipe, option, int, None, f"{meaning} ({_defaults_of(field)})", at_least=1, at_most=most)
    add_number(recipe, "--lr", float, None, f"highest learning rate ({_defaults_of('lr')})", metavar="RATE")
    add_number(recipe, "--weight-decay", float, 5e-4, "on every parameter", metavar="DECAY")
    recipe.add_argument("--no-augment", action="store_true", help="no random flips and crops")
    help = "cpu, or cuda (needs CuPy: extras cupy12x, cupy13x); default %(default)s"
    add_name(parser, "--device", "device", DEVICES, help, "cpu")


def _directory(text: str) -> str:
    """Refuse what results, pages and pictures cannot name; an empty name would be the current directory."""
    if not text or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a directory with a printable name")
    return text


def _defaults_of(field: str) -> str:
    embedded, cifar10, directory = (values[field] or "all" for values in DEFAULTS.values())
    return f"default: embedded {embedded}, cifar10 {cifar10}, --data-dir {directory}"


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of `RunConfig` that the options give."""
    data = "directory" if args.data_dir is not None else args.data
    given = {field: getattr(args, field) for field in DEFAULTS[data] if getattr(args, field) is not None}
    return {
        "data": data,
        "data_dir": args.data_dir,
        **DEFAULTS[data],
        **given,
        "weight_decay": args.weight_decay,
        "augment": not args.no_augment,
    }


def require(args: argparse.Namespace) -> None:
    """Find out now, and not after hours of training, that a package is missing or the device cannot be used."""
    for module in ("threadpoolctl", "tqdm", "matplotlib"):
        extras.require(module, "run")
    library(args.device)


def lock(path: Path) -> contextlib.AbstractContextManager[None]:
    """Keep other commands out of what they would write, too: wait for who holds it, and say who that is."""
    return storage.lock(path, lambda holder: print(f"waiting for {holder}, which holds {path}", file=sys.stderr))


def require_images(config: RunConfig) -> int:
    """Return how many images there are to train on, and say what is odd about them.

    That they cannot be had or learned from is found out now, and not in every run: a `UsageError`.
    """
    from mabn_ref.train import datasets

    with usage_errors():
        images = datasets.load(config)
    for colour, mean, std in zip(("red", "green", "blue"), images.mean, images.std, strict=True):
        if std == 0:
            print(f"note: {colour} is {mean:.0f} in all training images; training leaves it out", file=sys.stderr)
    return len(images.train.labels)


def sweep(
    configs: Sequence[RunConfig],
    args: argparse.Namespace,
    path: Path,
    *,
    run: Callable[..., dict[str, Any]] | None = None,
    dask: str | None = None,
    name: str = "",
    lacking: Path | None = None,
) -> list[dict[str, Any] | Exception]:
    """Run `configs` with one bar over all of them, and a line for each; return their records, or why they failed.

    `lacking` is the place that an interrupt leaves some missing in.
    """
    from mabn_ref.train import sweeps
    from mabn_ref.train.progress import Bar
    from mabn_ref.train.runs import run_one

    jobs, records = min(args.jobs or os.cpu_count() or 1, len(configs)), list[dict[str, Any] | Exception]()
    try:
        with Bar(runs=len(configs)) as bar, sweeps.executor(jobs, dask, bar.report) as pool:
            for config, record in sweeps.sweep(configs, pool, path, args.device, run or run_one):
                records.append(record)
                bar.end(config, f"{name}{label(config)}, seed {config.seed}{_end_of(record)}")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the same command goes on with the runs that {lacking or path} lacks") from None
    return records


def _end_of(record: dict[str, Any] | Exception) -> str:
    if isinstance(record, Exception):
        return f" failed: {type(record).__name__}: {record}"
    if record["status"] == "diverged":
        return f" diverged: {record['message']}"
    return f": test error {record['epochs'][-1]['test_error']:.2f} %, {record['seconds']:.0f} s"


_LASTING = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


def failures(errors: Sequence[Exception]) -> str:
    """Say how many runs failed, and whether the same command may do better."""
    text = f"runs that failed: {len(errors)}; the same command "
    if all(isinstance(error, _LASTING) for error in errors):
        return f"{text}would fail again: {errors[0]}"
    return f"{text}runs them again"


def count(number: int, noun: str) -> str:
    """Return "1 epoch", "2 epochs"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def data_title(config: RunConfig, images: int) -> str:
    """Say in a few words what was trained on."""
    name = {"embedded": "embedded data", "cifar10": "CIFAR-10"}.get(config.data, config.data_dir)
    return f"{name}, {images:,} training images"
