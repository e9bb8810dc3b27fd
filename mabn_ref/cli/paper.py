"""``mabn-ref paper``: the paper's tables, figures and theorems in miniature."""

from __future__ import annotations

import argparse
import shlex
import sys
import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mabn_ref import storage
from mabn_ref.cli import options
from mabn_ref.cli.parser import Help, UsageError, add_command, add_name, add_number, add_place, usage_errors
from mabn_ref.cli.progress import Progress
from mabn_ref.paper import output
from mabn_ref.paper.study import OPTIONS, STUDIES, Context, Outcome, Study, complete
from mabn_ref.paper.summary import summary
from mabn_ref.train import results
from mabn_ref.train.config import RunConfig
from mabn_ref.train.table_layout import WIDTH

if TYPE_CHECKING:
    from mabn_ref.train import datasets

_DESCRIPTION = """\
Reproduce a table, figure or theorem of the paper in miniature. The command prints what it finds beside the paper's
numbers, with 95 % intervals and verdicts, and writes DIR/NAME.json, .png and .svg. "all" runs every study and also
writes them all on one page, DIR/report.html. Each finished run is a line of a file in DIR and is not repeated, so the
same command resumes after an interruption, and studies share the runs they have in common. A study refuses an option
that it does not read; with "all", each study gets those that it reads. The sizes and the recipe given below as
defaults hold for most studies: long, table3 and table5 to table8_devices have their own.
"""
_EPILOG = f"studies:\n{STUDIES.listing()}"


def add(commands: Any) -> None:
    """Add the command and its options."""
    parser = add_command(commands, "paper", run, "the paper's tables, figures and theorems", _DESCRIPTION, _EPILOG)
    parser.formatter_class = _Help
    add_name(parser, "name", "study", (*STUDIES, "all"), f"{', '.join(STUDIES)}, or all")
    seeds = "run seeds 0 to N - 1 (default 3; theorem2: 1; long, table3 and table5 to table8_devices: 5)"
    add_number(parser, "--seeds", int, None, seeds, at_least=1)
    where = parser.add_mutually_exclusive_group()
    add_number(where, "--jobs", int, None, "runs in parallel (default: one per core)", at_least=1)
    cluster = "run on the Dask cluster at tcp://HOST:PORT (extra dask)"
    where.add_argument("--dask", type=_address, metavar="ADDRESS", help=cluster)
    layers = [f"norm{n}" for n in range(1, 8)]
    shown = "the layer that the study figures shows, norm1 to norm7 (default %(default)s)"
    add_name(parser, "--layer", "layer", layers, shown, "norm4")
    options.add_run_options(parser)
    add_place(parser, "--out", "write to DIR (default %(default)s)", Path("paper"))


class _Help(Help):
    """Help in which the list of studies keeps its lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text != _EPILOG:
            return super()._fill_text(text, width, indent)
        # wrapped lines start in the second column
        layout: Any = {"width": width, "subsequent_indent": " " * 16, "break_on_hyphens": False}
        return "\n".join(textwrap.fill(line, **layout) for line in text.splitlines())


def _address(text: str) -> str:
    """Refuse what cannot be the address of a scheduler. Whether a scheduler answers takes seconds to find out."""
    scheme, _, place = text.rpartition("://")
    host, _, port = place.rpartition(":")
    if scheme not in ("", "tcp", "tls") or not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise argparse.ArgumentTypeError(f"{text!r}, expected tcp://HOST:PORT or HOST:PORT")
    return text


def run(args: argparse.Namespace) -> int:
    """Run one study or all of them."""
    if args.name != "all":
        _refuse_unread(args)
    options.require(args)
    command = f"mabn-ref {shlex.join(_without_places(sys.argv[1:]))}"
    names = list(STUDIES) if args.name == "all" else [args.name]
    contexts = {name: _context(args, STUDIES[name]) for name in names}
    with usage_errors():
        first = {name: STUDIES[name].plan(contexts[name], []) for name in names}
    # Images from files are the same in all runs; generated ones need no check.
    named = [config for configs in first.values() for config in configs if config.data != "embedded"]
    images = options.require_images(named[0]) if named else None
    for name, configs in first.items():
        _refuse_few_images(name, configs, images)
    digest = images.digest if images else None
    with options.lock(args.out / ".lock"):
        return _run_studies(args, contexts, command, first, digest)


def _refuse_unread(args: argparse.Namespace) -> None:
    """Refuse an option that the study does not read, unless it repeats the default."""
    reads = STUDIES[args.name].reads
    for name in sorted(OPTIONS - reads):
        if (value := getattr(args, name)) != args.parser.get_default(name):
            known = ", ".join(_option(read) for read in sorted({*reads, "out"}))
            raise UsageError(f"argument {_option(name, value)}: {args.name} does not read it; it reads {known}")


def _refuse_few_images(name: str, configs: Sequence[RunConfig], images: datasets.Images | None) -> None:
    """Refuse fewer gradient batches than the study needs; `images` are those that were read from files, if any."""
    if not configs:
        return
    config, batches = configs[0], STUDIES[name].batches
    fewest = batches * config.gradient_batch
    held, said = config.train_size, f"train_size is {config.train_size}"
    if held is None and images is not None:
        held = len(images.train.labels)
        said = f"{config.data_dir} holds {held} training images{' that are not held out' * config.held_out}"
    if held is not None and held < fewest:
        raise UsageError(f"{said}, expected at least {fewest}: {name} needs {batches} gradient batches")


def _option(name: str, value: object = None) -> str:
    return f"--{'no-' if value is False else ''}{name.replace('_', '-')}"


def _context(args: argparse.Namespace, study: Study) -> Context:
    """Return the study's context from the options that it reads; with "all", some options are for other studies."""
    seeds = args.seeds if args.seeds is not None and "seeds" in study.reads else study.seeds
    said = {field: value for field, value in options.said(args).items() if field in study.reads}
    return study.suited(Context(tuple(range(seeds)), said, args.layer))


