"""The explorers on the built book's own pages: there, alive, right, light, and clean."""

import base64
import gzip

import numpy as np
import pytest
import torch

import blockprune_lib as bp
from blockprune_lib.pruning.structure import BlockStructure
from blockprune_lib.widgets import block_explorer, kernel_animation
from blockprune_lib.widgets.kernel_animation import KernelAnimation
from blockprune_lib.widgets.reweighting_explorer import ReweightingExplorer
from blockprune_lib.widgets.roofline_explorer import RooflineExplorer

from .conftest import HTML
from .explorers import PLACE, figures, put, same, shown, trait

PAGES = {
    "blocks": ("block_explorer", "Compression rate", "rate"),
    "group-lasso": ("reweighting_explorer", "Refreshes of α", "rounds"),
    "reweighting": ("reweighting_explorer", "Refreshes of α", "rounds"),
    "know-your-machine": ("roofline_explorer", "Density", "density"),
    "a-kernel-step-by-step": ("kernel_animation", "Step", "step"),
}
MOST_BYTES = 1_500_000


@pytest.mark.parametrize("name", PAGES)
def test_it_is_there_alive_and_clean(visit, name):
    kind, label, key = PAGES[name]
    page = visit(name)
    assert page.locator(PLACE).evaluate_all("places => places.map(place => place.dataset.explorer)") == [kind]
    slider = shown(page).get_by_label(label, exact=False).first
    slider.focus()
    page.keyboard.press("Home")
    first = trait(page, key)
    page.keyboard.press("ArrowRight")
    assert trait(page, key) > first
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.move(box["x"] + 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert trait(page, key) > first
    figures(page)
    assert page.locator(f"{PLACE} [role=alert]").count() == 0
    assert page.errors == []
    assert page.blocked == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_serious_for_axe_on_the_page(visit, name, dark):
    from axe_playwright_python.sync_playwright import Axe

    page = visit(name, dark=dark)
    shown(page)
    page.wait_for_timeout(200)
    found = Axe().run(page, context=PLACE).response["violations"]
    assert [(f["id"], f["nodes"][0]["html"][:160]) for f in found if f["impact"] in ("serious", "critical")] == []


@pytest.mark.parametrize("name", PAGES)
def test_on_a_phone_nothing_scrolls_sideways(visit, name):
    page = visit(name, 390)
    shown(page)
    assert page.evaluate("document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth") <= 1


@pytest.mark.parametrize("name", PAGES)
def test_pages_with_explorers_stay_light(site, name):
    content = (HTML / f"{name}.html").read_bytes()
    assert len(content) < MOST_BYTES, f"{name} weighs {len(content):,} bytes, {len(gzip.compress(content)):,} packed"


def test_the_block_explorers_figures_are_the_librarys_for_the_weights_on_the_page(visit):
    page = visit("blocks")
    shown(page)
    state = page.evaluate(f"JSON.parse(document.querySelector('{PLACE} + script').textContent)")
    data, rates = state["data"], block_explorer.RATES
    assert data["rates"] == list(rates)
    for number, structure in enumerate(block_explorer.STRUCTURES):
        layer, rate = data["layers"][number % len(data["layers"])], rates[(29 * number) % len(rates)]
        put(page, {"layer": layer, "structure": structure, "rate": rate, "scope": ("matrix", "strips")[number % 2]})
        found, matrix = figures(page), data["matrices"][layer]
        for name in data["states"]:
            one = matrix["states"][name]
            codes = np.frombuffer(base64.b64decode(one["codes"]["$bytes"]), np.uint8).reshape(matrix["shape"])
            weight = torch.from_numpy((one["scale"] * (codes / 255.0) ** 2).astype("f"))
            parsed = BlockStructure.parse(structure)
            keep = bp.select(bp.group_scores(weight, parsed), rate, balanced=parsed.strips if number % 2 else False)
            mask = bp.expand(keep, parsed, weight.shape)
            packed = bp.pack(torch.where(mask, weight, 0.0), parsed, keep)
            squares = weight.double().square()
            assert found[name]["kept"] == packed.groups
            assert found[name]["bytes"] == packed.bytes_total
            assert found[name]["density"] == pytest.approx(packed.density)
            assert found[name]["energy"] == pytest.approx(float(squares[mask].sum() / squares.sum()), rel=1e-6)


def test_the_weights_on_the_page_are_minilms(visit):
    page = visit("blocks")
    shown(page)
    state = page.evaluate(f"JSON.parse(document.querySelector('{PLACE} + script').textContent)")
    model, _ = bp.models.load("minilm")
    for layer, matrix in state["data"]["matrices"].items():
        dense = matrix["states"]["real"]
        codes = np.frombuffer(base64.b64decode(dense["codes"]["$bytes"]), np.uint8).reshape(matrix["shape"])
        size = model.get_parameter(layer).detach().abs().numpy()
        assert abs(dense["scale"] * (codes / 255.0) ** 2 - size).max() < dense["scale"] / 200


def test_one_ranking_over_the_model_is_the_librarys(visit):
    page = visit("blocks")
    shown(page)
    model, _ = bp.models.load("minilm")
    layer = trait(page, "layer")
    for structure, rate in (("block_row:64", 5.0), ("tile:32x32", 1.79), ("column", 10.0)):
        put(page, {"structure": structure, "rate": rate, "scope": "model"})
        masks = bp.select_model(model, BlockStructure.parse(structure), rate, scope="model")
        assert figures(page)["real"]["kept"] == int(masks.keep(layer).sum())


def test_the_other_explorers_figures_are_the_librarys(visit, monkeypatch):
    monkeypatch.setenv("BLOCKPRUNE_STATIC", "1")
    page = visit("reweighting")
    shown(page)
    for rounds, lam, grouping in ((0, 0.3, "separate"), (4, 0.6, "together"), (6, 0.25, "separate")):
        settings = {"rounds": rounds, "lam": lam, "grouping": grouping}
        put(page, settings)
        known = {key: trait(page, key) for key in ("first", "second", "eps")}
        same(figures(page), ReweightingExplorer(**settings, **known).figures())
    page = visit("know-your-machine")
    shown(page)
    data = page.evaluate(f"JSON.parse(document.querySelector('{PLACE} + script').textContent)")["data"]
    long = {"peak_core": "peak_core_gflops", "peak_all": "peak_all_gflops", "bandwidth_core": "bandwidth_core_gbs",
            "bandwidth_all": "bandwidth_gbs"}  # fmt: skip
    for machine in data["machines"]:
        cpu, _, isa = machine["name"].rpartition(", ")
        hardware = {"cpu": cpu, "isa": isa} | {full: machine[short] for short, full in long.items()}
        for structure, tokens in (("irregular", 1), ("block_column:16", 128), ("row", 2048)):
            settings = {"machine": machine["name"], "structure": structure, "tokens": tokens, "density": 0.3}
            put(page, settings)
            found = figures(page)
            expected = RooflineExplorer(
                [hardware], threads=trait(page, "threads"), shape=trait(page, "shape"), **settings
            )
            same({**found, "measured_break_even": None}, expected.figures())
    page = visit("a-kernel-step-by-step")
    shown(page)
    for structure in kernel_animation.STRUCTURES:
        put(page, {"structure": structure, "step": 4})
        same(figures(page), KernelAnimation(structure=structure, step=4).figures())
