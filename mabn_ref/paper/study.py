"""What a study is, what it returns, how it is run; and all studies by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from mabn_ref.train import results
from mabn_ref.train.config import RunConfig, filled
from mabn_ref.train.table_layout import Interval, Table

Records: TypeAlias = Sequence[dict[str, Any]]


class Outcome(NamedTuple):
    """What a study found."""

    tables: list[Table]
    verdicts: list[str]  #: one line a claim, each with its interval; none without
    notes: list[str]  #: what a reader must know to read the numbers
    data: dict[str, Any]  #: the numbers, as JSON gives them back: keys are strings, sequences are lists
    #: the paired difference that each verdict judges, parallel to these; empty where they judge none
    differences: Sequence[Interval | None] = ()


class Context(NamedTuple):
    """What the command line says of a study's runs."""

    seeds: tuple[int, ...]
    settings: Mapping[str, Any]  #: fields of `RunConfig` that every run shares: the data, its sizes, the recipe
    layer: str = "norm4"  #: the normaliser whose statistics are drawn


def usual(context: Context, own: Mapping[str, Any] = MappingProxyType({}), **fixed: Any) -> Context:
    """Return the context with what is `fixed`, and with what is usual for its images, or `own`, if not said."""
    return context._replace(settings=filled({**context.settings, **fixed}, own))


RUNS = frozenset(
    ("seeds", "jobs", "dask", "device", "train_size", "test_size", "width", "epochs", "lr", "weight_decay")
)
"""Options of ``mabn-ref paper`` that a study of runs reads, as argparse names them."""
IMAGES = RUNS | {"data", "data_dir", "network", "augment"}
"""Those of a study of runs on whole images. Scenes are generated, not augmented, and have a network of their own."""
OPTIONS = IMAGES | {"layer"}
"""All that some study reads and another one may not."""


class Study(NamedTuple):
    """A study: its runs, and what is made of their records."""

    title: str  #: one line
    #: the runs, given the records so far: a study may decide on runs by the outcome of earlier ones
    plan: Callable[[Context, Records], list[RunConfig]]
    outcome: Callable[[Context, Records], Outcome]
    #: matplotlib figures by a name, "" for the only one, from an outcome's data: from a file that was kept, too
    draw: Callable[[Mapping[str, Any]], dict[str, Any]]
    #: what a run is, a function of a module, so that any process can be sent it; None: `train.runs.run_one`
    run: Callable[..., dict[str, Any]] | None = None
    #: where its records go. Studies with the same `run` share the file, and so the runs they have in common.
    file: str = "results.jsonl"
    seeds: int = 3
    #: what it makes of what the command line says: all settings, those that it does not say as well
    suited: Callable[[Context], Context] = usual
    #: which of `OPTIONS` it reads: another one is refused, and what it writes says nothing of that
    reads: frozenset[str] = IMAGES
    #: gradient batches for which there must be training images
    batches: int = 1


def no_runs(context: Context, records: Records) -> list[RunConfig]:
    """Plan nothing: the study of a simulation or a measurement."""
    return []


def complete(
    study: Study,
    context: Context,
    known: Records,
    run: Callable[[list[RunConfig]], Iterable[dict[str, Any] | Exception]],
) -> tuple[list[RunConfig], list[dict[str, Any]]]:
    """Run what is not `known`, and again while the study decides on further runs by outcome.

    `run` runs a list of configurations, and returns their records, or why they failed; what failed is not asked for
    again. Returned are all runs of the study, and the records that are known then.
    """
    records, tried = list(known), set[RunConfig]()
    while True:
        planned = study.plan(context, records)
        configs = [config for config in results.missing(planned, records) if config not in tried]
        if not configs:
            return planned, records
        tried.update(configs)
        records += [record for record in run(configs) if not isinstance(record, Exception)]


class _Studies(Mapping[str, Study]):
    """A study's file is imported when the study is asked for: a simulation needs no training loop."""

    _rows = {  # noqa: RUF012
        "search": ("search", "every method tuned alike: the same number of settings each"),
        "long": ("long", "training to the end, with a learning rate tuned for every row"),
        "table1": ("table1_table2", "BN, BRN and MABN with 2 and with 32 samples"),
        "figure1b": ("table1_table2", "error against the number of samples that share statistics"),
        "table2": ("table1_table2", "the ablation: the parts of MABN added one by one"),
        "table4": ("table4", "every combination of form, averages and centralised weights"),
        "credit": ("table4", "what each part of MABN does to the small-batch gap"),
        "window": ("table1_table2", "MABN's window, decay, clip and start of r"),
        "related": ("table1_table2", "the methods of the paper's section 2"),
        "figures": ("figures", "Figures 2, 3 and 4: batch statistics during training"),
        "theorem1": ("theorem1", "bias and variance of both moving averages"),
        "theorem2": ("theorem2", "gradient noise: the theorem as printed, and repaired"),
        "weight_noise": ("weight_noise", "how much of that noise reaches the weights"),
        "equation6": ("equation6", "inference with statistics of the whole training set"),
        "table3": ("detection", "boxes: normalisers in the backbone of a detector, eight devices"),
        "table5": ("detection", "boxes: normalisers in the detector's head too"),
        "table6": ("table6", "boxes: fine-tuning a network that was trained to tell textures apart"),
        "table7": ("detection", "boxes: the paper's one-stage rows; only runs of table3"),
        "table8": ("table8", "a class for every pixel, weights updated after two images"),
        "table8_devices": ("table8", "the same on 8 devices, with one update for all of them"),
        "table9": ("table9", "time, memory and operations, with Figure 1(a)"),
    }

    def __getitem__(self, name: str) -> Study:
        study: Study = getattr(import_module(f"mabn_ref.paper.{self._rows[name][0]}"), name.upper())
        return study

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def listing(self) -> str:
        """Return a line for each: its name, and what it is about."""
        return "".join(f"  {name:<12}  {about}\n" for name, (_, about) in self._rows.items())


STUDIES = _Studies()
"""The search, which tables refer to, and long training; then the order of the paper.

Each is the constant of its name in capitals.
"""
