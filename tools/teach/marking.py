"""Marks: run the exercises of a folder of submissions, each notebook in a process of its own, and count what passed.

A submission is a notebook of the student version, whose metadata names its chapter. Run are the set-up of the book's
own tests, the cells that a student added, and the exercise cells, in order: what an exercise needs stands there.

**This runs what students wrote, with the rights of whoever marks: do it in a container or on a machine for it.**
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from blockprune_lib._common.files import write_whole
from tools.repository import ROOT

from .chapters import BOOK, chapters, exercises, read

SECONDS = 120
_LATE = "the notebook did not end within"


@dataclass(frozen=True)
class Mark:
    """What became of one exercise of one student."""

    student: str
    chapter: str
    exercise: str
    passed: bool
    message: str


def submissions(folder: Path) -> list[tuple[str, Path]]:
    """(student, notebook) of every notebook below *folder*: FOLDER/STUDENT/....ipynb, or FOLDER/STUDENT.ipynb.

    Raises ValueError where there is none.
    """
    paths = sorted(path for path in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    if not paths:
        raise ValueError(f"folder {str(folder)!r} holds no notebook; FOLDER/STUDENT/CHAPTER.ipynb would do")
    inside = [path.relative_to(folder) for path in paths]
    return [(part.parts[0] if len(part.parts) > 1 else part.stem, folder / part) for part in inside]


def marks(folder: Path, seconds: int = SECONDS) -> list[Mark]:
    """Every exercise of every submission, in order of students; raises ValueError for a folder without notebooks."""
    found: list[Mark] = []
    for student, path in submissions(folder):
        found += _marks_of(student, path, seconds)
    return found


def _marks_of(student: str, path: Path, seconds: int) -> list[Mark]:
    try:
        notebook = read(path)
        chapter = str(notebook.get("metadata", {}).get("blockprune", {}).get("chapter", path.stem))
    except ValueError as error:
        return [Mark(student, path.stem, "", False, str(error))]
    if chapter not in chapters():
        return [Mark(student, chapter, "", False, f"{path.name} is no student version of a chapter")]
    verdicts, trouble = _run(path, seconds)
    return [
        Mark(student, chapter, name, *verdicts.get(name, (False, trouble or "the notebook has no check of it")))
        for name in exercises(chapter)
    ]


def _run(path: Path, seconds: int) -> tuple[dict[str, tuple[bool, str]], str]:
    """({exercise: (passed, message)}, what went wrong): the verdicts that a process of its own came to in time."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "results").symlink_to(BOOK / "results")
        told = Path(place) / "verdicts.jsonl"
        told.touch()
        command = [sys.executable, "-m", "tools.teach.one_submission", str(path.resolve()), str(told)]
        trouble = ""
        try:
            done = subprocess.run(
                command, cwd=place, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=seconds, check=False,
            )  # fmt: skip
            if done.returncode:
                trouble = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        except subprocess.TimeoutExpired:
            trouble = f"{_LATE} {seconds} s"
        lines = [json.loads(line) for line in told.read_text(encoding="utf-8").splitlines()]
    return {name: (passed, message) for name, passed, message in lines}, trouble


def table(found: Iterable[Mark]) -> str:
    """The marks as CSV: a row for each student, 1 or 0 for each exercise, how many passed, and of how many."""
    found = list(found)
    columns = list(dict.fromkeys(mark.exercise for mark in found if mark.exercise))
    students = dict[str, dict[str, int]]()
    for mark in found:
        row = students.setdefault(mark.student, {})
        if mark.exercise:
            row[mark.exercise] = max(int(mark.passed), row.get(mark.exercise, 0))
    rows = [["student", *columns, "passed", "of"]]
    for student, row in students.items():
        rows.append([student, *(str(row.get(name, "")) for name in columns), str(sum(row.values())), str(len(row))])
    return _csv(rows)


def summary(found: Iterable[Mark]) -> str:
    """How many students there are, how much passed, and how many notebooks did not end in time.

    >>> summary([Mark("ann", "blocks", "block-count", True, ""), Mark("ann", "blocks", "block-scores", False, "")])
    '1 student, 1 exercise passed'
    """
    found = list(found)
    students, passed = len({mark.student for mark in found}), sum(mark.passed for mark in found)
    late = len({(mark.student, mark.chapter) for mark in found if mark.message.startswith(_LATE)})
    more = f"; {counted(late, 'notebook')} did not end in time, --seconds gives more" if late else ""
    return f"{counted(students, 'student')}, {counted(passed, 'exercise')} passed{more}"


def counted(number: int, what: str) -> str:
    """A number and what it counts: "1 student", "2 students"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def reasons(found: Iterable[Mark]) -> str:
    """The marks as CSV: a row for each exercise of each student, with what the checker said."""
    rows = [[m.student, m.chapter, m.exercise, str(int(m.passed)), m.message] for m in found]
    return _csv([["student", "chapter", "exercise", "passed", "message"], *rows])


def write(path: Path, text: str) -> None:
    """Write a CSV whole; raises ValueError where its folder is not there."""
    write_whole(path, text.encode())


def _csv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[_harmless(cell) for cell in row] for row in rows])
    return text.getvalue()


def _harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: students choose their names, and messages quote their code."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t") else cell
