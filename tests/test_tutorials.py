"""Every tutorial runs from top to bottom without a warning, and has what each should have.

It has a title, figures whose axes have labels with units, a question to answer before the code is run, and three
questions with their answers at the end.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from mabn_ref.learn.exercise import Exercise, course
from tests.docs.building import written
from tests.strategies import many

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "tutorials").glob("[0-9][0-9]_*.py"))
HUNG = 3600  # seconds after which a script is taken to hang; most take two, on a slow and busy machine two hundred
# A test has no screen.
QUIET = 'import warnings\nwarnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive")\n'
# What the open figures show.
FIGURES = """
import matplotlib.pyplot as plt
figures = []
for figure in map(plt.figure, plt.get_fignums()):
    figure.canvas.draw()
    shown = [axes for axes in figure.axes if axes.axison]
    titles = [figure.get_suptitle(), *(axes.get_title() for axes in shown)]
    labels = []
    for axes in shown:
        for axis, shared in ((axes.xaxis, figure.get_supxlabel()), (axes.yaxis, figure.get_supylabel())):
            if axis.get_visible() and any(tick.get_visible() and tick.get_text() for tick in axis.get_ticklabels()):
                labels.append(axis.label.get_text() or shared)
    figures.append({"titles": [title for title in titles if title], "labels": labels})
"""
# Runs a script as `python script` would, and says what its figures show.
RUN = f"""{QUIET}
import json, runpy, sys, time
runpy.run_path(sys.argv[1], run_name="__main__")
seconds = time.process_time()
{FIGURES}
print("\\n" + json.dumps({{"seconds": seconds, "figures": figures}}))
"""

SHORTER = {
    "01_what_batch_norm_does": {"in range(100)": "in range(20)"},
    "08_training_with_controls": {
        "= 300, 75, 32, range(4)": "= 50, 5, 32, range(3)",
        "train_size=2400, test_size=1000": "train_size=160, test_size=100",
    },
    "12_data_parallel": {"= 20, 32, 0.05": "= 4, 32, 0.05"},
}
"""What is replaced in scripts that train for long; the pages and the profile `thorough` run all of it."""


def shortened(script: Path, folder: Path) -> Path:
    """The script, or a copy in the folder that trains for fewer steps."""
    if script.stem not in SHORTER or many(0, 1):
        return script
    source = script.read_text(encoding="utf-8")
    for full, short in SHORTER[script.stem].items():
        assert source.count(full) == 1, full
        source = source.replace(full, short)
    (folder / script.name).write_text(source, encoding="utf-8")
    return folder / script.name


def run(script: Path) -> dict[str, Any]:
    """Run a script with warnings as errors; return its processor time, and titles and labels of its figures."""
    pytest.importorskip("matplotlib", reason='matplotlib is not installed: pip install "mabn_ref[run]"')
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, str(script)],
        env=os.environ | {"MPLBACKEND": "agg", "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tutorials")))},
        capture_output=True,
        text=True,
        timeout=HUNG,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def lacks(found: dict[str, Any]) -> list[str]:
    """What is missing in the figures of a run."""
    missing = [] if found["figures"] else ["a figure"]
    for number, figure in enumerate(found["figures"], start=1):
        if not figure["titles"]:
            missing.append(f"figure {number}: a title")
        for label in figure["labels"]:
            # "lag (iterations)" or "Ψ, in thousandths"
            if not re.search(r"\(.+\)|\bin \w+", label):
                missing.append(f"figure {number}: a unit in {label!r}")
    return missing


def outputs(script: Path) -> str:
    """What the cells of code print, with a line ``# %%`` between two."""
    cells = re.split(r"^# %%\n", script.read_text(encoding="utf-8"), flags=re.MULTILINE)
    space: dict[str, Any] = {"__name__": "__main__"}
    printed = []
    for cell in cells[1:]:  # the first is the title
        if re.search(r"^[^#\s]", cell, re.MULTILINE):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(cell, str(script), "exec"), space)
            printed.append(out.getvalue())
    return "# %%\n".join(printed)


def _needs_torch(script: Path) -> bool:
    return "\nimport torch\n" in script.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "script",
    [pytest.param(s, id=s.stem, marks=[pytest.mark.frameworks] * _needs_torch(s)) for s in SCRIPTS],
)
def test_runs(script: Path, tmp_path: Path) -> None:
    if _needs_torch(script):
        pytest.importorskip("torch", reason="PyTorch is not installed")
    found = run(shortened(script, tmp_path))
    print(f"{script.name} took {found['seconds']:.1f} s of processor time")  # shown by pytest -rP; it decides nothing
    assert lacks(found) == []


