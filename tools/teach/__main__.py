"""The kit for teachers, made from the chapters.

python -m tools.teach student [CHAPTER ...]      notebooks without solutions and answers
python -m tools.teach mark FOLDER --csv FILE     run the exercises of a folder of submissions
python -m tools.teach slides [DECK ...]          slides, as HTML that needs no network
python -m tools.teach offline FOLDER             all that thirty laptops without a network need
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.repository import ROOT

from . import marking, offline, slides, student
from .chapters import OUT


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.teach", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("student", help="notebooks without solutions and answers")
    made.add_argument("chapters", nargs="*", metavar="CHAPTER", help="such as blocks; all where none is named")
    made.add_argument("--out", type=Path, default=OUT / "student", metavar="FOLDER")
    mark = commands.add_parser("mark", help="run the exercises of a folder of submissions, as FOLDER/STUDENT/*.ipynb")
    mark.add_argument("folder", type=Path)
    mark.add_argument("--csv", type=Path, required=True, metavar="FILE", help="a row a student, a column an exercise")
    mark.add_argument("--reasons", type=Path, metavar="FILE", help="what each checker said, a row an exercise")
    mark.add_argument("--seconds", type=int, default=marking.SECONDS, help="for one notebook; default %(default)s")
    deck = commands.add_parser("slides", help="slides, as HTML that needs no network")
    deck.add_argument("decks", nargs="*", metavar="DECK", help="a name of book/teach/slides.yaml; all where none is")
    deck.add_argument("--out", type=Path, default=OUT / "slides", metavar="FOLDER")
    deck.add_argument("--executed", type=Path, default=ROOT / "_build" / "jupyter_execute", metavar="FOLDER",
                      help="executed chapters; default: where make book leaves them")  # fmt: skip
    deck.add_argument("--run", action="store_true", help="run chapters that are not there")
    bundle = commands.add_parser("offline", help="all that laptops without a network need, in one folder")
    bundle.add_argument("folder", type=Path)
    bundle.add_argument("--torch-index", default="", metavar="URL", help="a pip index for torch's small CPU build")
    options = parser.parse_args(arguments)
    try:
        {"student": _student, "mark": _mark, "slides": _slides, "offline": _offline}[options.command](options)
    except ValueError as error:
        parser.error(str(error))
    return 0


def _student(options: argparse.Namespace) -> None:
    written = student.write_students(options.out, options.chapters)
    print(f"{marking.counted(len(written), 'chapter')} without solutions: {options.out}")


def _mark(options: argparse.Namespace) -> None:
    if options.seconds < 1:
        raise ValueError(f"seconds must be at least 1; got {options.seconds}")
    found = marking.marks(options.folder, options.seconds)
    marking.write(options.csv, marking.table(found))
    if options.reasons:
        marking.write(options.reasons, marking.reasons(found))
    print(f"{marking.summary(found)}: {options.csv}")


def _slides(options: argparse.Namespace) -> None:
    known = {deck.name: deck for deck in slides.decks()}
    if wrong := [name for name in options.decks if name not in known]:
        raise ValueError(f"decks must be of {', '.join(known)}; got {', '.join(wrong)}")
    wanted = [known[name] for name in options.decks or known]
    names = list(dict.fromkeys(name for deck in wanted for name in deck.chapters))
    written = slides.build(options.out, slides.executed(names, options.executed, options.run), wanted)
    print("Open in a browser: " + ", ".join(str(path) for path in written))


def _offline(options: argparse.Namespace) -> None:
    print(offline.bundle(options.folder, options.torch_index))


if __name__ == "__main__":
    sys.exit(main())
