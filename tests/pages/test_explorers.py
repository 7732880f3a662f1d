"""Each explorer on a page without a kernel, every other host blocked: its figures, keys, mouse, and reading aloud."""

import os

import numpy as np
import pytest
import torch
from torch import nn

from blockprune_lib import widgets
from blockprune_lib.widgets import block_explorer, host, kernel_animation, roofline_explorer

from ..helpers.recorded import bench, runs
from .conftest import serving, visits
from .explorers import PLACE, figures, put, same, shown, trait

MACHINE = {
    "cpu": "A Processor", "isa": "NEON", "peak_core_gflops": 50.0, "peak_all_gflops": 90.0, "bandwidth_core_gbs": 10.0,
    "bandwidth_gbs": 16.0,
}  # fmt: skip
PAGE = """<!doctype html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8"><title>{name}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head><body><main><h1>{name}</h1>{html}</main>"""
NAMES = ("block", "rate", "reweighting", "roofline", "kernel")


def models():
    """Two models with matrices of several shapes, ragged under some structures, and the second shrunk in places."""
    torch.manual_seed(3)
    first = nn.Sequential(nn.Linear(160, 128), nn.Linear(128, 200))
    second = nn.Sequential(nn.Linear(160, 128), nn.Linear(128, 200))
    with torch.no_grad():
        for one, other in zip(first, second, strict=True):
            one.weight.mul_(torch.linspace(0.2, 3, one.weight.shape[0])[:, None])
            other.weight.copy_(torch.where(torch.rand(other.weight.shape) < 0.5, one.weight, one.weight / 20))
    return {"dense": first, "shrunk": second}


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    """The explorers, and a folder with a page for each."""
    before = os.environ.get(host.STATIC)
    os.environ[host.STATIC] = "1"
    record = {"hardware": MACHINE, "cases": []}
    for density, ms in ((0.1, 0.3), (0.5, 1.4), (1.0, 3.1)):
        times = {"median": ms, "q1": ms * 0.9, "q3": ms * 1.1}
        what = {"shape": [3072, 768], "structure": "block_column:16", "density": density, "tokens": 128, "threads": 1}
        dense = {"median": 2.5, "q1": 2.4, "q3": 2.6}
        engines = [{"key": "torch", "ms": dense}, {"key": "blockprune", "ms": times}]
        record["cases"].append({"what": what, "engines": engines, "ours": "blockprune"})
    found = {
        "block": widgets.BlockExplorer(models(), layers=["0", "1"], structure="block_row:16"),
        "rate": widgets.RateExplorer(runs(), [bench()], rate=3.0),
        "reweighting": widgets.ReweightingExplorer(rounds=1),
        "roofline": widgets.RooflineExplorer([MACHINE | {"cpu": "Another"}], [record]),
        "kernel": widgets.KernelAnimation(),
    }
    folder = tmp_path_factory.mktemp("explorers")
    for name, explorer in found.items():
        for theme in ("light", "dark"):
            text = PAGE.format(name=name, html=explorer.html(), theme=theme)
            (folder / f"{name}-{theme}.html").write_text(text)
    both = found["kernel"].html() + found["kernel"].html() + found["reweighting"].html()
    (folder / "several.html").write_text(PAGE.format(name="several", html=both, theme="light"))
    yield found, folder
    os.environ.pop(host.STATIC)
    if before is not None:
        os.environ[host.STATIC] = before


@pytest.fixture(scope="session")
def address(workshop):
    with serving(workshop[1]) as found:
        yield found


@pytest.fixture
def visit(browser, address):
    with visits(browser, address) as open_page:
        yield open_page


def settings_of(name):
    """Settings of one explorer that between them meet every structure and scope."""
    if name == "block":
        for number, structure in enumerate(block_explorer.STRUCTURES):
            for scope in block_explorer.SCOPES:
                rate = block_explorer.RATES[(37 * number) % len(block_explorer.RATES)]
                yield {"layer": f"{number % 2}.weight", "structure": structure, "scope": scope, "rate": rate}
    elif name == "rate":
        explorer = widgets.RateExplorer(runs(), [bench()])
        for rate in explorer.data["rates"]:
            for machine in explorer._names["machine"]:
                for cut in explorer._names["cut"]:
                    yield {"task": "minilm, cola", "rate": rate, "machine": machine, "cut": cut}
        yield {"task": "minilm, rte", "rate": 5.0}
    elif name == "reweighting":
        for rounds in (0, 1, 5):
            for grouping in ("separate", "together"):
                yield {"rounds": rounds, "grouping": grouping, "lam": 0.4, "eps": 0.02, "first": 1.05, "second": 0.6}
        yield {"rounds": 3, "lam": 0.0, "grouping": "separate"}
        yield {"rounds": 2, "lam": 1.5, "first": 0.0, "second": 2.4}
    elif name == "roofline":
        for number, structure in enumerate(roofline_explorer.STRUCTURES):
            for tokens in (1, 64, 4096):
                shape = roofline_explorer.SHAPES[number % len(roofline_explorer.SHAPES)]
                yield {"structure": structure, "tokens": tokens, "shape": shape, "density": 0.01 + number / 7}
        yield {"machine": "A Processor, NEON", "structure": "block_column:16", "shape": "3072x768", "tokens": 128}
        yield {"threads": "all", "density": 1.0}
    else:
        for structure in kernel_animation.STRUCTURES:
            for step in (0, 3, 7):
                yield {"structure": structure, "step": step}


