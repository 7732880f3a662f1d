"""What every chapter owes its reader, checked on the sources; the built pages are checked in tests/pages."""

import json
import re
from pathlib import Path

import pytest
import yaml

BOOK = Path(__file__).resolve().parents[2] / "book"
#: Tags of a code cell that a page shows folded, or not at all.
FOLDED = {"hide-input", "remove-input", "hide-cell", "remove-cell"}
CHAPTERS = sorted(BOOK.glob("*.ipynb"))
MINUTES = {"Five": 5, "Ten": 10, "Twenty": 20}
ids = [path.stem for path in CHAPTERS]


def cells(path, kind=None):
    found = json.loads(path.read_text())["cells"]
    return [cell for cell in found if kind in (None, cell["cell_type"])]


def source(cell):
    return "".join(cell["source"])


def tags(cell):
    return cell["metadata"].get("tags", [])


def prose(path):
    return "\n\n".join(source(cell) for cell in cells(path, "markdown"))


def test_every_page_of_the_contents_exists_and_every_chapter_is_in_them():
    contents = yaml.safe_load((BOOK.parent / "_toc.yml").read_text())
    listed = [page for part in contents["parts"] for page in part["chapters"]]
    listed += [section for page in listed for section in page.get("sections", [])]
    pages = [contents["root"]] + [page["file"] for page in listed]
    have = {path.stem for path in [*BOOK.glob("*.md"), *CHAPTERS]}
    have |= {f"api/{path.stem}" for path in BOOK.glob("api/*.md")}
    assert sorted(pages) == sorted(have)
    assert not [page for page in pages if "_" in page]


def test_the_glossary_tells_each_term_once():
    body = (BOOK / "glossary.md").read_text().partition("```{glossary}\n")[2].partition("\n```")[0]
    heads = re.findall(r"^(?! )(?!:)(\S.*)$", body, re.M)
    terms = [term.strip().lower() for head in heads for term in head.split(",")]
    assert len(terms) > 30
    assert len(set(terms)) == len(terms)


def test_teachers_are_told_how_long_a_chapter_takes():
    known = [json.loads(path.read_text())["metadata"]["blockprune"] for path in CHAPTERS]
    read, asked = ([each[f"{what}_minutes"] for each in known] for what in ("read", "exercise"))
    said = (BOOK / "for-teachers.md").read_text()
    assert f"takes {min(read)} to {max(read)} minutes to read" in said
    assert f"its exercises {min(asked)} to {max(asked)} without the open one" in said
    assert (round(sum(read) / 60), round(sum(asked) / 30) / 2) == (8, 8.0)
    assert "about eight hours to read, and their exercises eight." in said


def test_the_bibliography_is_whole_and_holds_every_entry_that_is_cited():
    from pybtex.database import parse_file

    entries = set(parse_file(str(BOOK / "references.bib")).entries)
    for path in [*BOOK.glob("*.md"), *CHAPTERS]:
        text = prose(path) if path.suffix == ".ipynb" else path.read_text()
        cited = {key.strip() for keys in re.findall(r"\{cite:?\w*\}`([^`]+)`", text) for key in keys.split(",")}
        assert cited <= entries, path.name


