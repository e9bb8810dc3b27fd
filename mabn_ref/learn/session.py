"""What the commands of a learner do, each one step: check, hint, reset, solution."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from mabn_ref.learn.exercise import Exercise
from mabn_ref.learn.folder import Folder
from mabn_ref.learn.judge import check_source
from mabn_ref.learn.report import Report
from mabn_ref.learn.screens import Style, bar, place, verdict

__all__ = ["check", "check_all", "fresh_seeds", "hint", "progress_bar", "remember", "solution", "summary"]


def fresh_seeds() -> tuple[int, int]:
    """Seed 0, the same for all, and one that nobody has seen."""
    return 0, secrets.randbelow(2**31)


def check(folder: Folder, exercise: Exercise, seeds: Sequence[int], style: Style) -> tuple[bool, str]:
    """Check the student's file, remember whether it passed, and return that with what to say."""
    path = folder.file(exercise)
    try:
        source = _source(path)
    except ValueError as error:
        again = f"mabn-ref learn reset {exercise.name} writes a new one"
        return False, f"{exercise.name}\n\n  {place(path, None, style)} {error}; {again}"
    report = check_source(exercise, source, seeds=seeds)
    remember(folder, exercise, report)
    said = verdict(report, exercise, path, source, style)
    return report.passed, said + _after(folder, exercise, style) if report.passed else said


def _source(path: Path) -> str:
    """Read a student's file; what is wrong with it is a `ValueError`."""
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
    except UnicodeDecodeError:
        raise ValueError("is no text in UTF-8") from None
    except OSError:
        raise ValueError("cannot be read") from None


def _after(folder: Folder, exercise: Exercise, style: Style) -> str:
    """What follows once an exercise has passed: our solution, and what comes next."""
    following = folder.following(exercise)
    if following is None:
        ahead = style("That was the last one: all exercises have passed.", "green")
    else:
        ahead = f"Next is {following.name}: {following.title}."
    return f"\n\n{solution(folder, exercise, style)}\n\n  {ahead}"


def progress_bar(folder: Folder) -> str:
    """How many of the exercises have passed."""
    passed = folder.load().passed
    return bar(len([e for e in folder.exercises if e.name in passed]), len(folder.exercises))


def check_all(folder: Folder, seeds: Sequence[int], style: Style, show: Callable[[str], None]) -> bool:
    """Check every file, a line each, and say whether all have passed."""
    passed = 0
    for exercise in folder.exercises:
        path = folder.file(exercise)
        try:
            source = _source(path)
        except ValueError as error:
            show(f"{style('wrong ', 'red')} {exercise.name:<28}{place(path, None, style)} {error}")
            continue
        report = check_source(exercise, source, seeds=seeds)
        remember(folder, exercise, report)
        passed += report.passed
        unwritten = not report.points and bool(report.errors) and all(e.kind == "todo" for e in report.errors)
        mark = style("to do ", "dim") if unwritten else style("wrong ", "red")
        mark = style("passed", "green") if report.passed else mark
        show(f"{mark} {exercise.name:<28}{report.points} of {len(report.parts)}  {summary(report)}".rstrip())
    show(f"\n{progress_bar(folder)}")
    return passed == len(folder.exercises)


def summary(report: Report) -> str:
    """The first thing to be said of a report, on one line; nothing if it has passed."""
    said = [*report.sentences, *map(str, report.errors), *report.notes]
    said += [f"{part.name}: {part.message}" for part in report.parts if not part.ok]
    return " ".join(said[0].split())[:200] if said else ""


def remember(folder: Folder, exercise: Exercise, report: Report) -> None:
    """Keep in the folder that an exercise has passed; it stays so until it is reset."""
    progress = folder.load()
    if report.passed and exercise.name not in progress.passed:
        folder.save(replace(progress, passed=progress.passed | {exercise.name}))


def hint(folder: Folder, exercise: Exercise, style: Style) -> str:
    """The hints taken so far and the next one."""
    progress = folder.load()
    taken = min(progress.hints.get(exercise.name, 0) + 1, len(exercise.hints))
    folder.save(replace(progress, hints={**progress.hints, exercise.name: taken}))
    shown = [
        f"  {style(f'Hint {k} of {len(exercise.hints)}', 'bold')}\n{style.wrap(' '.join(text.split()))}"
        for k, text in enumerate(exercise.hints[:taken], start=1)
    ]
    return "\n\n".join(shown)


def solution(folder: Folder, exercise: Exercise, style: Style) -> str | None:
    """Our solution, or None while the student's has not passed."""
    if exercise.name not in folder.load().passed:
        return None
    body = "\n".join(f"  {line}".rstrip() for line in exercise.solution.splitlines())
    return f"  {style('One way to write it:', 'bold')}\n\n{body}"
