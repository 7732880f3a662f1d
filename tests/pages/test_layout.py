"""Nothing that a reader needs is cut off, too small or crossed out, at the width of a desk and of a phone."""

import pytest

from .layout import MEASURE
from .test_pages import CHAPTERS, PAGES


def measured(page, width):
    """What breaks each rule at a width, without the rules that nothing breaks."""
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_timeout(200)
    return {rule: what for rule, what in page.evaluate(MEASURE).items() if what}


@pytest.mark.parametrize("name", PAGES)
def test_page_fits_a_desk_and_a_phone(visit, name):
    page = visit(name)
    if page.locator("span.math, div.math").count():
        page.wait_for_selector("mjx-container", state="attached", timeout=10_000)
    desk, phone = measured(page, 1280), measured(page, 390)
    phone.pop("code", None)  # code may scroll sideways on a phone
    for found in desk, phone:
        found.pop("clashes", None)  # the test below
    assert (desk, phone) == ({}, {})


@pytest.mark.parametrize("name", PAGES)
def test_no_label_of_a_figure_meets_another(visit, name):
    """Whether they meet depends on what a run measured: this test guards what is published, not a change (.ci/run)."""
    assert "clashes" not in measured(visit(name), 1280)


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
