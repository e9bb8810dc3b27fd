"""What ``train``, ``compare`` and ``paper`` share: options, checks before long training, a sweep with a bar."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mabn_ref import extras, storage
from mabn_ref.cli.parser import add_name, add_number, usage_errors
from mabn_ref.nn.networks import NETWORKS
from mabn_ref.train.config import DEFAULTS, RunConfig, filled, label
from mabn_ref.train.devices import DEVICES, library
from mabn_ref.train.table_layout import WIDTH

if TYPE_CHECKING:
    from mabn_ref.train import datasets


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that set the fields of `RunConfig`, except those of the normaliser."""
    source = parser.add_argument_group("data").add_mutually_exclusive_group()
    help = "embedded (generated, needs no file) or cifar10 (see `mabn-ref fetch`); default %(default)s"
    add_name(source, "--data", "data set", ("embedded", "cifar10"), help, "embedded")
    source.add_argument(
        "--data-dir",
        type=_directory,
        metavar="DIR",
        help="a directory of CIFAR-10 binary files: data_batch_*.bin for training, test_batch*.bin for testing",
    )
    recipe = parser.add_argument_group("sizes and recipe")
    for field, meaning, most in (
        ("train_size", "training images, divided among the classes as evenly as possible", 10**7),
        ("test_size", "test images, likewise", 10**7),
        ("width", "channels of the first convolution", 4096),
        ("epochs", "passes over the training images", 10**6),
    ):
        option = f"--{field.replace('_', '-')}"
        add_number(recipe, option, int, None, f"{meaning} ({_defaults_of(field)})", at_least=1, at_most=most)
    known = f"{', '.join(NETWORKS)}; default %(default)s"
    add_name(recipe, "--network", "network", NETWORKS, known, "plain")
    add_number(recipe, "--lr", float, None, f"peak learning rate ({_defaults_of('lr')})", metavar="RATE")
    decay = f"weight decay of every parameter (default {RunConfig.weight_decay:g})"
    add_number(recipe, "--weight-decay", float, None, decay, metavar="DECAY")
    flips = "random flips and crops (default: embedded no, cifar10 and --data-dir yes)"
    recipe.add_argument("--augment", action=argparse.BooleanOptionalAction, default=None, help=flips)
    help = "cpu, or cuda, which needs CuPy (extra cupy12x or cupy13x); default %(default)s"
    add_name(parser, "--device", "device", DEVICES, help, "cpu")


def add_devices(group: argparse._ActionsContainer) -> None:
    """Add the option of `train` and `compare` that divides the gradient batch among devices."""
    help = "simulated devices that share the gradient batch, each with moving statistics of its own"
    add_number(group, "--devices", int, 1, help, at_least=1)


def _directory(text: str) -> str:
    """Refuse the empty name, which means the current directory, and names that results and pictures cannot show."""
    if not text or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a directory with a printable name")
    return text


def _defaults_of(field: str) -> str:
    embedded, cifar10, directory = (values[field] or "all" for values in DEFAULTS.values())
    return f"default: embedded {embedded}, cifar10 {cifar10}, --data-dir {directory}"


def said(args: argparse.Namespace) -> dict[str, Any]:
    """Return only those fields of `RunConfig` that the command line sets."""
    data = "directory" if args.data_dir is not None else args.data
    given = {field: getattr(args, field) for field in (*DEFAULTS[data], "weight_decay")}
    return {
        "data": data,
        "data_dir": args.data_dir,
        **{field: value for field, value in given.items() if value is not None},
        **({"network": args.network} if args.network != "plain" else {}),
    }


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the fields that the command line sets, with the usual values for the others."""
    return filled(said(args))


def require(args: argparse.Namespace) -> None:
    """Fail now, not after hours of training, if a package is missing or the device cannot be used."""
    for module in ("threadpoolctl", "tqdm", "matplotlib"):
        extras.require(module, "run")
    library(args.device)


def lock(path: Path) -> contextlib.AbstractContextManager[None]:
    """Return a lock against commands that write the same files; while another process holds it, name it and wait."""
    return storage.lock(path, lambda holder: print(f"waiting for {holder}, which holds {path}", file=sys.stderr))


def require_images(config: RunConfig) -> datasets.Images:
    """Return the images, and print a note on each channel that is constant.

    If there are no images, or nothing can be learned from them, raise `UsageError` now rather than in every run.
    """
    from mabn_ref.train import datasets

    with usage_errors():
        images = datasets.load(config)
    for colour, mean, std in zip(("red", "green", "blue"), images.mean, images.std, strict=True):
        if std == 0:
            print(f"note: {colour} is {mean:.0f} in all training images; training leaves it out", file=sys.stderr)
    return images


def recorded(path: Path, configs: Sequence[RunConfig], digest: str | None) -> list[dict[str, Any]]:
    """Return a file's records of the present images; print how many `configs` run again since images changed."""
    from mabn_ref.train import results

    with usage_errors():
        found = results.read(path)
    records = results.of_images(found, digest)
    if again := [config for config in results.missing(configs, records) if results.find(found, config)]:
        images = f"other images than {again[0].data_dir} holds now"
        kept = "they are run again, and the old records stay in the file"
        print(f"{len(again)} of {len(configs)} runs in {path} are of {images}: {kept}", file=sys.stderr)
    return records


