"""The kit for teachers: student versions without solutions, marks of submissions, slides that hold the cells named."""

import ast
import copy
import csv
import io
import itertools
import json
import re
import subprocess
import symtable
import sys

import pytest

from blockprune_lib.teaching import check
from tools.teach import __main__ as command
from tools.teach import marking, offline, slides, student
from tools.teach.chapters import BOOK, KIT, chapters, checked, code, exercises, read, source, tags

CHAPTERS = chapters()
#: Lines that a solution shares with its stub, or with the chapter, say nothing about the answer.
SHORT = 12
DECKS = {deck.name for deck in slides.decks()}


def version(name):
    return student.student_version(read(BOOK / f"{name}.ipynb"), name)


def text_of(notebook):
    return "\n".join(source(cell) for cell in notebook["cells"])


def lines_of(cells):
    return {line.strip() for cell in cells for line in source(cell).splitlines() if len(line.strip()) > SHORT}


@pytest.mark.parametrize("name", CHAPTERS)
class TestStudentVersion:
    def test_has_every_stub_and_no_solution(self, name):
        whole, cut = read(BOOK / f"{name}.ipynb"), version(name)
        kinds = [tag for cell in cut["cells"] for tag in tags(cell)]
        assert "exercise-solution" not in kinds
        stubs = [source(cell) for cell in code(whole) if "exercise-stub" in tags(cell)]
        assert [source(cell) for cell in code(cut) if "exercise-stub" in tags(cell)] == stubs
        solutions = [cell for cell in code(whole) if "exercise-solution" in tags(cell)]
        others = [cell for cell in code(whole) if "exercise-solution" not in tags(cell)]
        left = lines_of(solutions) - lines_of(others)
        assert left
        assert not left & lines_of(code(cut))

    def test_has_no_text_of_a_solution_or_of_a_fold(self, name):
        said = "\n".join(
            source(cell) for cell in read(BOOK / f"{name}.ipynb")["cells"] if cell["cell_type"] == "markdown"
        )
        hidden = re.findall(r"\{solution-start\}[^\n]*\n(?::[^\n]*\n)*`{3,}\n(.*?)(?=\n`{3,}\{|\Z)", said, re.DOTALL)
        folds = re.findall(
            r"\{admonition\} (?!Hint)[^\n]*\n:class: dropdown\n(.*?)\n`{3,}$", said, re.DOTALL | re.MULTILINE
        )
        hidden += re.findall(r"^`{3,}\{solution\}[^\n]*\n(.*?)^`{3,}$", said, re.DOTALL | re.MULTILINE)
        cut = text_of(version(name))
        assert hidden
        secret = {line.strip() for line in "\n".join([*hidden, *folds]).splitlines() if len(line.strip()) > SHORT}
        assert not secret & {line.strip("> ") for line in cut.splitlines()}
        assert "{solution" not in cut

    def test_reads_as_plain_markdown_and_as_python(self, name):
        cut = version(name)
        for cell in cut["cells"]:
            if cell["cell_type"] == "code":
                ast.parse(source(cell))
            else:
                assert not re.search(r"^`{3,}\{|\{(glue|cite|doc|ref|term)[:}]", source(cell), re.MULTILINE), source(
                    cell
                )
        assert cut["metadata"]["blockprune"]["chapter"] == name
        assert all(cell["metadata"][student.GIVEN] for cell in cut["cells"])

    def test_keeps_every_name_that_later_cells_use(self, name):
        whole = [cell for cell in code(read(BOOK / f"{name}.ipynb")) if "exercise-solution" not in tags(cell)]
        kept = [cell for cell in code(version(name)) if not source(cell).startswith("chapter.glued(")]
        for before, after in zip(whole, kept, strict=True):
            assert made(source(after)) == made(source(before))

    def test_tells_each_number_of_the_text_in_a_cell_above_it(self, name):
        told = set()
        for cell in version(name)["cells"]:
            if source(cell).startswith("chapter.glued("):
                told = set(re.findall(r'"([^"]+)"', source(cell)))
            elif cell["cell_type"] == "markdown":
                assert set(re.findall(r"\*\[([\w-]+)\]\*", source(cell))) == told
                told = set()

    def test_has_no_keys_of_works_and_no_labels(self, name):
        said = "\n".join(source(cell) for cell in version(name)["cells"] if cell["cell_type"] == "markdown")
        assert not re.search(r"\b[a-z]+(?:19|20)\d\d[a-z]+\b|^\([\w-]+\)=", said, re.MULTILINE)
        assert not re.search(r"\]\(#?[\w-]+\)", said)


