"""Each page as a reader meets it: whole with every other host blocked, clean at two widths, described, in the dark."""

import re

import pytest
import yaml

from .conftest import HTML

CONTENTS = yaml.safe_load((HTML.parents[1] / "_toc.yml").read_text())
LISTED = [page for part in CONTENTS["parts"] for page in part["chapters"]]
LISTED += [section for page in LISTED for section in page.get("sections", [])]
PAGES = [CONTENTS["root"]] + [page["file"] for page in LISTED]
LIBRARY = [page for page in PAGES if page.partition("/")[0] == "api"]
CHAPTERS = [page for page in PAGES if (HTML.parents[1] / "book" / f"{page}.ipynb").exists()]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", PAGES)
def test_page_is_clean(visit, name, width):
    page = visit(name, width)
    assert page.errors == []
    assert page.blocked == []
    overflow = page.evaluate("document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth")
    assert overflow <= 1, f"{name} scrolls sideways by {overflow} pixels at {width}"


@pytest.mark.parametrize("name", PAGES)
def test_every_picture_is_described(visit, name):
    page = visit(name)
    undescribed = (
        "nodes => nodes.filter(n => !(n.getAttribute('alt') || '').trim()).map(n => n.outerHTML.slice(0, 200))"
    )
    assert page.eval_on_selector_all("main img", undescribed) == []
    assert (
        page.eval_on_selector_all("main img", "nodes => nodes.filter(n => n.complete && !n.naturalWidth).length") == 0
    )


@pytest.mark.parametrize("name", CHAPTERS)
def test_mathematics_and_icons_are_drawn_from_this_machine(visit, name):
    page = visit(name)
    if page.locator("span.math, div.math").count():
        page.wait_for_selector("mjx-container", state="attached", timeout=10_000)  # it may stand behind a fold
    icons = "document.fonts.ready.then(f => [...f].some(x => x.family.includes('Awesome') && x.status == 'loaded'))"
    assert page.evaluate(icons)
    assert '<span class="pre">glue' not in page.content()
    assert "Traceback" not in page.inner_text("main")


@pytest.mark.parametrize("name", CHAPTERS)
def test_dark_mode_shows_the_dark_figures_and_only_those(visit, name):
    page = visit(name, dark=True)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    # A figure may be the answer to a prediction, behind a fold.
    page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    assert page.locator(".bp-figure .bp-dark:visible").count() == page.locator(".bp-figure").count() > 0
    assert page.locator(".bp-figure .bp-light:visible").count() == 0


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapters_open_in_colab_and_name_their_machine(visit, name):
    page = visit(name)
    links = page.eval_on_selector_all("a[href*='colab.research.google.com']", "nodes => nodes.map(n => n.href)")
    assert any(link.endswith(f"/book/{name}.ipynb") for link in links)
    assert "Measured on" in page.inner_text(".bp-passport")


@pytest.mark.parametrize("name", PAGES)
def test_a_shared_link_shows_what_the_page_is_about_and_a_picture_that_is_there(visit, name):
    page = visit(name)

    def about(kind, key):
        return page.locator(f'head meta[{kind}="{key}"]').get_attribute("content", timeout=2000)

    assert 60 < len(about("name", "description")) <= 204
    assert about("property", "og:description") == about("name", "description")
    assert about("property", "og:title")
    address = about("property", "og:url")
    assert address.endswith(f"/{name}.html")
    picture = HTML / about("property", "og:image").removeprefix(address.removesuffix(f"{name}.html"))
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_map_of_the_site_lists_every_page(site):
    listed = re.findall(r"<loc>(https://[^<]+)</loc>", (HTML / "sitemap.xml").read_text())
    [home] = [address.removesuffix("index.html") for address in listed if address.endswith("/index.html")]
    assert sorted(address.removeprefix(home) for address in listed) == sorted(f"{name}.html" for name in PAGES)
    assert f"Sitemap: {home}sitemap.xml" in (HTML / "robots.txt").read_text()


def test_search_finds_a_name_of_the_library(visit):
    page = visit("search")
    page.goto(page.url + "?q=group_soft_threshold")
    page.wait_for_selector("ul.search li a", timeout=10_000)
    found = page.eval_on_selector_all("ul.search li a", "nodes => nodes.map(n => n.href)")
    assert any("api/pruning.html#blockprune_lib.pruning.group_soft_threshold" in link for link in found)


def test_the_librarys_first_page_leads_to_where_each_name_is_told(visit):
    page = visit("api")
    links = page.eval_on_selector_all("main table a.reference[href*='#']", "nodes => nodes.map(n => n.href)")
    assert len(links) > 30
    assert sum((HTML / f"{name}.html").read_text().count('<dt class="sig ') for name in LIBRARY) > 300
    for address in {link.partition("#")[0] for link in links}:
        told = (HTML / "api" / address.rsplit("/", 1)[1]).read_text()
        assert all(f'id="{link.partition("#")[2]}"' in told for link in links if link.startswith(f"{address}#"))


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", LIBRARY)
def test_signatures_wrap(visit, name, width):
    page = visit(name, width)
    assert page.locator("dt.sig").count() > (4 if "/" in name else -1)
    assert page.locator("main pre.literal-block").count() == 0
    wide = "nodes => nodes.filter(n => n.scrollWidth > n.clientWidth + 1).map(n => n.id)"
    assert page.eval_on_selector_all("dl.py > dt.sig, dl.py dd > p, table.autosummary", wide) == []


def test_search_finds_a_word_without_a_network(visit):
    page = visit("search")
    page.goto(page.url + "?q=reweighting")
    page.wait_for_selector("ul.search li a", timeout=10_000)
    assert page.blocked == []
