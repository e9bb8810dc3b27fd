"""Studies: what one is, what it returns and how it runs; and all studies by name."""

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
    verdicts: list[str]  #: a line for each claim, with its interval; empty if there are no claims
    notes: list[str]  #: what one must know to read the numbers
    data: dict[str, Any]  #: the numbers, as they come back from JSON: keys are strings, sequences are lists
    #: the paired difference that each verdict judges, in the same order; empty if they judge none
    differences: Sequence[Interval | None] = ()


class Context(NamedTuple):
    """What the command line sets for a study's runs."""

    seeds: tuple[int, ...]
    settings: Mapping[str, Any]  #: fields of `RunConfig` that all runs share: the data, its sizes, the recipe
    layer: str = "norm4"  #: the normaliser whose statistics are drawn


def usual(context: Context, own: Mapping[str, Any] = MappingProxyType({}), **fixed: Any) -> Context:
    """Return the context with the `fixed` settings; those not set come from `own`, then from its images' defaults."""
    return context._replace(settings=filled({**context.settings, **fixed}, own))


RUNS = frozenset(
    ("seeds", "jobs", "dask", "device", "train_size", "test_size", "width", "epochs", "lr", "weight_decay")
)
"""The options of ``mabn-ref paper`` that a study with runs reads, by their names in argparse."""
IMAGES = RUNS | {"data", "data_dir", "network", "augment"}
"""The options of studies on whole images. Scenes are generated, not augmented, and have a network of their own."""
OPTIONS = IMAGES | {"layer"}
"""All options that some studies read and others do not."""


class Study(NamedTuple):
    """A study: its runs, and the evaluation of their records."""

    title: str  #: one line
    #: the runs, given the records so far: runs may depend on the outcome of earlier ones
    plan: Callable[[Context, Records], list[RunConfig]]
    outcome: Callable[[Context, Records], Outcome]
    #: matplotlib figures by name, "" for a single one, from an outcome's data or from those of a written file
    draw: Callable[[Mapping[str, Any]], dict[str, Any]]
    #: does a run; a function of a module, so that it can be sent to any process; None: `train.runs.run_one`
    run: Callable[..., dict[str, Any]] | None = None
    #: the file of its records. Studies with the same `run` share it, and so the runs they have in common.
    file: str = "results.jsonl"
    seeds: int = 3
    #: completes the context that the command line gives, so that it has all settings
    suited: Callable[[Context], Context] = usual
    #: the `OPTIONS` it reads; others are refused, and do not appear in what it writes
    reads: frozenset[str] = IMAGES
    #: the fewest gradient batches of training images that it needs
    batches: int = 1


def no_runs(context: Context, records: Records) -> list[RunConfig]:
    """Plan no runs, for a study that simulates or measures."""
    return []


def complete(
    study: Study,
    context: Context,
    known: Records,
    run: Callable[[list[RunConfig]], Iterable[dict[str, Any] | Exception]],
) -> tuple[list[RunConfig], list[dict[str, Any]]]:
    """Do the runs that are not `known`, and repeat as long as their outcome leads the study to plan more.

    `run` takes a list of configurations and returns their records, or the exceptions of those that failed; these are
    not tried again. Returns all runs of the study and all records known at the end.
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
    """The studies by name. A study's file is imported on access: a simulation needs no training loop."""

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
        """Return a line for each study: its name and its subject."""
        return "".join(f"  {name:<12}  {about}\n" for name, (_, about) in self._rows.items())


STUDIES = _Studies()
"""All studies: the search, to which tables refer, and long training; then in the order of the paper.

Each is a constant in its file, with its name in capitals.
"""
