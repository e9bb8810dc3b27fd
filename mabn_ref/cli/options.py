"""The options that ``train`` and ``compare`` share."""

from __future__ import annotations

import argparse
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

from mabn_ref.cli.parser import add_number, name_from, usage_errors
from mabn_ref.extras import require
from mabn_ref.train.config import DEFAULTS, RunConfig
from mabn_ref.train.devices import DEVICES

__all__ = ["add_run_options", "count", "data_title", "failures", "require_images", "require_run_extra", "settings"]


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that fill the fields of a `RunConfig` other than the normaliser's."""
    source = parser.add_argument_group("data").add_mutually_exclusive_group()
    source.add_argument(
        "--data",
        type=name_from("data set", ("embedded", "cifar10")),
        default="embedded",
        metavar="NAME",
        help="embedded (generated, no file needed) or cifar10 (see `mabn-ref fetch`); default %(default)s",
    )
    source.add_argument(
        "--data-dir",
        type=_directory,
        metavar="DIR",
        help="a directory of CIFAR-10 binary files: data_batch_*.bin to train on, test_batch*.bin to test on",
    )
    recipe = parser.add_argument_group("sizes and recipe")
    for field, meaning in (
        ("train_size", "training images, class-balanced"),
        ("test_size", "test images, class-balanced"),
        ("width", "channels of the first convolution"),
        ("epochs", "passes over the training images"),
    ):
        add_number(recipe, f"--{field.replace('_', '-')}", int, None, f"{meaning} ({_said(field)})", at_least=1)
    add_number(recipe, "--lr", float, None, f"highest learning rate ({_said('lr')})", metavar="RATE")
    add_number(recipe, "--weight-decay", float, 5e-4, "on every parameter", metavar="DECAY")
    recipe.add_argument("--no-augment", action="store_true", help="no random flips and crops")
    parser.add_argument(
        "--device",
        type=name_from("device", DEVICES),
        default="cpu",
        metavar="NAME",
        help="cpu, or cuda (needs CuPy: extras cupy12x, cupy13x); default %(default)s",
    )


def _directory(text: str) -> str:
    """Refuse what results, pages and pictures cannot name; an empty name would be the current directory."""
    if not text or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a directory with a printable name")
    return text


def _said(field: str) -> str:
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


def require_run_extra() -> None:
    """Find out now, and not after hours of training, that a package is missing.

    Raises
    ------
    ImportError
        Naming the package and the extra.
    """
    for module in ("threadpoolctl", "tqdm", "matplotlib"):
        require(module, "run")


def require_images(config: RunConfig) -> int:
    """Find out now, and not in every run, that the images cannot be had or learned from; say what is odd about them.

    Returns
    -------
    int
        How many there are to train on.

    Raises
    ------
    UsageError
        If a file, or a size asked for, is wrong.
    """
    from mabn_ref.train import datasets

    with usage_errors():
        images = datasets.load(config)
    for colour, mean, std in zip(("red", "green", "blue"), images.mean, images.std, strict=True):
        if std == 0:
            print(f"note: {colour} is {mean:.0f} in all training images; training leaves it out", file=sys.stderr)
    return len(images.train.labels)


_LASTING = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


def failures(errors: Sequence[Exception]) -> str:
    """Say how many runs failed, and whether the same command may do better.

    Examples
    --------
    >>> failures([OSError("No space left on device")])
    'runs that failed: 1; the same command runs them again'
    >>> failures([ValueError("x is 0")] * 3)
    'runs that failed: 3; the same command would fail again: x is 0'
    """
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