@pytest.mark.parametrize("name", NAMES)
def test_the_pages_figures_are_the_librarys(name, workshop, visit):
    explorer, page = workshop[0][name], visit(f"{name}-light")
    frame = shown(page)
    same(figures(page), explorer.figures())
    seen = set()
    for settings in settings_of(name):
        put(page, settings)
        with explorer.hold_trait_notifications():
            for key, value in settings.items():
                setattr(explorer, key, value)
        same(figures(page), explorer.figures(), where=str(settings))
        seen.add(frame.inner_text())
    assert len(seen) > 5
    assert page.errors == []
    assert page.blocked == []


CONTROLS = {
    "block": {"Compression rate": "rate"},
    "rate": {"Rate": "rate"},
    "reweighting": {"Refreshes of α": "rounds", "λ": "lam", "ε": "eps"},
    "roofline": {"Tokens": "tokens", "Density": "density"},
    "kernel": {"Step": "step"},
}
MENUS = {
    "rate": {"Machine": "machine", "Task and model": "task", "Blocks": "cut"},
    "block": {"Matrix": "layer", "Structure": "structure", "Rank within": "scope"},
    "reweighting": {"Groups": "grouping"},
    "roofline": {"Machine": "machine", "Threads": "threads", "Layer": "shape", "Structure": "structure"},
    "kernel": {"Structure": "structure"},
}


