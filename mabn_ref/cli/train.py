"""``mabn-ref train``: one run; ``fetch``: download images for it; ``export``: write its network as ONNX."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mabn_ref import extras, storage
from mabn_ref.cli import options
from mabn_ref.cli.parser import (
    UsageError,
    add_command,
    add_name,
    add_number,
    add_place,
    ending_in,
    place,
    usage_errors,
)
from mabn_ref.train.config import (
    DECAY,
    GROUPS,
    READ_BY,
    SAMPLE_NORMS,
    TRAINED,
    RunConfig,
    label,
    recipe,
    state_fields,
)
from mabn_ref.train.table_layout import WIDTH

if TYPE_CHECKING:
    from mabn_ref.train import starting

_EXPORT = """\
Write the network of a checkpoint as an ONNX file. Its normalisers are folded into the convolutions before them.
Group, layer and instance normalisation cannot be folded and stay nodes of their own. The model takes images of shape
(N, 3, H, W), normalised as in training. Needs the extra "onnx".
"""
_FILES = ("results.jsonl", "curve.png", ".lock")  #: what is written in the directory of --out
_NORMS = [name for name in TRAINED if name != "moving"]  # "moving" needs settings that only `mabn-ref paper` has


def add(commands: Any) -> None:
    """Add the three commands and their options."""
    parser = add_command(commands, "train", run, "train one network", "Train a network with one normaliser.")
    norm = parser.add_argument_group("normaliser")
    add_name(norm, "--norm", "norm", _NORMS, f"{', '.join(_NORMS)}; default mabn", "mabn")
    samples = f"samples that share statistics (default 2; 1 for {', '.join(SAMPLE_NORMS)})"
    add_number(norm, "--norm-batch", int, None, samples, at_least=1)
    norm.add_argument(
        "--wc",
        dest="centralized",
        action=argparse.BooleanOptionalAction,
        help="centralise the weights of the convolutions (default: as in the paper, with modified-bn and mabn only)",
    )
    norm.add_argument("--ws", dest="standardized", action="store_true", help="standardise the weights instead")
    decays = ", ".join(f"{name} {decay}" for name, decay in DECAY.items() if name in _NORMS)
    old = f"weight of the old value in moving averages (default {decays})"
    add_number(norm, "--decay", float, None, old)
    divisor = f"groups of channels, for gn only (default: the greatest common divisor of {GROUPS} and the width)"
    add_number(norm, "--groups", int, None, divisor, at_least=1)
    windows = "normalisation batches in the moving averages of mabn and un (default: as many as a gradient batch has)"
    add_number(norm, "--mabn-window", int, None, windows, at_least=1, at_most=100_000, metavar="M", dest="window")
    options.add_devices(norm)
    options.add_run_options(parser)
    add_number(parser, "--seed", int, 0, "seed of the initial weights, batch order, flips and crops")
    again = "test a second time, with the statistics of all training images in place of the moving averages"
    parser.add_argument("--re-estimate", action="store_true", help=again)
    output = parser.add_argument_group("output")
    add_place(output, "--out", "append to DIR/results.jsonl and draw DIR/curve.png")
    kept = "keep a checkpoint in FILE; if FILE exists, resume from it"
    output.add_argument("--checkpoint", type=_file, metavar="FILE", help=kept)
    begun = "begin from the network of this checkpoint; layers whose name or shape differs start fresh"
    add_place(output, "--from", begun, metavar="CHECKPOINT", dest="start")
    add_number(output, "--checkpoint-every", int, 100, "gradient batches between checkpoints", at_least=1)
    once = "Download a data set unless it is in the cache already, and print its path."
    parser = add_command(commands, "fetch", _fetch, "download CIFAR-10 into the cache", once)
    add_name(parser, "name", "data set", ("cifar10",), "cifar10")
    parser = add_command(commands, "export", _export, "write a trained network as ONNX", _EXPORT)
    add_place(parser, "checkpoint", "a checkpoint written by `mabn-ref train --checkpoint`", metavar="CHECKPOINT")
    parser.add_argument("file", type=ending_in(".onnx"), metavar="FILE.onnx", help="the file to write")


def _export(args: argparse.Namespace) -> None:
    from mabn_ref.train import checkpoints, export

    extras.require("onnx", "onnx")
    if args.file.resolve() == args.checkpoint.resolve():
        raise UsageError(f"argument FILE.onnx: {str(args.file)!r} is the checkpoint, expected another name")
    with usage_errors():
        config, net = checkpoints.load_network(args.checkpoint)
        model = export.to_onnx(net)
    storage.write(args.file, lambda file: file.write(model.SerializeToString()))
    print(f"{label(config)}, seed {config.seed}: {len(net.layers)} layers as {len(model.graph.node)} nodes")
    print(options.written([args.file]))


def _fetch(args: argparse.Namespace) -> None:
    from mabn_ref.data.fetch import fetch_cifar10

    with usage_errors():
        print(fetch_cifar10())


def run(args: argparse.Namespace) -> int:
    """Train, then print the error."""
    from mabn_ref.train import starting

    options.require(args)
    chosen = ("centralized", "decay", "window", "groups")
    given = {field: getattr(args, field) for field in chosen if getattr(args, field) is not None}
    for field, norms in READ_BY.items():
        unused = getattr(RunConfig, field)
        if args.norm not in norms and given.get(field, unused) != unused:
            those = ", ".join(norm for norm in norms if norm in _NORMS)
            raise UsageError(
                f"{field} is {given[field]} with norm={args.norm}, expected none: only {those} can use it"
            )
    if args.standardized and args.centralized:
        raise UsageError("argument --ws: not allowed with argument --wc")
    if args.re_estimate and "iteration" not in state_fields(args.norm):
        raise UsageError(f"argument --re-estimate: {args.norm} has no moving statistics")
    if args.standardized:
        given = {"standardized": True, "centralized": False} | given
    with usage_errors():
        source = None if args.start is None else starting.from_checkpoint(args.start)
        config = recipe(
            args.norm,
            norm_batch=args.norm_batch or (1 if args.norm in SAMPLE_NORMS else 2),
            **given,
            **options.settings(args),
            devices=args.devices,
            seed=args.seed,
            start=None if source is None else source.name,
        )
        images = len(options.require_images(config).train.labels)
    with contextlib.ExitStack() as locks:
        if args.checkpoint is not None:
            _refuse_files_of(args.out, args.checkpoint)
            locks.enter_context(options.lock(args.checkpoint.with_name(args.checkpoint.name + ".lock")))
        return _train(args, config, images, source, locks)


def _file(text: str) -> Path:
    """Refuse the name of a directory."""
    path = place(text)
    if not path.name or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a directory, expected a file or the name of a new one")
    return path


def _refuse_files_of(out: Path | None, checkpoint: Path) -> None:
    """Refuse a checkpoint with the path of a file that `--out` writes."""
    if out is not None and os.path.realpath(checkpoint) in {os.path.realpath(out / name) for name in _FILES}:
        raise UsageError(f"argument --checkpoint: {checkpoint} is a file that --out writes, expected another one")


def _train(
    args: argparse.Namespace,
    config: RunConfig,
    images: int,
    source: starting.Source | None,
    locks: contextlib.ExitStack,
) -> int:
    from mabn_ref.train import checkpoints, comparison, population, results, runs, starting
    from mabn_ref.train.progress import Bar

    records, begun, trained = list[dict[str, Any]](), False, False

    def watched(*_: object) -> None:
        """Read the results before the first step, but after the checkpoint, which may be refused, has been loaded."""
        nonlocal begun
        if args.out is not None and not begun:
            locks.enter_context(options.lock(args.out / ".lock"))
            with usage_errors():
                records.extend(results.read(args.out / "results.jsonl"))
                results.prepare(args.out / "results.jsonl")
        begun = True

    def report(now: runs.Report) -> None:
        nonlocal trained
        trained = True
        bar.report(config, now)
        if now.line is not None:
            bar.say(
                f"epoch {now.line.epoch}/{config.epochs}: loss {now.line.train_loss:.3f}, training error "
                f"{now.line.train_error:.1f} %, test error {now.line.test_error:.1f} %, {now.line.seconds:.1f} s"
            )

    with Bar(runs=1) as bar:
        try:
            record = (population.run_reestimated if args.re_estimate else runs.run_one)(
                config,
                report=report,
                watched=watched,
                checkpoint=args.checkpoint,
                checkpoint_every=args.checkpoint_every,
                device=args.device,
                source=source,
            )
        except (checkpoints.CheckpointError, starting.DoesNotFit) as error:
            raise UsageError(error) from error
        except KeyboardInterrupt:
            if args.checkpoint is not None and args.checkpoint.exists():
                raise KeyboardInterrupt(f"the same command resumes from {args.checkpoint}") from None
            raise
    files = []
    if args.out is not None:
        # a run that resumes from its last checkpoint may have been recorded before it was killed
        if not any(_of_one_training(old, record, config) for old in records):
            files.append(args.out / "results.jsonl")
            results.append(files[-1], record)
        if record["status"] == "done":
            files.append(args.out / "curve.png")
            title = f"{label(config)}, {options.data_title(config, images)}"
            comparison.learning_curves(files[-1], comparison.collect([config], [record]), title)
    if source is not None:
        layers = (f"{what}: {', '.join(names)}" for what, names in record["start"]["layers"].items())
        print(textwrap.fill(f"Began from {source.name}; {'; '.join(layers)}", WIDTH, subsequent_indent="  "))
    done = record["status"] == "done"
    if done:
        last = record["epochs"][-1]["test_error"]
        print(f"{label(config)}: test error {last:.2f} % after {options.count(config.epochs, 'epoch')}")
    if done and args.re_estimate:
        again = record["augmented_error" if config.augment else "population_error"]
        found = "an output is not finite" if again is None else f"test error {again:.2f} %"
        print(f"with statistics of all training images: {found}")
    if done and not trained:
        print(f"The run in {args.checkpoint} was finished already.")
    files += [args.checkpoint] if trained and args.checkpoint is not None and args.checkpoint.exists() else []
    if files:
        print(options.written(files))
    if not done:
        print(f"mabn-ref train: error: the run diverged at {record['message']}", file=sys.stderr)
    return 0 if done else 1


def _of_one_training(old: dict[str, Any], record: dict[str, Any], config: RunConfig) -> bool:
    """Tell whether `old` records the same training as `record`, apart from versions and machine."""
    from mabn_ref.train import results

    apart = {"config", *results.made_with()}
    alike = all(old.get(name) == value for name, value in record.items() if name not in apart)
    return alike and results.find([old], config) is not None
