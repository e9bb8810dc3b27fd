"""What a study is, and what comes out of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from mabn_ref.train.config import RunConfig
from mabn_ref.train.intervals import Interval
from mabn_ref.train.runs import run_one

__all__ = ["Context", "Outcome", "Records", "Study", "Table"]

Records: TypeAlias = Sequence[dict[str, Any]]


class Table(NamedTuple):
    """Cells as text, the first column a name."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def __str__(self) -> str:
        """Write it as plain text.

        Examples
        --------
        >>> print(Table("Errors", ("", "runs"), [("BN 2", "3"), ("MABN 2", "10")]))
        Errors
                 runs
        BN 2        3
        MABN 2     10
        """
        lines = [self.header, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        text = [self.title] if self.title else []
        for line in lines:
            cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
            text.append("   ".join([line[0].ljust(widths[0]), *cells]).rstrip())
        return "\n".join(text)


class Outcome(NamedTuple):
    """What a study found."""

    tables: list[Table]
    verdicts: list[str]
    """One line a claim, each with its interval; none without."""
    notes: list[str]
    """What a reader must know to read the numbers."""
    data: dict[str, Any]
    """The numbers, as JSON gives them back: keys are strings, sequences are lists."""
    differences: Sequence[Interval | None] = ()
    """The paired difference that each verdict judges, parallel to these; empty where they judge none."""


class Context(NamedTuple):
    """What the command line says of a study's runs."""

    seeds: tuple[int, ...]
    settings: Mapping[str, Any]
    """Fields of `RunConfig` that every run shares: the data, its sizes, the recipe."""
    layer: str = "norm4"
    """The normaliser whose statistics are drawn."""


def _as_it_is(context: Context) -> Context:
    return context


class Study(NamedTuple):
    """A study: its runs, and what is made of their records."""

    title: str
    """One line."""
    plan: Callable[[Context, Records], list[RunConfig]]
    """The runs, given the records so far: a study may decide on runs by the outcome of earlier ones."""
    outcome: Callable[[Context, Records], Outcome]
    draw: Callable[[Mapping[str, Any]], dict[str, Any]]
    """matplotlib figures by a name, "" for the only one, from an outcome's data: from a file that was kept, too."""
    task: Callable[..., dict[str, Any]] = run_one
    """What a run is; a function of a module, so that any process can be sent it."""
    file: str = "results.jsonl"
    """Where its records go. Studies with the same task share the file, and so the runs they have in common."""
    seeds: int = 3
    suited: Callable[[Context], Context] = _as_it_is
    """What it makes of the command line's settings, if it has images of its own."""


def no_runs(context: Context, records: Records) -> list[RunConfig]:
    """Plan nothing: the study of a simulation or a measurement."""
    return []
