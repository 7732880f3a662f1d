"""A new chapter's notebook has every part that tests/book asks of a chapter; only its words are left to write."""

import json
import shutil
from pathlib import Path

import pytest

from blockprune_lib.teaching import checking
from tools import notebooks

from ..book import test_book

ROOT = Path(__file__).resolve().parents[2]
OWED = [name for name in vars(test_book.TestChapter) if name.startswith("test_")]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty book beside the file that gives the repository's address."""
    (tmp_path / "book").mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize("owed", OWED)
def test_a_new_chapter_has_every_part(owed, project):
    path = notebooks.begin("my-new-chapter")
    judge = getattr(test_book.TestChapter(), owed)
    if owed == "test_leaves_nothing_to_do":
        with pytest.raises(AssertionError):
            judge(path)
    else:
        judge(path)


def test_a_new_chapter_is_in_the_one_form_and_asks_for_checkers_of_its_own(project, capsys):
    assert notebooks.main(["--new", "my-new-chapter"]) == 0
    said = capsys.readouterr().out
    for place in ("checkers/my_new_chapter.py", "test_slips.py", "_toc.yml", "README"):
        assert place in said
    assert notebooks.main(["--check"]) == 0
    path = project / "book" / "my-new-chapter.ipynb"
    code = [test_book.source(cell) for cell in test_book.cells(path, "code")]
    names = {text.partition('check("')[2].partition('"')[0] for text in code} - {""}
    assert len(names) == 3
    assert not names & set(checking.names())
    for text in code:
        compile(text, "cell", "exec")
    assert "@" not in json.dumps(json.loads(path.read_text())["cells"][4:])


@pytest.mark.parametrize("name", ["", "my_chapter", "My-chapter", "my chapter", "a-", "a--b", "1-a", "../a", "a.ipynb"])
def test_what_is_no_name_of_a_chapter_writes_nothing(name, project, capsys):
    with pytest.raises(SystemExit):
        notebooks.main(["--new", name])
    assert "my-chapter would do" in capsys.readouterr().err
    assert list((project / "book").iterdir()) == []


@pytest.mark.parametrize("there", ["blocks.ipynb", "blocks.md"])
def test_a_page_that_is_there_stays(there, project, capsys):
    (project / "book" / there).write_text("mine")
    with pytest.raises(SystemExit):
        notebooks.main(["--new", "blocks"])
    assert "is there" in capsys.readouterr().err
    assert [path.read_text() for path in (project / "book").iterdir()] == ["mine"]