def made(text):
    """The names that a cell leaves behind; a comprehension's own are not among them."""
    symbols = symtable.symtable(text, "cell", "exec").get_symbols()
    return {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}


def test_a_cell_that_measures_an_answer_stays_with_its_code_folded():
    cell = {
        "cell_type": "code", "metadata": {"tags": ["hide-output"], "mystnb": {"code_prompt_show": "Show the answer"}},
        "source": ["x = 1\n", "glue('x', x)\n", "display(\n", "    x)\n", "x"],
    }  # fmt: skip
    cut = student.student_version({"cells": [cell], "nbformat": 4, "nbformat_minor": 5}, "c")["cells"][0]
    assert source(cut) == source(cell)
    assert cut["metadata"]["jupyter"] == {"source_hidden": True}
    assert "mystnb" not in cut["metadata"]


def test_the_student_version_leaves_the_chapter_alone(tmp_path):
    before = read(BOOK / "blocks.ipynb")
    kept = copy.deepcopy(before)
    student.student_version(before, "blocks")
    assert before == kept
    assert command.main(["student", "blocks", "--out", str(tmp_path / "s")]) == 0
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["blocks.ipynb", "results"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["student", "nonsense"], "chapters must be of whole-story"),
        (["slides", "nonsense"], "decks must be of lecture"),
        (["mark", "nowhere", "--csv", "x.csv"], "holds no notebook"),
        (["mark", "nowhere", "--csv", "x.csv", "--seconds", "0"], "seconds must be at least 1"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(arguments, said, capsys):
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert said in capsys.readouterr().err


def hand_in(folder, name, *, solve=(), more=()):
    """A student's notebook: the exercises named in `solve` as the book solves them, and cells of the student's own."""
    cut = version(name)
    solutions = {checked(source(cell))[-1]: source(cell) for cell in code(read(BOOK / f"{name}.ipynb"))
                 if "exercise-solution" in tags(cell)}  # fmt: skip
    for cell in code(cut):
        asked = checked(source(cell))
        if asked and asked[-1] in solve:
            cell["source"] = solutions[asked[-1]]
    own = [{"cell_type": "code", "metadata": {}, "source": text, "outputs": []} for text in more]
    first = next(at for at, cell in enumerate(cut["cells"]) if "exercise-stub" in tags(cell))
    cut["cells"][first:first] = own
    folder.mkdir(parents=True)
    (folder / f"{name}-final (2).ipynb").write_text(json.dumps(cut))


def test_marks_of_a_folder_of_submissions(tmp_path):
    names = exercises("reweighting")
    hand_in(tmp_path / "ada", "reweighting", solve=names)
    hand_in(
        tmp_path / "bob", "reweighting", solve=names[1:2], more=["%matplotlib inline\n1 / 0", "import sys; sys.exit(3)"]
    )
    hand_in(tmp_path / "=cmd()", "reweighting", more=["check = lambda *_: True\nprint('noise')"])
    (tmp_path / "eve.ipynb").write_text("no notebook")
    table, why = tmp_path / "marks.csv", tmp_path / "why.csv"
    assert command.main(["mark", str(tmp_path), "--csv", str(table), "--reasons", str(why), "--seconds", "250"]) == 0
    rows = {row["student"]: row for row in csv.DictReader(io.StringIO(table.read_text()))}
    assert [rows["ada"][name] for name in names] == ["1"] * len(names)
    assert (rows["bob"]["passed"], rows["bob"][names[1]], rows["bob"]["of"]) == ("1", "1", str(len(names)))
    assert rows["'=cmd()"]["passed"] == "0"
    assert (rows["eve"]["passed"], rows["eve"]["of"]) == ("0", "0")
    reasons = {
        (row["student"], row["exercise"]): row["message"] for row in csv.DictReader(io.StringIO(why.read_text()))
    }
    assert "returns nothing yet" in reasons["bob", names[0]]
    assert "is not a notebook" in reasons["eve", ""]


def test_a_notebook_that_does_not_end_is_given_up(tmp_path):
    hand_in(tmp_path / "zoe", "blocks", more=["while True:\n    pass"])
    found = marking.marks(tmp_path, seconds=1)
    assert {mark.exercise for mark in found} == set(exercises("blocks"))
    assert all("did not end within 1 s" in mark.message for mark in found)
    assert marking.summary(found).startswith("1 student, 0 exercises passed; 1 notebook did not end in time")


def run_chapters():
    """Every chapter with an output in each code cell, as a run would leave it, but without running it."""
    notebooks = {}
    for name in CHAPTERS:
        notebook = read(BOOK / f"{name}.ipynb")
        for cell in code(notebook):
            picture = f'<img class="bp-light" alt="{name}">' if "plots.figure(" in source(cell) else "<b>shown</b>"
            cell["outputs"] = [{"output_type": "execute_result", "data": {"text/html": picture}},
                               {"output_type": "display_data", "data": {"text/markdown": "**c.** Said."}}]  # fmt: skip
        notebooks[name] = notebook
    return notebooks


def test_slides_hold_the_cells_that_the_register_names(tmp_path):
    notebooks, known = run_chapters(), slides.decks()
    written = slides.build(tmp_path, notebooks)
    assert [path.stem for path in written] == [deck.name for deck in known]
    assert {"lecture", "workshop", "week-1", "week-2", "week-3", "week-4"} <= {deck.name for deck in known}
    for path, deck in zip(written, known, strict=True):
        page = path.read_text()
        assert page.count("<section") == len(deck.slides) + 1
        shown = [item for slide in deck.slides for item in slide.show]
        assert shown
        for kind in slides.KINDS:
            count = sum(kind in item for item in shown)
            assert len(re.findall(rf"<div class='{kind}[ ']", page)) == count
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)
        assert "{glue" not in page
        assert page.count("<strong>c.</strong> Said.") >= sum(bool(slide.told) for slide in deck.slides)
        assert all(slide.notes or slide.told for slide in deck.slides for item in slide.show
                   if deck.name == "lecture" and "predict" in item)  # fmt: skip
    for name in ("reveal.js", "reveal.css", "notes.js", "mathjax.js", "slides.css", "LICENSE"):
        assert (tmp_path / name).is_file()