@pytest.mark.parametrize("path", CHAPTERS, ids=ids)
class TestChapter:
    def test_opens_with_title_glance_setup_and_passport(self, path):
        kinds = [cell["cell_type"] for cell in cells(path)]
        assert kinds[0] == "markdown"
        assert source(cells(path)[0]).startswith("# ")
        assert "At a glance" in prose(path)
        code = cells(path, "code")
        assert tags(code[0]) == ["setup", "hide-input"]
        assert "chapter.passport()" in source(code[1])

    def test_links_made_by_a_cell_name_the_built_page(self, path):
        """Sphinx resolves a link to a source file in prose, not in what a cell prints."""
        for cell in cells(path, "code"):
            assert not re.search(r"\]\([\w-]+\.(ipynb|md)\b", source(cell)), source(cell)

    def test_promises_its_time_in_three_tiers(self, path):
        metadata = json.loads(path.read_text())["metadata"]["blockprune"]
        assert {"read_minutes", "exercise_minutes", "laptop_seconds", "full"} <= set(metadata)
        glance = prose(path).partition("At a glance")[2][:2500].lower()
        assert f"{metadata['read_minutes']} min" in glance
        assert f"exercises {metadata['exercise_minutes']} min" in glance
        assert re.search(rf"\b{metadata['laptop_seconds']} (s\b|seconds)", glance)

    def test_promises_no_fewer_minutes_than_its_text_and_its_exercises_ask_for(self, path):
        metadata = json.loads(path.read_text())["metadata"]["blockprune"]
        text, _, rest = prose(path).partition("\n## Exercises")
        written = len(text.split()) + len(rest.partition("\n## What to remember")[2].split())
        assert written / 200 < metadata["read_minutes"], "200 words a minute, output on top"
        asked = re.findall(r"(?:\*(Five|Ten|Twenty) minutes\.\*|\((5|10|20) minutes\))", rest)
        assert sum(MINUTES.get(word) or int(figure) for word, figure in asked) == metadata["exercise_minutes"]

    def test_asks_before_it_measures_and_closes_with_what_to_remember(self, path):
        text = prose(path)
        assert re.search(r"\{admonition\} Predict", text)
        for heading in ("Where it stops being true", "What to remember", "Further reading"):
            assert heading in text, heading
        assert "{cite" in text

    def test_has_three_exercises_each_with_a_folded_solution(self, path):
        text = prose(path)
        labels = re.findall(r":label: (ex-[\w-]+)", text)
        assert len(labels) >= 3
        for label in labels:
            assert re.search(r"\{solution[\w-]*\} " + label, text), label
        stubs = [cell for cell in cells(path, "code") if "exercise-stub" in tags(cell)]
        solutions = [cell for cell in cells(path, "code") if "exercise-solution" in tags(cell)]
        assert len(stubs) == len(solutions) >= 2
        assert all("hide-input" in tags(cell) for cell in solutions)
        assert "{solution} " not in text, "solution-start and solution-end fold the code of a solution with its text"

    def test_a_folded_output_says_what_it_holds(self, path):
        """Without words of its own a fold says "Show code cell output", which tells a reader nothing."""
        for cell in cells(path, "code"):
            words = set(cell["metadata"].get("mystnb", {}))
            assert "hide-output" not in tags(cell) or {"code_prompt_show", "code_prompt_hide"} <= words, source(cell)

    def test_folds_the_answer_to_each_prediction(self, path):
        open_questions = []
        for cell in cells(path):
            text = source(cell)
            if "hide-output" in tags(cell) or text.startswith(("```{admonition} The answer", "```{admonition} Why")):
                open_questions.clear()
            assert not (open_questions and "{admonition} Predict" in text), open_questions
            if "{admonition} Predict" in text and "{admonition} Why" not in text.partition("{admonition} Predict")[2]:
                open_questions.append(text)
        assert not open_questions

    def test_shows_a_figure_early_and_describes_every_one(self, path):
        code = [source(cell) for cell in cells(path, "code")]
        drawn = [text for text in code if "plots.figure(" in text]
        assert drawn
        for text in drawn:
            for part in ("alt", "caption", "name"):
                assert re.search(rf"\b{part}=", text), f"{part}= is missing:\n{text}"
        names = [name for text in drawn for name in re.findall(r"\bname=\"([^\"]+)\"", text)]
        assert len(names) == len(set(names)) == sum(text.count("plots.figure(") for text in drawn)
        assert not [text for text in code if "plt.show(" in text]

    def test_cells_fit_a_phone(self, path):
        for cell in cells(path, "code"):
            lines = [line for line in source(cell).splitlines() if line.strip()]
            assert len(lines) <= (40 if "setup" in tags(cell) else 24), source(cell)
            assert max(map(len, lines)) <= 76, source(cell)

    def test_folds_what_only_draws(self, path):
        drawing = [cell for cell in cells(path, "code") if re.search(r"plots\.figure\(|\bax(es)?\.", source(cell))]
        visible = [cell["id"] for cell in drawing if not FOLDED.intersection(tags(cell))]
        assert visible == []

    def test_has_no_measured_number_typed_by_hand(self, path):
        typed = re.compile(
            r"\b\d+(\.\d+)?\s?(x|×|times|GFLOP/s|ms|GB/s)\s+(as fast|faster|quicker|slower|speed|smaller)"
        )
        assert not typed.search(prose(path))

    def test_keeps_the_voice(self, path):
        for word in ("simply", "obviously", "let's dive in"):
            assert word not in prose(path).lower(), word
        visible = re.sub(r"`[^`]*`|\$[^$]*\$|!\[|!=", "", prose(path))
        assert "!" not in visible

    def test_links_its_terms_to_the_glossary_and_has_short_names_for_chapters(self, path):
        linked = re.findall(r"\{term\}`(?:[^`<]*<)?([^`>]+)>?`", prose(path))
        assert len(linked) >= 2
        assert len(linked) == len(set(linked)), "each term once a page"
        assert "{doc}`" not in prose(path)

    def test_leaves_nothing_to_do(self, path):
        assert not [cell["id"] for cell in cells(path) if "TODO" in source(cell)]

    def test_has_no_outputs(self, path):
        for cell in cells(path, "code"):
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_the_front_page_numbers_chapters_as_the_menu_does():
    parts = yaml.safe_load((BOOK.parent / "_toc.yml").read_text())["parts"]
    order = [one["file"] for part in parts if part.get("numbered") for one in part["chapters"]]
    page = (BOOK / "index.md").read_text(encoding="utf-8")
    told = re.findall(r"(\d+), \[[^]]*\]\(([\w-]+)\.ipynb\)", page.split("| you are |")[1].split("## What came out")[0])
    told += [(n, name) for name, n in re.findall(r"\]\(([\w-]+)\.ipynb\),\s+chapter (\d+)", page)]
    told += [(n, name) for n, name in re.findall(r"\[chapter (\d+)\]\(([\w-]+)\.ipynb\)", page)]
    assert len(told) >= 8
    assert all(order[int(number) - 1] == name for number, name in told)
