"""What each page says of itself, without building the book; tests/pages looks at the built ones."""

import re
from collections import defaultdict
from types import SimpleNamespace

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from myst_nb.ext.execution_tables import make_stat_table
from pybtex.database import parse_file
from sphinx.addnodes import pending_xref

from tools import bibliography_style, book_page, runs_table
from tools.repository import ROOT


@pytest.mark.parametrize(
    ("repository", "address"),
    [
        ("https://github.com/Ada/Engine", "https://ada.github.io/Engine/"),
        ("https://github.com/ada/engine/", "https://ada.github.io/engine/"),
        ("https://github.com/Ada/ada.github.io", "https://ada.github.io/"),
    ],
)
def test_the_sites_address_follows_the_repository(repository, address, monkeypatch):
    monkeypatch.delenv("BLOCKPRUNE_BASE_URL", raising=False)
    assert book_page.pages_address(repository) == address
    config = SimpleNamespace(html_theme_options={"repository_url": repository}, html_baseurl="")
    book_page.set_address(None, config)
    assert config.html_baseurl == address
    monkeypatch.setenv("BLOCKPRUNE_BASE_URL", "https://example.org/")
    book_page.set_address(None, config)
    assert config.html_baseurl == "https://example.org/"


def test_a_page_is_described_by_its_first_paragraph_of_prose():
    prose = "A sentence that is long enough to say what a page is about, and then goes on. " * 4
    document = publish_doctree(f"Title\n=====\n\nSection\n-------\n\nShort.\n\n- {prose}\n\n{prose}\n")
    told = book_page.describe(document)
    assert told.startswith("A sentence that is long enough")
    assert len(told) <= 204
    assert told.endswith(" ...")
    assert book_page.describe(None) == ""
    assert book_page.describe(publish_doctree("Nothing.")) == ""


def ran(day, seconds):
    at = 1764122898.0 + 86400 * day
    return {"exec_data": {"mtime": at, "method": "cache", "runtime": seconds, "succeeded": True}}


def table_of_runs(pages):
    document = publish_doctree("A page.")
    document += make_stat_table("built", defaultdict(dict, pages))
    titles = {"blocks": nodes.title("", "Which weights?")}
    runs_table.plain_runs(SimpleNamespace(env=SimpleNamespace(titles=titles), srcdir=ROOT / "book"), document, "built")
    (table,) = document.findall(nodes.table)
    return table, [[entry.astext() for entry in row.children] for row in table.findall(nodes.row)]


def test_the_table_of_runs_is_in_the_books_order_with_promises_and_a_sum():
    table, rows = table_of_runs({"blocks": ran(0, 16.03), "unknown": ran(0, 1.4), "whole-story": ran(0, 20.5)})
    head, *rows = rows
    assert head[:2] == ["page", "promised, s"]
    assert re.fullmatch(r"seconds, 2025-11-2[56]", head[2])
    assert [row[0] for row in rows] == ["1. whole-story", "4. Which weights?", "unknown", "all"]
    assert [row[2] for row in rows] == ["20", "16", "1", "38"]
    assert rows[1][1].isdigit()
    assert len(list(table.findall(nodes.colspec))) == 3
    assert len(list(table.findall(pending_xref))) == 3


def test_the_table_of_runs_has_days_where_they_differ():
    _, rows = table_of_runs({"blocks": ran(0, 16.03), "unknown": ran(2, 1.4)})
    assert rows[0] == ["page", "ran on", "promised, s", "seconds"]
    assert rows[1][1] != rows[2][1]


def test_the_share_card_is_as_large_as_a_card_should_be():
    from matplotlib import image

    assert image.imread(ROOT / "book" / book_page.CARD).shape[:2] == (630, 1200)


def test_labels_are_those_of_the_text():
    entries = parse_file(str(ROOT / "book" / "references.bib")).entries
    labels = {key: bibliography_style.label(entry) for key, entry in entries.items()}
    assert labels["li2020efficient"] == "Li et al., 2020"
    assert labels["yuan2006model"] == "Yuan and Lin, 2006"
    assert labels["tibshirani1996regression"] == "Tibshirani, 1996"
    assert labels["vanzee2015blis"] == "Van Zee and van de Geijn, 2015"
    found = list(bibliography_style.AuthorYearLabels().format_labels([*entries.values(), entries["li2020efficient"]]))
    assert len(set(found)) == len(found), "two that are alike get letters"


def test_every_entry_leads_somewhere_and_shows_no_markup():
    for key, entry in parse_file(str(ROOT / "book" / "references.bib")).entries.items():
        assert {"doi", "url", "eprint"} & set(entry.fields), key
        assert "$" not in entry.fields["title"], key