def test_a_figure_that_a_later_cell_shows_with_the_answer_is_found():
    notebook = read(BOOK / "nothing-got-faster.ipynb")
    answer = next(cell for cell in code(notebook) if "display(masked, " in source(cell))
    shown = '<figure id="fig-masks"><img class="bp-light" alt="Bars"></figure>'
    answer["outputs"] = [{"output_type": "display_data", "data": {"text/html": text}} for text in ("a table", shown)]
    assert slides._shown("figure", "fig-masks", notebook) == '<img class="bp-light" alt="Bars">'


@pytest.mark.parametrize(
    ("show", "said"),
    [
        ({"figure": "fig-none"}, "the chapter has no figure 'fig-none'"),
        ({"code": "no such text"}, "no cell of the chapter holds 'no such text'"),
        ({"predict": "no such question"}, "no question of the chapter holds"),
        ({"equation": "no such sign"}, "no equation of the chapter holds"),
        ({"exercise": "ex-none"}, "the chapter has no exercise 'ex-none'"),
        ({"output": "import"}, "the cell of 'import' shows nothing: run the chapter first"),
    ],
)
def test_a_slide_that_names_what_is_not_there_is_refused(show, said, tmp_path):
    deck = slides.Deck("d", "D", "", [slides.Slide("first", "blocks", show=[show])])
    with pytest.raises(ValueError, match=r"deck 'd', slide 1 \(first\): " + re.escape(said)):
        slides.build(tmp_path, {"blocks": read(BOOK / "blocks.ipynb")}, [deck])


def test_a_register_with_a_slip_is_refused(tmp_path):
    path = tmp_path / "slides.yaml"
    for entry, said in (("{titel: x}", "titel"), ("{title: x, show: [{picture: y}]}", "show must be of figure")):
        path.write_text(f"d:\n  title: D\n  slides:\n    - {entry}\n")
        with pytest.raises(ValueError, match=f"deck 'd', slide 1: .*{said}"):
            slides.decks(path)
    with pytest.raises(ValueError, match=r"is missing: make book runs every chapter"):
        slides.executed(["blocks"], tmp_path, run=False)


