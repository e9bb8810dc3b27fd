"""The results of grading: a table for the teacher, and a report for each student."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from mabn_ref import storage
from mabn_ref.learn.judges import Grade
from mabn_ref.learn.plain_text import shown


def as_csv(grades: Iterable[Grade]) -> str:
    """A table with a line for each student: points for each exercise, their sum, and the maximum.

    Examples
    --------
    >>> print(as_csv([Grade("ada", "01_moments", 2, 2, ""), Grade("ada", "02_bn_forward", 1, 2, "")]))
    "student","01_moments","02_bn_forward","total","of"
    "ada",2,1,3,4
    <BLANKLINE>
    """
    by_student: dict[str, dict[str, Grade]] = {}
    for given in grades:
        by_student.setdefault(given.student, {})[given.exercise] = given
    names = list(dict.fromkeys(name for row in by_student.values() for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["student", *names, "total", "of"])
    for student, row in by_student.items():
        total, most = sum(g.points for g in row.values()), sum(g.of for g in row.values())
        writer.writerow([_cell(student), *(row[name].points if name in row else "" for name in names), total, most])
    return text.getvalue()


def _cell(name: str) -> str:
    """A name that no spreadsheet reads as a formula."""
    name = shown(name)
    first = unicodedata.normalize("NFKC", name.lstrip())[:1]  # full-width signs count as signs
    return f"'{name}" if first in tuple("=+-@'") else name


def write_csv(path: Path, grades: Iterable[Grade]) -> None:
    """Write the table."""
    storage.write(path, as_csv(grades).encode())


def student_report(grades: Sequence[Grade], left_out: Iterable[tuple[str, str]] = ()) -> str:
    """The report for one student, as Markdown, without any numbers of hidden cases.

    `left_out` lists the student's files that were not graded, and why.
    """
    total, most = sum(g.points for g in grades), sum(g.of for g in grades)
    lines = [f"# {_code(shown(grades[0].student))}: {total} of {most} points", ""]
    lines += [f"Not graded: {_code(path)} ({reason}).\n" for path, reason in left_out]
    for given in grades:
        lines += [f"## {given.exercise}: {given.points} of {given.of}", ""]
        lines += [*(f"{sentence}\n" for sentence in given.sentences)]
        lines += [f"{given.lacks[0].upper()}{given.lacks[1:]}.\n"] if given.lacks else []
        if not given.parts:
            lines += [f"{_code(given.said)}\n"]
        for error in given.errors:
            lines += [_code(error.message), ""]
            if error.place:
                code = [shown(line, kept="\\").rstrip() for line in error.lines]
                lines += [*(f"    {line}" for line in (shown(error.place), *code)), ""]
        told = {error.message for error in given.errors}
        for part in given.parts:
            why = ", see above" if part.message in told and not part.waits else f": {_code(part.message)}"
            told.add(part.message)
            lines.append(f"- {part.name}: {part.mark}{'' if part.ok else why}")
        lines.append("")
    return "\n".join(lines)


def _code(text: str) -> str:
    """Text that may hold anything, as code."""
    return "`" + shown(" ".join(text.replace("`", "'").split())) + "`"


def write_reports(
    folder: Path, grades: Sequence[Grade], about: str = "", left_out: Sequence[tuple[str, str]] = ()
) -> list[OSError]:
    """Write a file for each student, `about` at its end; return why some of them could not be written.

    `left_out` is what was not graded, by its path from the folder of submissions, and why.
    """
    failed = []
    for student in dict.fromkeys(given.student for given in grades):
        own = [(path, reason) for path, reason in left_out if path.startswith(f"{student}{os.sep}")]
        text = student_report([given for given in grades if given.student == student], own) + about
        try:
            storage.write(folder / report_name(student), text.encode())
        except OSError as error:
            failed.append(error)
    return failed


def report_name(student: str) -> str:
    """The name of a student's report: the student's own name if a file can have it, else one with a digest.

    Examples
    --------
    >>> report_name("ada"), report_name("a/b")
    ('ada.md', 'a_b-c14cddc033f64b9d.md')
    """
    name = "".join(letter if letter.isalnum() or letter in " -_." else "_" for letter in student)
    if name == student and len(name.encode()) <= 200:
        return f"{name}.md"
    digest = hashlib.sha256(student.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return f"{name[:40]}-{digest}.md"