@pytest.mark.frameworks
@pytest.mark.parametrize("script", [s for s in SCRIPTS if _needs_torch(s)], ids=lambda script: script.stem)
def test_record_is_what_the_script_prints(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For pages where PyTorch is missing. Numbers may differ by rounding; the test's failure shows the new text."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("matplotlib", reason='matplotlib is not installed: pip install "mabn_ref[run]"')
    monkeypatch.syspath_prepend(script.parent)
    monkeypatch.setenv("MPLBACKEND", "agg")
    number = r"-?\d+\.?\d*(?:e-?\d+)?"
    recorded, printed = script.with_suffix(".txt").read_text(encoding="utf-8"), outputs(script)
    assert re.sub(number, "0", recorded) == re.sub(number, "0", printed), printed
    assert [float(x) for x in re.findall(number, recorded)] == pytest.approx(
        [float(x) for x in re.findall(number, printed)], rel=0.3, abs=1e-6
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_form(script: Path) -> None:
    """A numbered title, and at the end three questions and as many folded answers."""
    source = script.read_text(encoding="utf-8")
    title, underline = (ast.get_docstring(ast.parse(source)) or "").splitlines()[:2]
    assert re.match(rf"{script.stem[:2]} \w", title)
    assert underline == "=" * len(title)
    text = re.sub(r"^# ?", "", source, flags=re.MULTILINE)
    answers = r"\.\. admonition:: Answers\n   :collapsible: closed\n\n(.+?)"
    found = re.search(rf"\nQuestions\n-+\n\n(.+?)\n\n{answers}(\nExercises\n-+\n|\Z)", text, re.DOTALL)
    assert found is not None
    questions, answered = (re.findall(r"^ *(\d)\. ", part, re.MULTILINE) for part in found.groups()[:2])
    assert questions == answered == ["1", "2", "3"]
    assert found.group(1).count("?") >= 3


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_asks_before_it_shows(script: Path) -> None:
    """At least one box "Predict before you run" with a question in it, and the code that answers right after it."""
    source = script.read_text(encoding="utf-8")
    box = r"^# \.\. admonition:: Predict before you run\n#    :class: predict\n#\n((?:#    .+\n)+)\n+[^#\s]"
    questions = re.findall(box, source, re.MULTILINE)
    assert len(questions) == source.count("Predict before you run") >= 1
    assert all("?" in question for question in questions)


def test_numbers_are_in_order() -> None:
    assert [script.stem[:2] for script in SCRIPTS] == [f"{number:02}" for number in range(1, len(SCRIPTS) + 1)]


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        ([], ["a figure"]),
        (["plt.plot([1, 2])"], ["figure 1: a title", "figure 1: a unit in ''", "figure 1: a unit in ''"]),
        (["plt.title('t')", "plt.xlabel('t (s)')", "plt.ylabel('height')"], ["figure 1: a unit in 'height'"]),
        (["plt.title('t')", "plt.xlabel('t (s)')", "plt.ylabel('height, in m')", "plt.show()"], []),
        (["f, (a, b) = plt.subplots(2, sharex=True)", "f.suptitle('t')", "b.set_xlabel('t (s)')"], ["ylabel"] * 2),
    ],
)
def test_a_bare_figure_is_noticed(lines: list[str], missing: list[str]) -> None:
    plt = pytest.importorskip("matplotlib.pyplot", reason='matplotlib is not installed: pip install "mabn_ref[run]"')
    plt.close("all")
    space: dict[str, Any] = {}
    with warnings.catch_warnings():
        exec("\n".join([QUIET, "import matplotlib.pyplot as plt", *lines, FIGURES]), space)
    plt.close("all")
    assert lacks(space) == [m.replace("ylabel", "figure 1: a unit in ''") for m in missing]


def test_a_warning_is_noticed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import numpy as np\nprint(np.log(np.zeros(1)))\n")
    with pytest.raises(AssertionError, match="RuntimeWarning"):
        run(script)


BY_NUMBER = {int(script.name[:2]): script for script in SCRIPTS}


@pytest.mark.parametrize("exercise", [pytest.param(exercise, id=exercise.name) for exercise in course()])
def test_an_exercise_names_tutorials_that_have_its_equations(exercise: Exercise) -> None:
    """So that a new order of the tutorials is noticed."""
    for number in exercise.tutorials:
        text = BY_NUMBER[number].read_text(encoding="utf-8")
        assert any(re.search(rf"(?<![\w-]){label}(?![\w-])", text) for label in exercise.equations), number
    assert set(exercise.tutorials) >= set(map(int, re.findall(r"[Tt]utorials?\s+(\d+)", exercise.statement)))


@pytest.mark.parametrize("page", [ROOT / "README.md", *written()], ids=lambda page: str(page.relative_to(ROOT)))
def test_a_number_of_a_tutorial_is_a_link_to_that_tutorial(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in (r":doc:`([^`<]*)<([^`>]*)>`", r"\[([^]]*)\]\(([^)]*)\)"):
        for words, target in re.findall(link, text):
            if number := re.search(r"[Tt]utorial\s+(\d+)", words):
                stem = target.removesuffix(".py").rpartition("/")[2]
                assert stem == BY_NUMBER[int(number[1])].stem, words
        text = re.sub(link, "", text)
    assert not re.findall(r"[Tt]utorials?\s+\d+", text)
