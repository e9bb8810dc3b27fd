"""Tables of the recorded benchmarks, read from ``docs/results/benchmarks/*.json`` when the pages are built."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from located import LocatedDirective
from sphinx.application import Sphinx

FOLDER = Path(__file__).resolve().parents[1] / "results" / "benchmarks"
LAYER_PARTS = ("forward", "weight gradient", "input gradient")


def recorded(name: str = "results") -> dict[str, Any]:
    """A record, without a name the one of all sections."""
    results: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return results


def medians(results: dict[str, Any], section: str, table: str) -> dict[str, float]:
    """The median of every contestant of one table."""
    return {name: timing[0] for name, timing in results["results"][section]["tables"][table].items()}


def convolutions(results: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Milliseconds of all convolutions of a step, by contestant and part; the first needs no input gradient."""
    sums: dict[str, dict[str, float]] = {}
    for i, table in enumerate(results["results"]["convolution"]["tables"]):
        for name, median in medians(results, "convolution", table).items():
            who, _, part = name.rpartition(", ")
            if i > 0 or part != "input gradient":
                sums.setdefault(who, dict.fromkeys(LAYER_PARTS, 0.0))[part] += median
    return sums


def claims(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The targets, in words, as a bound, and as measured."""
    step = medians(results, "step", "gradient batch 32")
    bn, mabn, native = step["BN 32"], step["MABN 2 + WC"], step["PyTorch BN 32"]
    grouped, micro = (step[f"PyTorch MABN + WC, {kind}"] for kind in ("grouped", "16 micro-batches of 2"))
    worst = 0.0
    for table in results["results"]["normalisers"]["tables"]:
        of = medians(results, "normalisers", table)
        last = next(value for name, value in of.items() if name.endswith("channels last"))
        worst = max([worst, *(value / last for name, value in of.items() if name.split()[0] not in ("a", "PyTorch"))])
    memory = max(medians(results, "memory", "peak memory").values())
    imported = medians(results, "imports", "import")["mabn_ref, beyond NumPy"]
    return [
        ("BN 32 step, in units of PyTorch's, contiguous", "at most 1.00", f"{bn / native:.2f}"),
        (
            "BN 32 step, in units of PyTorch's, channels last",
            "at most 1.10",
            f"{bn / step['PyTorch BN 32, channels last']:.2f}",
        ),
        ("MABN 2 step, in units of our BN 32", "at most 1.05", f"{mabn / bn:.2f}"),
        ("MABN in PyTorch, one grouped call, in units of our MABN 2", "at least 1.10", f"{grouped / mabn:.2f}"),
        ("MABN in PyTorch, 16 micro-batches, in units of our MABN 2", "at least 4.5", f"{micro / mabn:.2f}"),
        ("slowest normaliser alone, in units of PyTorch's BN, channels last", "at most 1.3", f"{worst:.2f}"),
        ("import of mabn_ref beyond NumPy's own", "under 30 ms", f"{imported:.1f} ms"),
        ("peak memory of a training run", "under 600 MB", f"{memory:.0f} MB"),
    ]


def _table(head: list[str], rows: list[list[str]]) -> nodes.table:
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=4 if i == 0 else 1) for i in range(len(head))]
    top, body = nodes.thead(), nodes.tbody()
    for part, lines in ((top, [head]), (body, rows)):
        for line in lines:
            row = nodes.row()
            for text in line:
                row += nodes.entry("", nodes.paragraph(text=text))
            part += row
    group += [top, body]
    return nodes.table("", group)


class _Recorded(LocatedDirective):
    """A directive whose page is made anew when the record changes."""

    def made(self) -> list[nodes.Node]:
        for file in FOLDER.glob("*.json"):
            self.env.note_dependency(str(file))
        return self.shown(recorded(self.options.get("record", "results")))

    def shown(self, results: dict[str, Any]) -> list[nodes.Node]:
        """What a kind of table or figure makes of the record."""
        raise NotImplementedError


class Table(_Recorded):
    """``benchmark-table:: SECTION``: its tables, or the one named by ``:only:``, with ratios to ``:reference:``."""

    required_arguments = 1
    option_spec = dict.fromkeys(("record", "reference", "only"), directives.unchanged_required)

    def shown(self, results: dict[str, Any]) -> list[nodes.Node]:
        section = results["results"][self.arguments[0]]
        unit, reference = section["unit"], self.options.get("reference")
        found: list[nodes.Node] = []
        for title, timings in section["tables"].items():
            if self.options.get("only", title) != title:
                continue
            spread = any(low != high for _, low, high in timings.values())
            head = ["", f"median, {unit}" if spread else unit]
            head += ["quartiles"] * spread + ["ratio"] * (reference is not None)
            rows = []
            for name, (median, low, high) in timings.items():
                ratio = [f"{median / timings[reference][0]:.2f}"] if reference is not None else []
                rows.append([name, f"{median:.3g}", *([f"{low:.3g} – {high:.3g}"] if spread else []), *ratio])
            found += [nodes.paragraph("", "", nodes.strong(text=title)), _table(head, rows)]
        if not found:
            known = ", ".join(section["tables"])
            raise self.error(f"there is no table {self.options['only']!r}, expected one of {known}")
        return found


class Beside(_Recorded):
    """``benchmark-beside:: SECTION``: a row for each of its tables; each contestant, and the ratios of the first."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec = dict.fromkeys(("record",), directives.unchanged_required)

    def shown(self, results: dict[str, Any]) -> list[nodes.Node]:
        section = results["results"][self.arguments[0]]
        first, *others = dict.fromkeys(name for table in section["tables"].values() for name in table)
        rows = []
        for title, timings in section["tables"].items():
            cells = {name: _with_quartiles(*timing) for name, timing in timings.items()}
            ratios = {name: f"{timings[first][0] / timing[0]:.2f}" for name, timing in timings.items()}
            rows.append([title, *(cells.get(name, "") for name in (first, *others))])
            rows[-1] += [ratios.get(name, "") for name in others]
        return [_table([section["unit"], first, *others, *(f"{first} : {name}" for name in others)], rows)]


def _with_quartiles(median: float, low: float, high: float) -> str:
    return f"{median:.3g}" if low == high else f"{median:.3g} ({low:.3g} – {high:.3g})"


class Claims(_Recorded):
    """``benchmark-claims``: the targets beside what was measured, in each record of all sections."""

    def shown(self, results: dict[str, Any]) -> list[nodes.Node]:
        each = zip(claims(results), claims(recorded("avx2")), claims(recorded("intel")), strict=True)
        rows = [[*claim, *(measured for *_, measured in others)] for claim, *others in each]
        return [_table(["", "target", "AMD, AVX-512", "AMD, AVX2", "Intel"], rows)]


class Gap(_Recorded):
    """``benchmark-gap``: the convolutions of a step, part by part, beside their matrix products alone."""

    def shown(self, results: dict[str, Any]) -> list[nodes.Node]:
        sums = convolutions(results)
        rows = [[part, *(f"{sums[who][part]:.1f}" for who in sums)] for part in LAYER_PARTS]
        rows.append(["all convolutions", *(f"{math.fsum(sums[who].values()):.1f}" for who in sums)])
        step = medians(results, "step", "gradient batch 32")
        whole = {who: step.get("BN 32" if who == "ours" else who.replace("PyTorch", "PyTorch BN 32")) for who in sums}
        rows.append(["the whole step, BN 32", *(f"{ms:.1f}" if ms is not None else "" for ms in whole.values())])
        return [_table(["ms", *sums], rows)]


class Layers(_Recorded):
    """``benchmark-layers``: forward and both gradients of each convolution together."""

    def shown(self, results: dict[str, Any]) -> list[nodes.Node]:
        rows, names = [], []
        for table in results["results"]["convolution"]["tables"]:
            sums: dict[str, float] = {}
            for name, median in medians(results, "convolution", table).items():
                who = name.rpartition(", ")[0]
                sums[who] = sums.get(who, 0.0) + median
            names = list(sums)
            rows.append([table, *(f"{ms:.2f}" for ms in sums.values())])
        return [_table(["ms", *names], rows)]


class Machine(_Recorded):
    """``benchmark-machine``: where and how the record was made."""

    def shown(self, results: dict[str, Any]) -> list[nodes.Node]:
        versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
        machine = results["machine"]
        lines = {
            "Command": results["command"],
            "Processor": f"{machine['processor']}, one core of {machine['cores']}, {machine['system']}",
            "Versions": f"{versions}; {results['blas']}",
            "Clock": results["clock"],
            "Rounds": f"{results['rounds']} of the training step; seed {results['seed']}",
        }
        fields = nodes.field_list()
        for name, text in lines.items():
            body = nodes.literal(text=text) if name == "Command" else nodes.Text(text)
            fields += nodes.field(
                "", nodes.field_name(text=name), nodes.field_body("", nodes.paragraph("", "", body))
            )
        return [fields]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("benchmark-table", Table)
    app.add_directive("benchmark-beside", Beside)
    app.add_directive("benchmark-claims", Claims)
    app.add_directive("benchmark-gap", Gap)
    app.add_directive("benchmark-layers", Layers)
    app.add_directive("benchmark-machine", Machine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
