"""The front page, the book as files, and the book on paper."""

import zipfile

import pytest

from tools.offline import NAME, pack

from .conftest import HTML
from .explorers import PLACE, figures, put, shown, trait


def test_both_explorers_are_alive_and_the_blocks_come_first(visit):
    page = visit("index")
    assert page.locator(PLACE).evaluate_all("all => all.map(one => one.dataset.explorer)") == [
        "block_explorer",
        "rate_explorer",
    ]
    for at, label in ((0, "Compression rate"), (1, "Rate")):
        slider = shown(page, at).get_by_label(label, exact=False).first
        slider.focus()
        page.keyboard.press("Home")
        first = trait(page, "rate", at)
        page.keyboard.press("ArrowRight")
        assert trait(page, "rate", at) > first
        figures(page, at)
    assert trait(page, "structure", 0) == "block_column:4"  # as every table of the page
    assert "oofline" not in shown(page, 0).inner_text()
    assert page.locator(f"{PLACE} [role=alert]").count() == 0
    assert page.errors == []


def test_what_no_record_holds_is_said_to_be_not_measured(visit):
    page = visit("index")
    frame = shown(page, 1)
    put(page, {"rate": 5}, at=1)
    rows = figures(page, 1)["rows"]
    missing = sum(not row["scores"] for row in rows) + sum(row["times"] is None for row in rows)
    assert frame.locator("tbody td", has_text="not measured").count() >= missing
    assert {row["kind"] for row in rows} >= {"dense", "blocks"}
    assert "seed" in frame.inner_text()


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_serious_for_axe_on_the_front_page(visit, dark):
    from axe_playwright_python.sync_playwright import Axe

    page = visit("index", dark=dark)
    for at in range(2):
        shown(page, at)
    page.wait_for_timeout(200)
    found = Axe().run(page, context=PLACE).response["violations"]
    assert [(f["id"], f["nodes"][0]["html"][:160]) for f in found if f["impact"] in ("serious", "critical")] == []


def test_the_front_page_stays_light(site):
    assert len((HTML / "index.html").read_bytes()) < 1_500_000


def test_the_zip_opens_as_files_without_a_server(visit, browser, tmp_path):
    visit("index")  # skips where there is no book
    pack(HTML, tmp_path / "book.zip")
    zipfile.ZipFile(tmp_path / "book.zip").extractall(tmp_path)
    context = browser.new_context()
    try:
        page = context.new_page()
        errors, asked = [], []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("request", lambda request: asked.append(request.url))
        folder = (tmp_path / NAME).as_uri()
        for name in ("index", "api", "api/pruning", "glossary", "faults"):
            page.goto(f"{folder}/{name}.html")
            page.wait_for_timeout(300)
        page.goto(f"{folder}/index.html")
        assert shown(page, 0).get_by_role("slider").count() > 0
        page.goto(f"{folder}/search.html?q=reweighting")
        page.wait_for_selector("ul.search li a", timeout=10_000)
        assert errors == []
        assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    finally:
        context.close()


def test_on_paper_a_picture_stands_for_each_explorer_and_navigation_is_gone(visit):
    page = visit("index")
    assert page.locator(".bpw-picture:visible").count() == 0
    page.emulate_media(media="print")
    assert page.locator(".bpw-picture:visible").count() == 2
    assert page.locator(f"{PLACE}:visible").count() == 0
    assert page.locator(".bd-sidebar-primary:visible, .bd-header-article:visible").count() == 0


def test_on_paper_a_chapter_has_its_passports_line_and_open_folds_but_no_set_up(visit):
    page = visit("blocks")
    page.emulate_media(media="print")
    assert page.locator(".bp-passport summary:visible").count() == 1
    assert page.locator(".bp-passport table:visible").count() == 0
    assert page.locator(".cell.tag_setup:visible").count() == 0
    closed = "folds => folds.filter(e => !e.closest('.tag_setup') && !e.checkVisibility()).length"
    outputs = page.locator("details.hide > .cell_output")
    assert outputs.count() > 2
    assert outputs.evaluate_all(closed) == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
