"""Nothing that a reader needs is cut off, too small or crossed out, at the width of a desk and of a phone."""

import pytest

from .layout import MEASURE
from .test_pages import CHAPTERS, PAGES

#: Pages that still break a rule, and which: none.
LEFT: dict[str, set[str]] = {}


@pytest.mark.parametrize("name", PAGES)
def test_page_fits_a_desk_and_a_phone(visit, name):
    page = visit(name)
    if page.locator("span.math, div.math").count():
        page.wait_for_selector("mjx-container", timeout=10_000)
    broken = {}
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(200)
        found = page.evaluate(MEASURE)
        if width == 390:
            found["code"] = []  # code may scroll sideways on a phone
        broken |= {
            f"{rule} at {width}": what for rule, what in found.items() if what and rule not in LEFT.get(name, ())
        }
    assert broken == {}


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_solution_opens_where_one_clicks(visit, name):
    page = visit(name)
    title = page.locator(".solution .admonition-title").first
    before = page.url
    title.scroll_into_view_if_needed()
    box = title.bounding_box()
    page.mouse.click(box["x"] + 60, box["y"] + box["height"] / 2)
    page.wait_for_timeout(200)
    assert page.url == before
    assert "toggle-hidden" not in page.locator(".solution").first.get_attribute("class")