@pytest.mark.parametrize("name", NAMES)
def test_sliders_move_by_keyboard_and_by_mouse(name, visit):
    page = visit(f"{name}-light")
    frame = shown(page)
    for label, key in CONTROLS[name].items():
        slider = frame.get_by_label(label, exact=False).first
        slider.focus()
        page.keyboard.press("Home")
        first, words = trait(page, key), slider.get_attribute("aria-valuetext")
        page.keyboard.press("ArrowRight")
        second = trait(page, key)
        assert second > first
        page.keyboard.press("End")
        assert trait(page, key) > second or name == "kernel"
        assert slider.get_attribute("aria-valuetext") != words
        figures(page)
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        page.mouse.move(box["x"] + 4, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
        page.mouse.up()
        assert first < trait(page, key)
        assert slider.get_attribute("aria-valuetext") != words
    assert page.errors == []


@pytest.mark.parametrize("name", NAMES)
def test_menus_change_what_is_shown(name, visit):
    for label, key in MENUS[name].items():
        page = visit(f"{name}-light")
        frame = shown(page)
        if name == "rate":  # at which blocks were timed on every machine
            put(page, {"rate": 5.0})
        menu = frame.get_by_label(label, exact=False).first
        values = menu.evaluate("menu => [...menu.options].map(option => option.value)")
        assert len(values) > 1
        before = set()
        for value in values:
            menu.select_option(value)
            figures(page)
            before.add(str(trait(page, key)))
        assert len(before) == len(values)
        assert frame.locator("[role=alert]").count() == 0
        assert page.errors == []


def test_the_block_menu_offers_the_sizes_of_its_kind(visit):
    page = visit("block-light")
    frame = shown(page)
    size = frame.get_by_label("Block size")
    frame.get_by_label("Structure").select_option("tile")
    _, sizes = block_explorer.KINDS["tile"]
    assert size.evaluate("menu => [...menu.options].map(option => option.value)") == list(sizes)
    size.select_option("8x8")
    assert trait(page, "structure") == "tile:8x8"
    frame.get_by_label("Structure").select_option("row")
    assert size.is_disabled()
    frame.get_by_label("Structure").select_option("tile")
    assert trait(page, "structure") == "tile:8x8", "a kind keeps the size that it had"


def test_the_rooflines_text_is_nine_pixels_on_a_phone(visit):
    page = visit("roofline-light", width=390)
    small = """nodes => nodes.map(text => parseFloat(getComputedStyle(text).fontSize)
      * text.ownerSVGElement.clientWidth / text.ownerSVGElement.viewBox.baseVal.width)"""
    sizes = shown(page).locator("svg text").evaluate_all(small)
    assert min(sizes) >= 9


def test_the_map_is_the_mask(workshop, visit):
    explorer, page = workshop[0]["block"], visit("block-light")
    shown(page)
    for structure in ("irregular", "tile:16x16", "column"):
        settings = {"layer": "1.weight", "structure": structure, "rate": 3.0, "scope": "matrix"}
        put(page, settings)
        with explorer.hold_trait_notifications():
            for key, value in settings.items():
                setattr(explorer, key, value)
        script = f"""() => {{
          const map = document.querySelector('{PLACE} canvas'), {{ width, height }} = map;
          const {{ data }} = map.getContext('2d').getImageData(0, 0, width, height);
          return {{ width, height, pixels: Array.from(new Uint32Array(data.buffer)) }};
        }}"""
        found = page.evaluate(script)
        weight = explorer.weight("dense")
        parsed = widgets.block_explorer.BlockStructure.parse(structure)
        keep = explorer._keep("dense", weight, parsed).numpy()
        assert (found["height"], found["width"]) == keep.shape
        gone = 0xFFEEEBE9  # the plain ground, #E9EBEE
        assert np.array_equal(np.array(found["pixels"], dtype=np.int64).reshape(keep.shape) != gone, keep)


def test_menus_offer_what_was_recorded_beside_the_other_choices(workshop, visit):
    page = visit("rate-light")
    frame, explorer = shown(page), widgets.RateExplorer(runs(), [bench()])
    menus = {"cuts": "Blocks", "machines": "Machine"}

    def options(name):
        return (
            frame.get_by_label(menus[name], exact=False).locator("option").evaluate_all("all => all.map(o => o.value)")
        )

    for cut in explorer.offers()["cuts"]:
        frame.get_by_label("Blocks", exact=False).select_option(cut)
        figures(page)
        for name in ("task", "cut", "rate", "machine"):
            setattr(explorer, name, trait(page, name))
        offers = explorer.offers()
        assert explorer.cut == cut
        assert explorer.rate in offers["rates"]
        assert {name: options(name) for name in menus} == {name: offers[name] for name in menus}
        assert int(frame.get_by_role("slider").get_attribute("max")) == len(offers["rates"]) - 1
    frame.get_by_label("Task").select_option("minilm, rte")
    figures(page)
    assert trait(page, "rate") == 1
    assert options("cuts") == [cut]
    assert "not recorded" in frame.get_by_label("Blocks", exact=False).locator("option").first.inner_text()


def test_steps_play_pause_and_stop_at_the_end(visit):
    page = visit("kernel-light")
    frame = shown(page)
    back, step = frame.get_by_role("button", name="Back"), frame.get_by_role("button", name="Step")
    assert back.is_disabled()
    step.press("Enter")
    figures(page)
    assert trait(page, "step") == 1
    back.press("Space")
    figures(page)
    assert trait(page, "step") == 0
    play = frame.get_by_role("button", name="Play")
    play.click()
    assert frame.get_by_role("button", name="Pause").get_attribute("aria-pressed") == "true"
    page.wait_for_function(f"document.querySelector('{PLACE}').explorer.get('step') > 0", timeout=20_000)
    frame.get_by_role("button", name="Pause").click()
    at = trait(page, "step")
    page.wait_for_timeout(1800)
    assert trait(page, "step") == at
    assert at > 0


def test_reduced_motion_is_respected(browser, address):
    """Playing waits longer where less motion is asked for."""
    spy = """window.waits = []; window.old = window.setInterval;
      window.setInterval = (act, ms) => { window.waits.push(ms); return window.old(act, ms); }; 0"""
    waits = {}
    for motion in ("reduce", "no-preference"):
        with visits(browser, address) as open_page:
            page = open_page("kernel-light", reduced_motion=motion)
            frame = shown(page)
            page.evaluate(spy)
            frame.get_by_role("button", name="Play").click()
            waits[motion] = max(wait for wait in page.evaluate("window.waits") if wait)
    assert waits["reduce"] > waits["no-preference"]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("block", {"structure": "rows"}),
        ("block", {"scope": "model", "structure": "tile:5x5"}),
        ("roofline", {"machine": "none"}),
        ("rate", {"machine": "none"}),
        ("rate", {"rate": 4}),
        ("kernel", {"structure": "tile:9x9"}),
        ("roofline", {"shape": None}),
    ],
)
def test_a_bad_value_gives_a_message_and_not_a_blank(name, settings, visit):
    page = visit(f"{name}-light")
    frame = shown(page)
    before = {key: trait(page, key) for key in settings}
    page.evaluate(
        f"""settings => {{
          const model = document.querySelector('{PLACE}').explorer;
          for (const [name, value] of Object.entries(settings)) model.set(name, value);
        }}""",
        settings,
    )
    page.wait_for_timeout(100)
    assert frame.locator("[role=alert]").count() == 1
    assert "cannot be drawn" in frame.locator("[role=alert]").inner_text()
    put(page, before)
    page.wait_for_timeout(100)
    assert frame.locator("[role=alert]").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_serious_for_axe(name, theme, visit):
    from axe_playwright_python.sync_playwright import Axe

    page = visit(f"{name}-{theme}", dark=theme == "dark")
    shown(page)
    page.wait_for_timeout(100)
    found = Axe().run(page, context=PLACE).response["violations"]
    serious = [
        (fault["id"], fault["nodes"][0]["html"][:200]) for fault in found if fault["impact"] in ("serious", "critical")
    ]
    assert serious == []


