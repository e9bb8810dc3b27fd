"""A learner's way through the exercises: the folder, the commands, and watching, in a real terminal too."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import mabn_ref
from mabn_ref.cli import main
from mabn_ref.learn.exercise import course, find
from mabn_ref.learn.folder import STATE, Folder, Progress
from mabn_ref.learn.terminal import Style, check
from mabn_ref.learn.watch import watch
from tests.signals import HUNG

MOMENTS = find("moments")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A working folder of two exercises, which is also where commands run."""
    made = Folder(tmp_path / "work", course()[:2])
    made.make()
    monkeypatch.chdir(made.path)
    return made


def solve(folder: Folder, name: str = "moments") -> None:
    exercise = find(name)
    folder.file(exercise).write_text(exercise.solution)


def test_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Make the folder, fail, take a hint, get it wrong, pass, see the solution, go on."""

    def said(*arguments: str, code: int = 0) -> str:
        assert main(["learn", *arguments]) == code
        captured = capsys.readouterr()
        return captured.out + captured.err

    assert f"{len(course())} exercises written" in said(str(tmp_path / "work"))
    monkeypatch.chdir(tmp_path / "work")
    assert "01_moments/exercise.py:13\n" in said("check", code=1)
    assert "to do  mu" in said("check", code=1)
    assert "Hint 1 of 3" in said("hint")
    assert "Hint 1 of 3" not in said("hint")
    assert "Hint 3 of 3" in said("hint")
    again = said("hint")
    assert "There are no more hints. Here are all 3 again." in again
    assert all(f"Hint {k} of 3" in again for k in (1, 2, 3))
    assert said("hint", "--all").index("Hint 1 of 3") < said("hint", "--all").index("Hint 3 of 3")
    assert "has not passed yet" in said("solution", code=2)
    wrong = MOMENTS.with_mistakes("values-less-one")
    assert wrong is not None
    Path("01_moments/exercise.py").write_text(wrong)
    out = said("check", code=1)
    assert out.index("Your variance divides by M - 1") < out.index("var is not the variance")
    assert "1 of 2 points" in out
    Path("01_moments/exercise.py").write_text(MOMENTS.solution)
    out = said("check")
    assert "passed, 2 of 2 points" in out
    assert "Your code is the model solution, line for line." in out
    assert "Read on: tutorial 1, and in the derivations the equation bn-statistics." in out
    assert "Next is 02_bn_forward" in out
    assert "centred = x - mu" in said("solution")
    assert "02_bn_forward" in said("check", code=1).splitlines()[0]
    status = said("status").splitlines()
    assert status[0].startswith("  passed  01_moments")
    assert status[0].endswith("(3 hints)")
    assert status[1].startswith("> open    02_bn_forward")
    assert "kept as exercise.py.old" in said("reset", "1")
    assert Path("01_moments/exercise.py").read_text() == MOMENTS.skeleton
    assert Path("01_moments/exercise.py.old").read_text() == MOMENTS.solution
    assert "0/" in said("status").splitlines()[-1]


def test_a_folder_is_completed_and_nothing_in_it_lost(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    solve(folder)
    (folder.path / "02_bn_forward" / "exercise.py").unlink()
    assert folder.make() == ["02_bn_forward"]
    assert folder.file(MOMENTS).read_text() == MOMENTS.solution


def test_whoever_is_in_the_folder_is_not_sent_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["learn", "start", "work"]) == 0
    assert "\n\n  cd work\n  mabn-ref learn show\n" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path / "work")
    assert main(["learn", "start", "."]) == 0
    assert "were there already.\n\n  mabn-ref learn show\n" in capsys.readouterr().out


def test_what_is_kept_outlives_a_second_reset(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    solve(folder)
    folder.reset(MOMENTS)
    assert main(["learn", "reset", "1", "--dir", str(folder.path)]) == 0
    assert "kept" not in capsys.readouterr().out
    assert folder.file(MOMENTS).with_name("exercise.py.old").read_text() == MOMENTS.solution
    folder.file(MOMENTS).write_text("another beginning\n")
    assert main(["learn", "reset", "1", "--dir", str(folder.path)]) == 0
    assert "kept as exercise.py.old2" in capsys.readouterr().out
    assert folder.file(MOMENTS).with_name("exercise.py.old").read_text() == MOMENTS.solution


def test_what_is_not_begun_is_not_called_wrong(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "check", "--all"]) == 1
    assert [line[:6] for line in capsys.readouterr().out.splitlines()[:2]] == ["to do ", "to do "]
    folder.file(MOMENTS).write_text("def moments(x): return x")
    assert main(["learn", "check", "--all"]) == 1
    assert [line[:6] for line in capsys.readouterr().out.splitlines()[:2]] == ["wrong ", "to do "]
    assert folder.load().passed == frozenset()
    folder.file(MOMENTS).write_text(MOMENTS.solution)
    assert main(["learn", "check", "--all"]) == 1
    assert folder.load().passed == {MOMENTS.name}


@pytest.mark.parametrize(
    ("source", "reasons"),
    [
        ("def moments(x): return 1 / 0", ["see above", "see above"]),
        ("def moments(x): return x[0", ["see above", "see above"]),
        ("def moments(x): return None", ["moments returned nothing, expected mu, var", "see above"]),
    ],
)
def test_no_part_is_wrong_without_a_reason(
    folder: Folder, capsys: pytest.CaptureFixture[str], source: str, reasons: list[str]
) -> None:
    folder.file(MOMENTS).write_text(source)
    assert main(["learn", "check", "1"]) == 1
    said = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines() if line.startswith("  wrong")]
    assert said == [["wrong", name, reason] for name, reason in zip(("mu", "var"), reasons, strict=True)]


def test_no_solution_is_in_the_folder(folder: Folder) -> None:
    files = {path.name for path in folder.path.rglob("*") if path.is_file()}
    assert files == {"exercise.py", "statement.md", "README.md", STATE}


def test_what_is_added_leaves_notes_alone(folder: Folder) -> None:
    statement = folder.path / "01_moments" / "statement.md"
    statement.write_text("my notes")
    folder.make()
    assert statement.read_text() == "my notes"


def test_a_damaged_state_counts_as_none(folder: Folder) -> None:
    for text in ("", "[]", '{"passed": 3}', '{"passed": [], "hints": [], "current": ""}'):
        (folder.path / STATE).write_text(text)
        assert folder.current().name == "01_moments"
    right = {"passed": ["01_moments"], "hints": {"01_moments": 2}, "current": "02_bn_forward"}
    assert load(folder, right).hints == {"01_moments": 2}
    for key, value in (
        ("hints", {"01_moments": -7}),
        ("hints", {"01_moments": 1.5}),
        ("hints", {"01_moments": "2"}),
        ("passed", "01_moments"),
        ("passed", [1]),
        ("current", None),
    ):
        assert load(folder, right | {key: value}) == Progress(), (key, value)
        assert main(["learn", "hint", "1", "--dir", str(folder.path)]) == 0


def load(folder: Folder, state: dict[str, object]) -> Progress:
    (folder.path / STATE).write_text(json.dumps(state))
    return folder.load()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chekc"], "mabn-ref: error: unknown action 'chekc': did you mean 'check'? For a folder: ./chekc"),
        (
            ["check", "bn"],
            "learn: error: there is no exercise 'bn'; did you mean 02_bn_forward or 03_bn_backward_graph or ",
        ),
        (["reset", ""], "learn: error: there is no exercise ''; did you mean "),
        (["check", "momnts"], "learn: error: there is no exercise 'momnts'; did you mean 01_moments?"),
        (
            ["hint", "99"],
            f"no exercise '99'; there are {len(course())}, from 01_moments to {course()[-1].name}",
        ),
        (["check", "--all", "1"], "mabn-ref learn check: error: argument NAME: not allowed with argument --all"),
        (["01_moments/exercise.py"], "exercise.py is a file, expected a folder or the name of a new one"),
        (["start", "README.md/work"], "README.md is a file, expected a folder or the name of a new one"),
        (["course"], "is a folder of exercises; mabn-ref learn start "),
        (["check", "--sed", "3"], "unknown argument '--sed'; did you mean --seed?"),
        (["watch"], "mabn-ref learn: error: watch needs a terminal; mabn-ref learn check needs none"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], message: str, folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["learn", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


def test_outside_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["learn", "check"]) == 2
    assert "is in no folder of exercises; mabn-ref learn DIR makes one" in capsys.readouterr().err


def test_jumping_about_returns_to_the_first_open_exercise(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    """Check, hint, show and status mean the same exercise, also after a jump ahead and back."""

    def current() -> set[str]:
        names = set()
        for action in ("status", "hint", "show", "check"):
            main(["learn", action])
            out = capsys.readouterr().out
            if action == "status":
                out = next(line for line in out.splitlines() if line.startswith(">"))
            names |= {exercise.name for exercise in course()[:2] if exercise.name in out}
        return names

    assert current() == {"01_moments"}
    assert main(["learn", "hint", "2"]) == main(["learn", "show", "2"]) == 0
    capsys.readouterr()
    assert current() == {"01_moments"}  # whoever only looks ahead stays where they are
    assert main(["learn", "check", "2"]) == 1
    assert "The current exercise is now 02_bn_forward." in capsys.readouterr().out
    assert current() == {"02_bn_forward"}
    solve(folder, "bn_forward")
    assert main(["learn", "check"]) == 0
    assert "Next is 01_moments" in capsys.readouterr().out
    assert current() == {"01_moments"}


@pytest.mark.parametrize(("name", "end"), [("25", "have?"), ("19", "the convolution.")])
def test_the_next_title_ends_as_a_sentence(
    name: str, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Folder(tmp_path / "work", [find("moments"), find(name)])
    made.make()
    solve(made)
    passed, said = check(made, find("moments"), (0,), Style())
    assert passed
    assert said.endswith(f" {end}")


def test_in_the_folder_of_an_exercise_commands_mean_that_one(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    solve(folder, "bn_forward")
    deeper = folder.path / "02_bn_forward" / "notes"
    deeper.mkdir()
    monkeypatch.chdir(deeper)
    for action, said in (("check", "02_bn_forward"), ("hint", "02_bn_forward"), ("solution", "One way to write it:")):
        assert main(["learn", action]) == 0
        assert said in capsys.readouterr().out
    assert main(["learn", "check", "1"]) == 1, "a name comes first"
    assert "01_moments" in capsys.readouterr().out
    assert main(["learn", "solution"]) == 0, "of another exercise than the current one"
    assert "Cache" in capsys.readouterr().out
    assert main(["learn", "check"]) == 0
    assert f"  cd {folder.path.resolve() / '01_moments'}\n" in capsys.readouterr().out
    linked = folder.path.parent / "linked"
    linked.symlink_to(folder.path / "02_bn_forward")
    assert main(["learn", "show", "--dir", str(linked)]) == 0
    assert "Batch normalisation, forward" in capsys.readouterr().out
    monkeypatch.chdir(folder.path)
    assert main(["learn", "check", "--dir", "02_bn_forward"]) == 0
    assert "02_bn_forward" in capsys.readouterr().out


def test_a_notebook_beside_the_file_is_not_what_is_checked(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "exercise.py was checked, not mine.ipynb: run that in Jupyter."
    for name in ("mine.ipynb", "._a.ipynb"):
        folder.file(MOMENTS).with_name(name).write_text("{}")
    assert main(["learn", "check"]) == 1
    assert said in capsys.readouterr().out
    folder.file(MOMENTS).unlink()
    assert main(["learn", "check"]) == 1
    assert said in capsys.readouterr().out
    solve(folder)
    assert main(["learn", "check"]) == 0
    assert "ipynb" not in capsys.readouterr().out


def test_what_differs_from_the_model_solution_is_shown(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    own = MOMENTS.solution.replace("    centred = x - mu\n", "    # TODO: x\n    centred = x - mu  # mine\n")
    folder.file(MOMENTS).write_text(own)
    assert main(["learn", "check"]) == 0
    out = capsys.readouterr().out
    assert "  -    centred = x - mu  # mine\n  +    centred = x - mu\n" in out
    assert "TODO" not in out


def test_a_statement_is_shown_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["learn", "show", "4"]) == 0
    out = capsys.readouterr().out
    assert "    ∂L/∂x_b = 1/σ (u_b - g - y_b Ψ).\n" in out
    assert all(len(line) <= 60 for line in out.splitlines() if ">>>" not in line)
    assert main(["learn", "show"]) == 2
    assert "is in no folder of exercises" in capsys.readouterr().err


def test_the_editor_is_opened(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f'{sys.executable} -c \'import sys; open(sys.argv[1], "a").write("# opened")\'')
    assert main(["learn", "edit", "2"]) == 0
    assert folder.file(find("2")).read_text().endswith("# opened")
    monkeypatch.setenv("EDITOR", "'")
    assert main(["learn", "edit"]) == 2
    assert 'the editor is "\'", expected a command: no closing quotation' in capsys.readouterr().err
    monkeypatch.delenv("EDITOR")
    assert main(["learn", "edit"]) == 2
    assert "neither VISUAL nor EDITOR is set; open" in capsys.readouterr().err


def test_help_says_where_to_start_and_sorts_by_reader(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: mabn-ref learn DIR\n")
    assert out.index("  hint ") < out.index("For teachers:") < out.index("  grade ")
    assert all(len(line) <= 80 for line in out.splitlines())


def test_files_that_cannot_be_read(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.file(MOMENTS).unlink()
    assert main(["learn", "check", "1"]) == 1
    assert "cannot be read; mabn-ref learn reset 01_moments writes a new one" in capsys.readouterr().out
    folder.file(MOMENTS).write_bytes(b"\xff\xfe")
    assert main(["learn", "check", "1"]) == 1
    assert "is not valid UTF-8" in capsys.readouterr().out
    assert main(["learn", "check", "--all"]) == 1
    assert "wrong  01_moments                  01_moments/exercise.py is not valid UTF-8" in capsys.readouterr().out


def test_a_folder_in_the_place_of_a_file_is_kept_by_reset(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.file(MOMENTS).unlink()
    (folder.file(MOMENTS) / "mine").mkdir(parents=True)
    assert main(["learn", "check", "1"]) == 1
    assert "cannot be read; mabn-ref learn reset 01_moments writes a new one" in capsys.readouterr().out
    assert main(["learn", "reset", "1"]) == 0
    assert "kept as exercise.py.old" in capsys.readouterr().out
    assert folder.file(MOMENTS).read_text() == MOMENTS.skeleton
    assert (folder.file(MOMENTS).with_name("exercise.py.old") / "mine").is_dir()


def test_the_line_of_an_error_is_the_one_that_python_counts(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.file(MOMENTS).write_text("\x0c\ndef moments(x):\n    # \x1b[2J\n    return 1 / 0\n", newline="\n")
    assert main(["learn", "check", "1"]) == 1
    out = capsys.readouterr().out
    assert ">    4 |     return 1 / 0\n" in out
    assert r"     3 |     # \x1b[2J" in out
    assert "\x1b" not in out


def test_a_file_with_a_byte_order_mark_is_read(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    """Editors on Windows put it there, and Python reads it."""
    folder.file(MOMENTS).write_text(MOMENTS.solution, encoding="utf-8-sig")
    assert main(["learn", "check", "1"]) == 0


def test_what_is_printed_moves_no_cursor(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.file(MOMENTS).write_text("print('\\x1b[2Jhello\\x07')\n" + MOMENTS.skeleton)
    assert main(["learn", "check", "1"]) == 1
    out = capsys.readouterr().out
    assert r"\x1b[2Jhello\x07" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("more", [[], ["--all"]])
def test_what_is_raised_moves_no_cursor(folder: Folder, capsys: pytest.CaptureFixture[str], more: list[str]) -> None:
    folder.file(MOMENTS).write_text("def moments(x): raise ValueError('\\x1b[2Jhello\\x07\\n  there')\n")
    assert main(["learn", "check", *more]) == 1
    out = capsys.readouterr().out
    assert r"moments raised ValueError: \x1b[2Jhello\x07 there" in out
    assert "\x1b" not in out


def test_the_key_for_the_next_exercise_says_where_there_is_none(folder: Folder) -> None:
    folder.save(replace(folder.load(), passed=frozenset(e.name for e in folder.exercises)))
    screens: list[str] = []
    pressed = iter("nq")
    watch(folder, MOMENTS, lambda seconds: next(pressed), Style(), screens.append)
    assert "No other exercise is open." in screens[-1]


def test_watching(folder: Folder) -> None:
    """Every key, and a check after every save."""
    screens: list[str] = []
    second = folder.path / "02_bn_forward" / "exercise.py"
    steps: list[str | Callable[[], object]] = ["h", "s", "l", "x", lambda: solve(folder)]
    steps += ["n", "r", "n", lambda: second.write_text("begun = True\n"), "r", "y", "n", "q"]

    def key(_: float) -> str:
        step = steps.pop(0)
        if isinstance(step, str):
            return step
        step()
        return ""

    watch(folder, MOMENTS, key, Style(), screens.append)
    assert steps == []
    text = "\n=====\n".join(screens)
    for part in (
        "Checking 01_moments ...",
        "Hint 1 of 3",
        "> open    01_moments",
        "passed, 2 of 2",
        "Your code is the model solution",
        "The values of a",
    ):
        assert part in text
    assert sum("Start 02_bn_forward over?" in screen for screen in screens) == 2
    assert second.with_name("exercise.py.old").read_text() == "begun = True\n"
    assert json.loads((folder.path / STATE).read_text())["passed"] == ["01_moments"]
    assert all(screen.rstrip().endswith("q: quit") or "over?" in screen for screen in screens)


def test_the_last_exercise_says_so(folder: Folder) -> None:
    solve(folder)
    solve(folder, "bn_forward")
    screens: list[str] = []
    keys = iter(["n", "n", "q"])
    watch(folder, MOMENTS, lambda _: next(keys), Style(), screens.append)
    assert "That was the last one: all exercises have passed." in screens[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_in_a_terminal(folder: Folder) -> None:
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        path = str(Path(mabn_ref.__file__).parents[1])
        command = [sys.executable, "-m", "mabn_ref", "learn", "watch"]
        os.execve(sys.executable, command, os.environ | {"PYTHONPATH": path, "TERM": "xterm"})
    seen = b""

    def until(text: bytes) -> None:
        nonlocal seen
        ends = time.monotonic() + HUNG
        while text not in seen:
            assert time.monotonic() < ends, seen
            seen += os.read(terminal, 65536)

    try:
        until(b"to do")
        until(b"q: quit")
        assert b"\x1b]8;;file://" in seen  # clickable
        os.write(terminal, b"h")
        until(b"Hint 1 of 3")
        solve(folder)
        until(b"Your code is the model solution")
        os.write(terminal, b"q")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        os.close(terminal)