def sweep(
    configs: Sequence[RunConfig],
    args: argparse.Namespace,
    path: Path,
    *,
    digest: str | None,
    run: Callable[..., dict[str, Any]] | None = None,
    dask: str | None = None,
    name: str = "",
    lacking: Path | None = None,
    again: str = "the same command",
) -> list[dict[str, Any] | Exception]:
    """Run `configs` with one bar for all and a line for each; return their records, or the exceptions of failed runs.

    `digest` is that of the images. After an interrupt, a message says that `again` resumes with the runs that are not
    yet in `lacking`, by default `path`.
    """
    from mabn_ref.train import results, sweeps
    from mabn_ref.train.progress import Bar
    from mabn_ref.train.runs import run_one

    jobs, records = min(args.jobs or os.cpu_count() or 1, len(configs)), list[dict[str, Any] | Exception]()
    names = _told_apart(configs)
    try:
        with Bar(runs=len(configs)) as bar, sweeps.executor(jobs, dask, bar.report) as pool:
            for config, record in sweeps.sweep(configs, pool, path, args.device, run or run_one):
                if not isinstance(record, Exception) and not results.of_images([record], digest):
                    record = RuntimeError(f"{config.data_dir} held other images than when this command began")
                records.append(record)
                bar.end(config, f"{name}{names[config]}{_end_of(record)}")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{again} resumes with the runs that are not yet in {lacking or path}") from None
    return records


def _told_apart(configs: Sequence[RunConfig]) -> dict[RunConfig, str]:
    """Name runs by label and seed; add the fields in which runs differ, such as the rate, where both are the same."""
    alike: dict[tuple[str, int], list[RunConfig]] = {}
    for config in configs:
        alike.setdefault((label(config), config.seed), []).append(config)
    names = {}
    for (title, seed), runs in alike.items():
        differing = [name for name in runs[0].as_dict() if len({getattr(run, name) for run in runs}) > 1]
        for run in runs:
            settings = (f"{name} {getattr(run, name)}" for name in differing)
            names[run] = ", ".join([title, *settings, f"seed {seed}"])
    return names


def _end_of(record: dict[str, Any] | Exception) -> str:
    if isinstance(record, Exception):
        return f" failed: {type(record).__name__}: {record}"
    if record["status"] == "diverged":
        return f" diverged: {record['message']}"
    return f": test error {record['epochs'][-1]['test_error']:.2f} %, {record['seconds']:.0f} s"


_LASTING = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


def code_of(errors: Sequence[Exception], command: str, again: str = "the same command") -> int:
    """Print how many runs failed and whether `again`, the command to repeat, would help; return the exit code."""
    if not errors:
        return 0
    lasting = all(isinstance(error, _LASTING) for error in errors)
    advice = f"the same command would fail again: {errors[0]}" if lasting else f"{again} runs them again"
    print(f"mabn-ref {command}: error: runs that failed: {len(errors)}; {advice}", file=sys.stderr)
    return 1


def written(files: Iterable[Path]) -> str:
    """Return the line that names the files that a command has written."""
    names = f"Written: {', '.join(map(str, files))}"
    return textwrap.fill(names, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def can_print(text: str) -> bool:
    """Tell whether standard output can print the characters of `text`."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def count(number: int, noun: str) -> str:
    """Return "1 epoch", "2 epochs"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def data_title(config: RunConfig, images: int) -> str:
    """Say in a few words which images were trained on."""
    name = {"embedded": "embedded data", "cifar10": "CIFAR-10"}.get(config.data, config.data_dir)
    return f"{name}, {images:,} training images" + ("" if config.network == "plain" else f", {config.network}")