@pytest.mark.parametrize("name", NAMES)
def test_on_a_phone_it_fits_and_its_targets_are_large(name, browser, address):
    with visits(browser, address) as open_page:
        page = open_page(f"{name}-light", 390, has_touch=True, is_mobile=True)
        frame = shown(page)
        assert page.evaluate("document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth") <= 1
        small = frame.evaluate("""root => [...root.querySelectorAll('button, select, input')].filter(target => {
          const { width, height } = target.getBoundingClientRect();
          return width < 44 || height < 44;
        }).map(target => target.outerHTML)""")
        assert small == []


@pytest.mark.parametrize("name", NAMES)
def test_what_changed_is_said(name, visit):
    page = visit(f"{name}-light")
    frame = shown(page)
    live = frame.locator("[aria-live=polite]")
    assert live.count() == 1
    before = live.inner_text()
    assert len(before) > 40
    frame.get_by_role("slider").first.press("ArrowRight")
    page.wait_for_function("old => document.querySelector('[aria-live]').textContent !== old", arg=before, timeout=5000)


def test_the_theme_may_change_while_one_looks(visit):
    page = visit("block-light")
    frame = shown(page)
    light = frame.evaluate("root => getComputedStyle(root).backgroundColor")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    figures(page)
    assert frame.evaluate("root => getComputedStyle(root).backgroundColor") != light
    corner = page.evaluate(
        f"Array.from(document.querySelector('{PLACE} canvas').getContext('2d').getImageData(0, 0, 1, 1).data)"
    )
    assert corner[:3] == [0x2A, 0x30, 0x38], "removed groups take the dark ground"


def test_several_explorers_on_one_page_mind_their_own_business(visit):
    page = visit("several")
    for at in range(3):
        shown(page, at)
    put(page, {"step": 5}, at=1)
    assert [trait(page, "step", at) for at in (0, 1)] == [0, 5]
    assert figures(page, 0)["step"] == 0
    assert figures(page, 1)["step"] == 5
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(node => node.id)")
    assert len(ids) == len(set(ids))


def test_a_page_is_not_held_up_by_an_explorer_far_down(visit, workshop):
    far = workshop[1] / "far.html"
    html = '<div style="height:5000px"></div>' + workshop[0]["reweighting"].html()
    far.write_text(PAGE.format(name="far", html=html, theme="light"))
    page = visit("far")
    assert page.locator(".bpw").count() == 0
    shown(page)
    assert page.locator(".bpw").count() == 1


def test_a_large_matrix_is_drawn_whole(visit, workshop):
    """3072 x 768 single weights, twice: figures and map are right; `tools.explorer_speed` measures the repaint."""
    torch.manual_seed(0)
    explorer = widgets.BlockExplorer({"m": nn.Linear(768, 3072)}, structure="irregular")
    (workshop[1] / "large.html").write_text(PAGE.format(name="large", html=explorer.html(), theme="light"))
    page = visit("large")
    shown(page)
    for rate in (1.79, 5.0):
        put(page, {"rate": rate})
        explorer.rate = rate
        same(figures(page), explorer.figures())
    assert page.evaluate("(([a]) => [a.width, a.height])(document.querySelectorAll('canvas'))") == [768, 3072]