def _run_studies(
    args: argparse.Namespace,
    contexts: Mapping[str, Context],
    command: str,
    first: Mapping[str, Sequence[RunConfig]],
    digest: str | None,
) -> int:
    failed, found, lost = list[Exception](), dict[str, tuple[Study, Outcome]](), list[str]()

    def run_missing(name: str, configs: list[RunConfig]) -> list[dict[str, Any] | Exception]:
        study, path = STUDIES[name], args.out / STUDIES[name].file
        print(f"{name}: {options.count(len(configs), 'run')} to do; results go to {path}", file=sys.stderr)
        done = options.sweep(
            configs, args, path, digest=digest, run=study.run, dask=args.dask, name=f"{name}, ", lacking=args.out
        )
        failed.extend(error for error in done if isinstance(error, Exception))
        return done

    for name, context in contexts.items():
        study = STUDIES[name]
        known = options.recorded(args.out / study.file, first[name], digest)
        with usage_errors():
            planned, records = complete(study, context, known, partial(run_missing, name))
            with Progress(name):
                outcome = study.outcome(context, records)
        # A study that plans no runs has no images.
        about = ""
        if planned:
            shared = {"gradient_batch": planned[0].gradient_batch, **context.settings}
            about = f"{_about(shared)}, {options.count(len(context.seeds), 'seed')}\n"
        print(f"{study.title}\n{about}\n{output.as_text(outcome)}\n")
        paths = output.write(name, study, outcome, context, args.out, command, planned, records)
        print(f"{options.written(paths)}\n\n{textwrap.fill(summary(outcome.verdicts), WIDTH)}".rstrip() + "\n")
        found[name] = (study, outcome)
        ended = {(results.find(records, config) or {}).get("status") for config in planned}
        lost += [name] * (ended == {"diverged"})
    if args.name == "all":
        path = args.out / "report.html"
        html = output.page(found, f"{_about(options.settings(args))}; {_made_with()}; {command}")
        storage.write(path, html.encode())
        print(f"Written: {path}")
    if lost:
        print(f"mabn-ref paper: error: every run of {', '.join(lost)} diverged", file=sys.stderr)
    return options.code_of(failed, "paper") or int(bool(lost))


def _without_places(words: Sequence[str]) -> list[str]:
    """Drop the options on where to run and write: what is left is what others type to get the same numbers."""
    kept, rest = list[str](), iter(words)
    for word in rest:
        option, _, value = word.partition("=")
        if option not in ("--out", "--jobs", "--dask"):
            kept.append(word)
        elif not value:
            next(rest, None)  # the value, a word of its own
    return kept


def _made_with() -> str:
    versions, machine = results.made_with().values()
    return (
        f"mabn_ref {versions['mabn_ref']}, NumPy {versions['numpy']}, Python {versions['python']}, "
        f"{machine['system']}, {options.count(machine['cores'] or 1, 'core')}"
    )


def _about(shared: Mapping[str, Any]) -> str:
    from mabn_ref.train import datasets

    config = RunConfig(**shared)
    with usage_errors():
        images = len(datasets.load(config).train.labels)
    return f"{options.data_title(config, images)}, {options.count(config.epochs, 'epoch')}"
