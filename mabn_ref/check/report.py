"""What a check found: text for people, a dictionary for machines."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mabn_ref import __version__
from mabn_ref.check.tolerance import TENSORS, Difference
from mabn_ref.norms import NORMS

NAMES = {
    "bn": "batch normalisation",
    "brn": "Batch Renormalization",
    "modified-bn": "modified batch normalisation",
    "gn": "group normalisation",
    "ln": "layer normalisation",
    "in": "instance normalisation",
    "online": "Online Normalization",
    "frn": "Filter Response Normalization",
}
"""Names of normalisers in sentences, where they differ from those in tables."""

INPUTS = {2: "(N, C)", 3: "sequences", 4: "images", 5: "volumes"}
"""What a headline calls inputs, by the number of their axes."""


WIDTH = 80
"""Columns of a terminal."""

COLUMNS = {name: max(8, len(name) + 1) for name in TENSORS}
"""Widths of the columns of the table."""


@dataclass(frozen=True)
class Finding:
    """One thing that the target does, as its numbers show."""

    #: where it showed first: "z", "state", "inferred", "dx", "dgamma" or "dbeta"; "behaviour"; "" for part of a
    #: preset
    tensor: str
    words: str
    mistake: str = ""  #: its name in `mabn_ref.mistakes`, or ""
    equation: str = ""  #: the equation that a mistake breaks, or ""
    accepted: bool = False  #: whether it is a convention rather than a disagreement


@dataclass(frozen=True)
class Row:
    """A scenario: how many steps ran, why it stopped or was left out, and the largest relative errors."""

    scenario: str
    steps: int
    why: str
    errors: dict[str, float]


@dataclass(frozen=True)
class Report:
    """What a check found. `target` is the layer, and `norm` the normaliser that it should be."""

    target: str
    norm: str
    preset: str  #: the nearest convention with a name; "" if nothing ran
    #: hyper-parameters that the layer does not take, read off its numbers
    hyper: dict[str, Any] = field(default_factory=dict)
    findings: Sequence[Finding] = ()  #: what it does differently from this project, conventions and mistakes
    #: what nothing reproduces: the first place of every scenario, or why it stopped
    differences: Sequence[Difference | str] = ()
    rows: Sequence[Row] = ()  #: the scenarios
    notes: Sequence[str] = ()  #: what is unusual but harmless
    #: errors in float32 against exact arithmetic: (median, largest) in units in the last place, of z and dx
    ulps: dict[str, tuple[float, float]] = field(default_factory=dict)
    other: str = ""  #: if its outputs are not understood: another normaliser that has these outputs, if any
    smaller: str = ""  #: the same, if it has normalisation batches smaller than a call: how to check it then
    taylor: str = ""  #: whether backward is the derivative of forward, if a gradient is not understood
    ranks: Sequence[int] = ()  #: the numbers of axes of the inputs that were run, and compared
    differing: Sequence[int] = ()  #: those of them for which something remains unexplained
    usual: int = 0  #: the number that most scenarios have: the few others do not prove that those are right
    refused: dict[int, str] = field(default_factory=dict)  #: those that were not, and why
    not_run: dict[str, str] = field(default_factory=dict)  #: scenarios and probes that were not run, and why
    behaviour: Sequence[str] = ()  #: the probes of `mabn_ref.check.behaviour` that found nothing
    limits: Sequence[str] = ()  #: what users of a layer that conforms should know; its numbers are right all the same
    broken: str = ""  #: on which inputs, accepted by forward, backward or inference fails, and how; or ""

    @property
    def conforms(self) -> bool:
        """Whether all numbers are those of the equations, in some accepted convention."""
        return self.understood and not self.wrong

    @property
    def understood(self) -> bool:
        """Whether the layer ran and everything that it returned is reproduced, mistakes included."""
        return bool(self.preset) and not self.differences and not self.broken

    @property
    def wrong(self) -> list[Finding]:
        """The findings that are disagreements rather than conventions."""
        return [finding for finding in self.findings if not finding.accepted]

    @property
    def lost(self) -> set[str]:
        """The tensors in which something remains unexplained."""
        return {difference.tensor for difference in self.differences if isinstance(difference, Difference)}

    @property
    def mistakes(self) -> list[str]:
        """The names of the mistakes found, each once."""
        return list(dict.fromkeys(finding.mistake for finding in self.findings if finding.mistake))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as numbers, texts, lists and dictionaries, for JSON."""
        kept: dict[str, Any] = _finite(
            {
                "format": 1,
                "version": __version__,
                "target": self.target,
                "as": self.norm,
                "conforms": self.conforms,
                "understood": self.understood,
                "axes": list(self.ranks),
                "differing_axes": list(self.differing),
                "limits": list(self.limits),
                "broken": self.broken,
                "not_run": {**{f"{rank} axes": why for rank, why in self.refused.items()}, **self.not_run},
                "convention": self.preset,
                "hyper_parameters": {name: _plain(value) for name, value in self.hyper.items()},
                "findings": [asdict(finding) for finding in self.findings],
                "differences": [d if isinstance(d, str) else asdict(d) for d in self.differences],
                "scenarios": [asdict(row) for row in self.rows],
                "notes": list(self.notes),
                "float32_ulps": {name: list(values) for name, values in self.ulps.items()},
                "other": self.other,
                "smaller_batches": self.smaller,
                "taylor": self.taylor,
                "behaviour": list(self.behaviour),
            }
        )
        return kept

    def __str__(self) -> str:
        """Return a report of some thirty lines: the verdict, in one line of any length, and the evidence."""
        lines = [f"{self.target} as {called(self.norm)}: {self._verdict()}"]
        if self.conforms:
            lines.append(f"  the same choices as {self.preset}")
        if self.other:
            lines.append(f"  its outputs are those of {called(self.other)}: check it with --as {self.other}")
        if self.smaller:
            lines.append(f"  {self.smaller}")
        if self.hyper:
            values = ", ".join(f"{name} {_plain(value)}" for name, value in self.hyper.items())
            lines.append(f"  read off its numbers: {values}")
        kept = [finding for finding in self.findings if finding.accepted]
        for title, found in (("what is wrong", self.wrong), ("its conventions", kept)):
            lines += [f"{title}:"] if found else []
            for finding in found:
                where = f"{finding.tensor}: " if finding.tensor else ""
                named = "; ".join(filter(None, (finding.mistake, finding.equation)))
                named = f" [{named}]" if named else ""
                lines.append(f"  {where}{finding.words}{named}")
        if self.differences:
            told = "where it first differs:" if self.other or self.smaller else "what remains unexplained:"
            lines.append(told if self.preset else "why:")
            lines += [f"  {difference}" for difference in self.differences]
        if not self.preset:
            return "\n".join([lines[0], *map(_filled, lines[1:])])
        if self.taylor:
            lines.append(f"  {self.taylor}")
        lines += self._not_run()
        if self.behaviour:
            lines.append(f"behaves as it should: {', '.join(self.behaviour)}")
        after = []
        if self.ulps:
            worst = ", ".join(f"{name} {m:.1f} (largest {w:.0f})" for name, (m, w) in self.ulps.items())
            after.append(f"float32 against exact arithmetic, median error in ulps: {worst}")
        after += [f"note: {note}" for note in self.notes]
        return "\n".join([lines[0], *map(_filled, lines[1:]), *self._table(), *map(_filled, after)])

    def _verdict(self) -> str:
        if not self.preset:
            return f"DIFFERS: {self.broken}{self._covered()}" if self.broken else "it could not be compared"
        wrong = self.wrong
        alone = not self.differences and all(finding.tensor == "behaviour" for finding in wrong)
        if self.differing and self.usual not in self.differing and not wrong and not self.broken:
            where = f"DIFFERS on {listed([INPUTS[rank] for rank in self.differing])}; its numbers conform"
            return where + self._covered(self.differing) + "".join(f"; but {limit}" for limit in self.limits)
        if not self.conforms and not alone:
            known = "for known reasons" if len(wrong) > 1 else "for a known reason"
            return "DIFFERS" + (f", {known}" if self.understood else "") + (f"; {self.broken}" if self.broken else "")
        faults = ", ".join(dict.fromkeys(finding.mistake or finding.words.partition(":")[0] for finding in wrong))
        if self.broken:
            more = f"; its behaviour differs too ({faults})" if wrong else ""
            return f"DIFFERS: {self.broken}{more}; its numbers conform{self._covered()}"
        if wrong:
            return f"DIFFERS in its behaviour alone ({faults}); its numbers conform{self._covered()}"
        return f"conforms{self._covered()}" + "".join(f"; but {limit}" for limit in self.limits)

    def _covered(self, differing: Sequence[int] = ()) -> str:
        """On which inputs, except those `differing`, and which inputs were not run."""
        ran = [INPUTS[rank] for rank in self.ranks if rank not in differing]
        not_run = [INPUTS[rank] for rank in sorted(self.refused)]
        covered = f" on {listed(ran)}" if ran else ""
        if self.refused.get(4):
            not_run.remove(INPUTS[4])
            covered += f"; images were not run: {self.refused[4]}"
        return covered + (f"; not run: {listed(not_run)}" if not_run else "")

    def _not_run(self) -> list[str]:
        """One line for each reason."""
        named: dict[str, list[str]] = {}
        for name, why in self.not_run.items():
            named.setdefault(why, []).append(name)
        return ["not run:"] * bool(named) + [f"  {', '.join(names)}: {why}" for why, names in named.items()]

    def _table(self) -> list[str]:
        title = "remaining errors" if self.wrong else "largest relative errors"
        lines = [f"{title:<25}{'steps':>5}" + "".join(f"{name:>{w}}" for name, w in COLUMNS.items())]
        for row in self.rows:
            if not row.errors:
                continue
            errors = "".join(
                f"{row.errors[name]:{w}.0e}" if name in row.errors else " " * w for name, w in COLUMNS.items()
            )
            lines.append(f"  {row.scenario:<23}{row.steps:>5}{errors}{f'  stopped: {row.why}' if row.why else ''}")
        return lines


def _filled(line: str) -> str:
    """Wrap a line at the width of a terminal, with two more spaces of indent from the second line on."""
    indent = " " * (2 + len(line) - len(line.lstrip()))
    return textwrap.fill(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def listed(names: Sequence[str]) -> str:
    """Return names with commas, and "and" before the last."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def called(norm: str) -> str:
    """Return what a sentence calls a normaliser."""
    return NAMES.get(norm) or NORMS[norm].title


def _finite(tree: Any) -> Any:
    """Numbers that JSON has no name for, as None."""
    if isinstance(tree, dict):
        return {name: _finite(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def _plain(value: Any) -> Any:
    """A ramp, in words; numbers as they are."""
    if hasattr(value, "at"):
        return f"{value.first:g} to {value.last:g} from iteration {value.start} to {value.stop}"
    return value
