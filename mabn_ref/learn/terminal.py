"""The learner's commands and what they show: statement, check, hint, status, solution."""

from __future__ import annotations

import difflib
import os
import re
import secrets
import shutil
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from mabn_ref.learn.exercise import Exercise
from mabn_ref.learn.folder import Folder
from mabn_ref.learn.judge import check_source
from mabn_ref.learn.plain_text import as_text, shown
from mabn_ref.learn.report import Report
from mabn_ref.learn.student_error import StudentError, lines_of

_CODES = {"bold": "1", "green": "32", "red": "31", "dim": "2", "cyan": "36"}
_PRINTED_LINES = 6
_BACKSLASH = "\\"


@dataclass(frozen=True)
class Style:
    """Whether to write colours and links, and how wide the text is."""

    colour: bool = False
    width: int = 100

    def __call__(self, text: str, kind: str) -> str:
        """Colour a piece of text."""
        return f"\x1b[{_CODES[kind]}m{text}\x1b[0m" if self.colour and text else text

    def wrap(self, text: str) -> str:
        """Break a paragraph into lines."""
        return textwrap.fill(text, self.width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def style_for(stream: TextIO) -> Style:
    """Colours and links on a terminal that wants them, plain text anywhere else."""
    colour = stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return Style(colour, min(shutil.get_terminal_size((100, 24)).columns, 100))


def place(path: Path, line: int | None = None, style: Style | None = None) -> str:
    """A file, with a line, in a form that terminals and editors make clickable.

    Examples
    --------
    >>> place(Path("01_moments", "exercise.py"), 7)
    '01_moments/exercise.py:7'
    """
    try:
        shown = path.resolve().relative_to(Path.cwd())
    except ValueError:
        shown = path
    text = shown.as_posix() if line is None else f"{shown.as_posix()}:{line}"
    if style is None or not style.colour:
        return text
    return f"\x1b]8;;{path.resolve().as_uri()}\x1b\\{style(text, 'cyan')}\x1b]8;;\x1b\\"


def bar(done: int, total: int, width: int = 40) -> str:
    """A progress bar.

    Examples
    --------
    >>> bar(2, 4, width=8)
    'Progress: [####----] 2/4'
    """
    full = width * done // total
    return f"Progress: [{'#' * full}{'-' * (width - full)}] {done}/{total}"


def listing(folder: Folder, current: Exercise, style: Style) -> str:
    """All exercises, done or not, with the hints taken."""
    progress, lines = folder.load(), []
    for exercise in folder.exercises:
        mark = style("passed ", "green") if exercise.name in progress.passed else style("open   ", "dim")
        taken = progress.hints.get(exercise.name, 0)
        hints = f"  ({taken} hint{'' if taken == 1 else 's'})" if taken else ""
        here = ">" if exercise == current else " "
        lines.append(f"{here} {mark} {exercise.name:<28}{exercise.title}{hints}")
    return "\n".join([*lines, "", progress_bar(folder)])


def verdict(report: Report, exercise: Exercise, path: Path, source: str, style: Style) -> str:
    """The text of a report: first the mistakes that were recognised, then the parts."""
    title = f"{style(exercise.name, 'bold')}  {exercise.title}"
    if report.passed:
        return f"{title}\n\n  {style('passed', 'green')}, {report.score}"
    blocks = [title] if any(error.trace for error in report.errors) else [title, place(path, None, style)]
    blocks += ["", *(style.wrap(sentence) for sentence in report.sentences)] if report.sentences else []
    for error in report.errors:
        blocks += ["", _error(error, path, source, style)]
    blocks += ["", *(style.wrap(note) for note in report.notes)] if report.notes and not report.lacks else []
    blocks.append("")
    said = {str(error) for error in report.errors}
    unwritten = {str(error) for error in report.errors if error.kind == "todo"}
    wide = max(len(part.name) for part in report.parts)
    for part in report.parts:
        mark = style(part.mark, "green" if part.ok else "dim" if part.waits else "red")
        mark = style("to do", "dim") if part.message in unwritten else mark
        message = "see above" if part.message in said and not part.waits else part.message
        message = "" if part.ok or part.message in unwritten else message
        said.add(part.message)
        indent = " " * (11 + wide)
        text = textwrap.fill(
            _on_one_line(message), style.width, initial_indent=indent, subsequent_indent=indent
        ).lstrip()
        blocks.append(f"  {mark}  {part.name:<{wide}}  {text}".rstrip())
    blocks += ["", style.wrap(report.score)]
    if report.printed.strip():
        blocks += ["", style("  Your code printed:", "dim"), _printed(report.printed)]
    return "\n".join(blocks)


def _error(error: StudentError, path: Path, source: str, style: Style) -> str:
    """The error, and the student's own line with one before and after it."""
    lines = [style.wrap(_on_one_line(str(error)[:600]))]
    if error.line is None:
        return lines[0]
    lines.append(f"  {place(path, error.line, style)}")
    for line in error.excerpt(source.expandtabs(4)):
        code = f"  {shown(line, kept=_BACKSLASH)}"[: style.width]
        lines.append(style(code, "bold" if line.startswith(">") else "dim"))
    if len(error.trace) > 1:
        lines.append(style(f"  called from line {', '.join(str(line) for line, _ in error.trace[:-1])}", "dim"))
    return "\n".join(lines)


def _on_one_line(text: str) -> str:
    """What a student's code says, with nothing in it that moves the cursor."""
    return shown(" ".join(text.split()))


def _printed(text: str) -> str:
    """The first lines of what was printed, with nothing in them that moves the cursor."""
    lines = [shown(line)[:200] for line in text.expandtabs(4).splitlines()]
    rest = [f"    ... and {len(lines) - _PRINTED_LINES} more lines"] if len(lines) > _PRINTED_LINES else []
    return "\n".join([f"    {line}" for line in lines[:_PRINTED_LINES]] + rest)


def fresh_seeds() -> tuple[int, int]:
    """Seed 0, the same for everyone, and a new random one."""
    return 0, secrets.randbelow(2**31)


def check(folder: Folder, exercise: Exercise, seeds: Sequence[int], style: Style) -> tuple[bool, str]:
    """Check the student's file, remember whether it passed, and return that with the text to show."""
    path = folder.file(exercise)
    notebooks = sorted(shown(other.name) for other in path.parent.glob("[!.]*.ipynb"))
    note = f"\n\n  {path.name} was checked, not {notebooks[0]}: run that in Jupyter." if notebooks else ""
    try:
        source, report = _source_and_report(folder, exercise, seeds)
    except ValueError as error:
        again = f"mabn-ref learn reset {exercise.name} writes a new one"
        return False, f"{exercise.name}\n\n  {place(path, None, style)} {error}; {again}{note}"
    said = verdict(report, exercise, path, source, style)
    if not report.passed:
        return False, f"{said}{note}"
    following = folder.following(exercise)
    last = style("That was the last one: all exercises have passed.", "green")
    ahead = f"Next is {following.name}: {_ended(following.title)}" if following else last
    return True, f"{said}\n\n{_beside(exercise, source, style)}\n\n{_read_on(exercise, style)}\n\n  {ahead}"


def _ended(title: str) -> str:
    """A title as the end of a sentence."""
    return title if title.endswith(("?", "!", ".")) else f"{title}."


def _beside(exercise: Exercise, source: str, style: Style) -> str:
    """The lines in which a student's code and the model solution differ, with a little context."""
    without_marks = re.sub(r"^ *# TODO.*\n", "", source, flags=re.MULTILINE)
    yours, model = (
        [line.rstrip() for line in lines_of(re.sub(r"\n{3,}", "\n\n\n", text).strip())]
        for text in (without_marks, exercise.solution)
    )
    lines = list(difflib.unified_diff(yours, model, n=2, lineterm=""))[2:]
    if not lines:
        return "  Your code is the model solution, line for line."
    colours = {"-": "red", "+": "green", "@": "dim"}
    body = []
    for line in lines:
        text = "..." if line.startswith("@@") else shown(line.expandtabs(4), kept=_BACKSLASH)
        text = f"  {text}".rstrip()
        body.append(style(text, colours[line[0]]) if line[0] in colours else text)
    return "\n".join([f"  {style('Another way to write it (- yours, + the model solution):', 'bold')}", "", *body])


def _read_on(exercise: Exercise, style: Style) -> str:
    """Where the exercise just solved is explained."""
    numbers = [str(number) for number in exercise.tutorials]
    tutorials = f"tutorial{'s' if numbers[1:] else ''} {', '.join(numbers)}"
    equations = f"equation{'s' if exercise.equations[1:] else ''} {', '.join(exercise.equations)}"
    return style.wrap(f"Read on: {tutorials}, and in the derivations the {equations}.")


def check_all(folder: Folder, seeds: Sequence[int], style: Style, show: Callable[[str], None]) -> bool:
    """Check every file, a line each, and say whether all have passed."""
    passed = 0
    for exercise in folder.exercises:
        try:
            _, report = _source_and_report(folder, exercise, seeds)
        except ValueError as error:
            where = place(folder.file(exercise), None, style)
            show(f"{style('wrong ', 'red')} {exercise.name:<28}{where} {error}")
            continue
        passed += report.passed
        unwritten = not report.points and bool(report.errors) and all(e.kind == "todo" for e in report.errors)
        mark = style("to do ", "dim") if unwritten else style("wrong ", "red")
        mark = style("open  ", "dim") if report.lacks else mark
        mark = style("passed", "green") if report.passed else mark
        show(f"{mark} {exercise.name:<28}{report.points} of {len(report.parts)}  {shown(report.summary)}".rstrip())
    show(f"\n{progress_bar(folder)}")
    return passed == len(folder.exercises)


def _source_and_report(folder: Folder, exercise: Exercise, seeds: Sequence[int]) -> tuple[str, Report]:
    """Read and check a student's file, and remember if it passed; raise `ValueError` if it cannot be read."""
    try:
        source = folder.file(exercise).read_text(encoding="utf-8-sig")  # editors may begin with a byte order mark
    except UnicodeDecodeError:
        raise ValueError("is not valid UTF-8: save it as UTF-8") from None
    except OSError:
        raise ValueError("cannot be read") from None
    report = check_source(exercise, source, seeds=seeds)
    progress = folder.load()
    if report.passed and exercise.name not in progress.passed:  # it stays so until it is reset
        folder.save(replace(progress, passed=progress.passed | {exercise.name}))
    return source, report


def progress_bar(folder: Folder) -> str:
    """How many of the exercises have passed."""
    passed = folder.load().passed
    return bar(len([e for e in folder.exercises if e.name in passed]), len(folder.exercises))


def statement(exercise: Exercise, style: Style) -> str:
    """The statement as text, as wide as the terminal."""
    title, _, rest = as_text(exercise.statement, style.width).partition("\n")
    return f"{style(title, 'bold')}\n{rest}"


def hint(folder: Folder, exercise: Exercise, style: Style) -> str:
    """The next hint; after the last one, all of them again."""
    progress = folder.load()
    taken = progress.hints.get(exercise.name, 0)
    if taken >= len(exercise.hints):
        said = f"There are no more hints. Here are all {len(exercise.hints)} again."
        return f"{style.wrap(said)}\n\n{hints_taken(folder, exercise, style)}"
    folder.save(replace(progress, hints={**progress.hints, exercise.name: taken + 1}))
    return _hint(exercise, taken, style)


def hints_taken(folder: Folder, exercise: Exercise, style: Style) -> str:
    """All hints that were asked for so far."""
    taken = folder.load().hints.get(exercise.name, 0)
    shown = [_hint(exercise, k, style) for k in range(min(taken, len(exercise.hints)))]
    return "\n\n".join(shown) or "  You have not asked for a hint yet."


def _hint(exercise: Exercise, k: int, style: Style) -> str:
    text = "\n".join(f"  {line}".rstrip() for line in as_text(exercise.hints[k], style.width - 2).splitlines())
    return f"  {style(f'Hint {k + 1} of {len(exercise.hints)}', 'bold')}\n{text}"


def solution(folder: Folder, exercise: Exercise, style: Style) -> str:
    """The model solution; a `ValueError` while the student's has not passed."""
    if exercise.name not in folder.load().passed:
        raise ValueError(f"{exercise.name} has not passed yet; for help, mabn-ref learn hint {exercise.name}")
    body = "\n".join(f"  {line}".rstrip() for line in exercise.solution.splitlines())
    return f"  {style('One way to write it:', 'bold')}\n\n{body}"