def test_what_the_kit_names_is_there():
    labels = {
        label
        for name in CHAPTERS
        for label in re.findall(r":label: (ex-[\w-]+)", text_of(read(BOOK / f"{name}.ipynb")))
    }
    for path in sorted(KIT.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        for name, figure in re.findall(r"`([\w-]+)` · `(fig-[\w-]+)`", page):
            slides.find_figure(read(BOOK / f"{name}.ipynb"), figure)
        for place, which, name, figure in re.findall(
            r"\[ch\. (\d+), Fig\. (\d+)\]\(https://[\w./]+/([\w-]+)\.html#(fig-[\w-]+)\)", page
        ):
            known = re.findall(r'name="(fig-[\w-]+)"', text_of(read(BOOK / f"{name}.ipynb")))
            assert (CHAPTERS[int(place) - 1], known[int(which) - 1]) == (name, figure), path.name
        assert set(re.findall(r"`(ex-[\w-]+)`", page)) <= labels, path.name
        for name in re.findall(r"`([a-z]+(?:-[a-z]+)+)`", page):
            assert name in labels | set(CHAPTERS) or name.startswith("fig-") or name in DECKS, (path.name, name)
        for link in re.findall(r"\]\(([\w.-]+)\)", page):
            assert (KIT / link).is_file(), link
    teachers = (BOOK / "for-teachers.md").read_text(encoding="utf-8")
    for name in re.findall(r"/book/teach/([\w.-]+)\)", teachers):
        assert (KIT / name).is_file()


def test_the_list_of_exercises_names_each_once_under_its_chapter():
    chapter, listed = "", []
    for place, label in re.findall(
        r"^\| (?:`([\w-]+)` )?\| `(ex-[\w-]+)` \|", (KIT / "exercises.md").read_text(), re.M
    ):
        chapter = place or chapter
        listed.append(label)
        assert f":label: {label}\n" in text_of(read(BOOK / f"{chapter}.ipynb")), label
    assert len(listed) == len(set(listed)) > 40


def test_the_minutes_of_a_course_follow_each_other():
    for name, whole in (("lecture.md", 90), ("workshop.md", 240)):
        spans = [tuple(map(int, span)) for span in re.findall(r"^\| (\d+) to (\d+) \|", (KIT / name).read_text(), re.M)]
        assert spans[0][0] == 0
        assert spans[-1][1] == whole
        assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))


def test_the_rubric_adds_up():
    points = re.findall(r"^\| \*\*[^|]+\| (\d+) \|", (KIT / "project.md").read_text(), re.M)
    assert sum(map(int, points)) == 100


def test_the_offline_folder(tmp_path, monkeypatch):
    ran = []

    def pip(command, **_):
        ran.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(offline.subprocess, "run", pip)
    assert "run sh install.sh there" in offline.bundle(tmp_path / "room", "https://example.org/cpu")
    assert any("torch==" in command[-1] for command in ran)
    assert all(command[:3] == [sys.executable, "-m", "pip"] for command in ran)
    script = (tmp_path / "room" / "install.sh").read_text()
    assert script.count("--no-index --find-links wheels") == 2
    assert len(list((tmp_path / "room" / "notebooks").glob("*.ipynb"))) == len(CHAPTERS)
    with pytest.raises(ValueError, match="must be new or empty"):
        offline.bundle(tmp_path / "room")
    failed = subprocess.CompletedProcess([], 1, "", "first\nno such package\n")
    monkeypatch.setattr(offline.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ValueError, match="pip could not fill wheels/: no such package"):
        offline.bundle(tmp_path / "other")


def test_the_script_is_one_that_a_shell_reads(tmp_path):
    offline.write_texts(tmp_path)
    subprocess.run(["sh", "-n", str(tmp_path / "install.sh")], check=True)


def test_stubs_of_the_student_version_fail_as_they_should():
    # tests/teaching runs every stub of the book; here it is enough that a stub is the same and that check refuses it.
    for name in (name for chapter in CHAPTERS for name in exercises(chapter)):
        assert check(name, None).passed is False
