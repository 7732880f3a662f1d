"""Explorers without a browser: their settings, their figures against plain arithmetic, and the page they write."""

import base64
import html.parser
import io
import json
import re

import numpy as np
import pytest
import torch
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import image
from torch import nn

import blockprune_lib as bp
from blockprune_lib import widgets
from blockprune_lib.data import metrics
from blockprune_lib.experiments.alike import measure_of
from blockprune_lib.pruning.groups import group_norms
from blockprune_lib.pruning.structure import BlockStructure
from blockprune_lib.widgets import (
    block_explorer,
    host,
    kernel_animation,
    own_model,
    recorded,
    reweighting_explorer,
    roofline_explorer,
)

from ..helpers.recorded import bench, run, runs
from ..helpers.references import KINDS, boxes, penalty

NAMES = ("block_explorer", "kernel_animation", "rate_explorer", "reweighting_explorer", "roofline_explorer")
MACHINE = {
    "cpu": "A Processor", "isa": "NEON", "peak_core_gflops": 50.0, "peak_all_gflops": 90.0, "bandwidth_core_gbs": 10.0,
    "bandwidth_gbs": 16.0,
}  # fmt: skip


@pytest.fixture
def static(monkeypatch):
    monkeypatch.setenv(host.STATIC, "1")


def two_layers(seed=0, shapes=((32, 48), (48, 32))):
    torch.manual_seed(seed)
    return nn.Sequential(*(nn.Linear(columns, rows) for rows, columns in shapes))


def explorers():
    model = two_layers()
    return {
        "block_explorer": widgets.BlockExplorer({"before": model, "after": two_layers(1)}, structure="tile:8x8"),
        "kernel_animation": widgets.KernelAnimation(step=2),
        "rate_explorer": widgets.RateExplorer(runs(), [bench()]),
        "reweighting_explorer": widgets.ReweightingExplorer(rounds=1),
        "roofline_explorer": widgets.RooflineExplorer([MACHINE]),
    }


# --- one module, three hosts ---


@pytest.mark.parametrize("name", NAMES)
def test_the_module_imports_nothing_and_asks_nobody(name):
    code = host.source(name)
    assert not re.search(r"^\s*import\b", code, re.M)
    assert code.count("export default explorer(") == 1
    assert len(re.findall(r"^export ", code, re.M)) >= 1
    addresses = set(re.findall(r"https?://[^\s\"'`]+", code))
    assert addresses <= {"http://www.w3.org/2000/svg"}


class Parts(html.parser.HTMLParser):
    """The scripts of a page by type, and everything that would be fetched."""

    def __init__(self):
        super().__init__()
        self.scripts, self.fetched, self.open = {}, [], None

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        named = [values[key] for key in ("src", "href") if key in values]
        self.fetched += [address for address in named if not address.startswith("data:")]
        self.open = values.get("type") if tag == "script" else None

    def handle_data(self, data):
        if self.open:
            self.scripts[self.open] = self.scripts.get(self.open, "") + data

    def handle_endtag(self, tag):
        self.open = None


@pytest.mark.parametrize("name", NAMES)
def test_a_page_without_a_kernel_holds_everything(name, static):
    explorer = explorers()[name]
    bundle, _ = explorer._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain", "image/png"}
    parts = Parts()
    parts.feed(bundle["text/html"])
    assert parts.fetched == []
    state = json.loads(parts.scripts["application/json"])
    assert set(state) == {*explorer.settings(), "data"}
    assert {key: state[key] for key in explorer.settings()} == explorer.settings()
    assert parts.scripts["text/plain"] == host.source(name).replace("</script", "<\\/script")
    assert bundle["text/plain"] == explorer.describe() == repr(explorer)
    assert image.imread(io.BytesIO(base64.b64decode(bundle["image/png"]))).std() > 0.01
    assert len(bundle["text/html"]) < 200_000


def test_a_static_page_opens_no_channel_to_a_kernel(static):
    assert all(explorer.comm is None for explorer in explorers().values())


def test_with_a_kernel_it_is_an_ordinary_widget(monkeypatch):
    monkeypatch.delenv(host.STATIC, raising=False)
    for name, explorer in explorers().items():
        bundle, _ = explorer._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in bundle, name
        assert "text/html" not in bundle
        state = explorer.get_state()
        assert state["_esm"] == host.source(name)
        assert set(explorer.settings()) <= set(state)


def test_text_that_looks_like_a_tag_stays_text(static):
    explorer = widgets.RooflineExplorer([MACHINE | {"cpu": "</script><script>alert(1)</script>"}])
    parts = Parts()
    parts.feed(explorer.html())
    assert json.loads(parts.scripts["application/json"])["machine"].startswith("</script>")
    assert explorer.html().count("</script>") == 3


def test_names_are_told():
    assert dir(widgets) == list(widgets.__all__)
    with pytest.raises(AttributeError, match="it has BlockExplorer, KernelAnimation"):
        _ = widgets.Explorer


@pytest.mark.parametrize(
    ("name", "setting", "value", "says"),
    [
        ("block_explorer", "rate", 0.5, "rate"),
        ("block_explorer", "rate", 21.0, "rate"),
        ("block_explorer", "rate", "5", "rate"),
        ("block_explorer", "structure", "rows", "text must name a structure; got 'rows'"),
        ("block_explorer", "structure", "block_row:7", "structure must be one of irregular, block_row:8"),
        ("block_explorer", "scope", "block", "scope"),
        ("block_explorer", "layer", "2", "layer '2' names 0 of the matrices"),
        ("kernel_animation", "structure", "tile:2x2", "structure"),
        ("kernel_animation", "step", -1, "step"),
        ("rate_explorer", "rate", 4.0, "rate must be one of 1, 3, 5; got 4.0"),
        ("rate_explorer", "task", "minilm, none", "task must be one of minilm, cola, minilm, rte; got 'minilm, none'"),
        ("rate_explorer", "machine", "none", "machine must be one of A Processor"),
        ("rate_explorer", "cut", "none", "cut must be one of block_column:4, gradual"),
        ("reweighting_explorer", "eps", 0.0, "eps"),
        ("reweighting_explorer", "rounds", 1.5, "rounds"),
        ("reweighting_explorer", "grouping", "rows", "grouping"),
        ("roofline_explorer", "machine", "another", "machine must be one of A Processor, NEON; got 'another'"),
        ("roofline_explorer", "tokens", 100, "tokens"),
        ("roofline_explorer", "density", 0.0, "density"),
        ("roofline_explorer", "shape", "8x8", "shape"),
    ],
)
def test_settings_that_cannot_be_are_refused_and_change_nothing(name, setting, value, says):
    explorer = explorers()[name]
    before = explorer.settings()
    with pytest.raises(traitlets.TraitError, match=says):
        setattr(explorer, setting, value)
    assert explorer.settings() == before
    given = {"block_explorer": [{"m": two_layers()}], "roofline_explorer": [[MACHINE]], "rate_explorer": [runs()]}
    given = given.get(name, [])
    with pytest.raises(traitlets.TraitError, match=says):
        type(explorer)(*given, **{setting: value})


@pytest.mark.parametrize("module", [block_explorer, kernel_animation, own_model, roofline_explorer])
def test_every_kind_of_structure_is_offered(module):
    assert {text.partition(":")[0] for text in module.STRUCTURES} == set(KINDS)


# --- block explorer ---


def test_models_that_do_not_fit_together():
    with pytest.raises(ValueError, match="models must name one model or two"):
        widgets.BlockExplorer({})
    with pytest.raises(ValueError, match=r"models\['b'\] has other matrices than the first"):
        widgets.BlockExplorer({"a": two_layers(), "b": two_layers(shapes=((8, 8),))})
    with pytest.raises(ValueError, match=r"layer 'nine' names 0 of the matrices; there are 0\.weight"):
        widgets.BlockExplorer({"a": two_layers()}, layers=["nine"])


def test_layers_are_sent_when_they_are_asked_for():
    explorer = widgets.BlockExplorer({"a": two_layers()})
    assert list(explorer.data["matrices"]) == ["0.weight"]
    explorer.layer = "1"
    assert explorer.layer == "1.weight"
    assert list(explorer.data["matrices"]) == ["1.weight"]
    assert explorer.data["matrices"]["1.weight"]["shape"] == [48, 32]


@pytest.mark.parametrize("values", [[0.0], [1.0, -2.0, 1e-9], [1e30, 1e-30]])
def test_eight_bits_hold_the_magnitudes(values):
    weight = torch.tensor([values], dtype=torch.float64)
    code = block_explorer._codes(weight)
    back = code["scale"] * (np.frombuffer(code["codes"], np.uint8) / 255) ** 2
    size = weight.abs().numpy()[0]
    # A code is wrong by at most half: d(scale u²) = 2 scale u / 510, with u = sqrt(size / scale).
    assert (abs(back - size) <= code["scale"] * (np.sqrt(size / code["scale"]) / 255 + 1 / 510**2) + 1e-300).all()


def by_hand(weight, structure, rate, scope):
    """Kept groups and their share of the squared norm, by loops and sorts."""
    parsed = BlockStructure.parse(structure)
    cut = [(i, j, weight[rows, columns]) for i, j, rows, columns in boxes(parsed, weight.shape)]
    scores = {(i, j): np.sqrt((block**2).mean()) for i, j, block in cut}
    side = 1 if parsed.strips == "columns" else 0
    strips = {}
    for place in scores:
        strips.setdefault(place[side] if scope == "strips" else 0, []).append(place)
    kept = set()
    for places in strips.values():
        order = sorted(places, key=lambda place: -scores[place])
        kept |= set(order[: max(1, round(len(places) / rate))])
    squares = {(i, j): (block**2).sum() for i, j, block in cut}
    return len(kept), sum(squares[place] for place in kept) / sum(squares.values())


@pytest.mark.parametrize("scope", ["matrix", "strips"])
@pytest.mark.parametrize("structure", block_explorer.STRUCTURES)
def test_figures_are_those_of_loops_and_sorts(structure, scope):
    explorer = widgets.BlockExplorer({"a": two_layers(shapes=((64, 128), (128, 128)))}, scope=scope)
    explorer.structure = structure
    for rate in (1.0, 1.79, 5.0, 20.0):
        explorer.rate = rate
        found = explorer.figures()["a"]
        kept, energy = by_hand(explorer.weight("a").double().numpy(), structure, rate, scope)
        assert found["kept"] == kept
        assert found["energy"] == pytest.approx(energy, rel=1e-6)
        r, c = BlockStructure.parse(structure).group_shape((64, 128))
        R, _ = BlockStructure.parse(structure).grid((64, 128))
        assert found["bytes"] == kept * (4 * r * c + 4) + 8 * (R + 1)


@given(st.integers(0, 5), st.sampled_from(["irregular", "block_row:8", "tile:8x8", "row", "column"]), st.booleans())
def test_one_ranking_over_the_model_keeps_what_select_model_keeps(seed, text, ties):
    model, structure = two_layers(seed, ((16, 24), (24, 16), (8, 8))), BlockStructure.parse(text)
    if ties:
        with torch.no_grad():
            for layer in model:
                layer.weight.copy_((layer.weight * 6).round() / 6)
    weights = dict(bp.pruning.prunable_weights(model))
    found = block_explorer.kept_together(weights, structure, block_explorer.RATES)
    for at in range(0, len(block_explorer.RATES), 9):
        masks = bp.select_model(model, structure, block_explorer.RATES[at], scope="model")
        assert {name: int(masks.keep(name).sum()) for name in masks} == {name: of[at] for name, of in found.items()}


# --- reweighting explorer ---


@pytest.mark.parametrize("grouping", ["separate", "together"])
@pytest.mark.parametrize("lam", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("rounds", [0, 1, 4])
def test_each_round_ends_at_its_minimum(grouping, lam, rounds):
    explorer = widgets.ReweightingExplorer(lam=lam, rounds=rounds, grouping=grouping, eps=0.1)
    found = explorer.figures()
    w, least, rho = np.array(found["w"]), np.array([explorer.first, explorer.second]), reweighting_explorer.RHO
    slope = np.array([[1, rho], [rho, 1]]) @ (w - least)
    groups = [[0], [1]] if grouping == "separate" else [[0, 1]]
    for alpha, group in zip(found["alpha"], groups, strict=True):
        size = np.linalg.norm(w[group])
        if size > 0:  # the loss pulls one way as hard as the penalty the other
            np.testing.assert_allclose(slope[group], -lam * alpha * w[group] / size, atol=1e-6)
        else:
            assert np.linalg.norm(slope[group]) <= lam * alpha + 1e-9


def test_refreshes_never_raise_the_loss_and_its_logs():
    before = np.inf
    for rounds in range(6):
        explorer = widgets.ReweightingExplorer(rounds=rounds, lam=0.3, eps=0.05)
        found = explorer.figures()
        now = found["loss"] + 0.3 * penalty(np.abs(found["w"]), 0.05).sum()
        assert found["objective"] == pytest.approx(now)
        assert now <= before + 1e-9 or rounds == 1  # the first round weighs all alike, and minimises something else
        before = now


# --- roofline explorer ---


def test_times_are_those_of_the_machines_own_roofline():
    machine = bp.hardware()
    explorer = widgets.RooflineExplorer([machine], shape="384x1536", structure="tile:32x32", tokens=64, density=0.25)
    torch.manual_seed(0)
    structure = BlockStructure.tile(32, 32)
    keep = torch.zeros(structure.grid((384, 1536)), dtype=torch.bool)
    keep.view(-1)[::4] = True
    packed = bp.pack(torch.randn(384, 1536) * bp.expand(keep, structure, (384, 1536)), structure)
    for threads, number in (("one", 1), ("all", None)):
        explorer.threads = threads
        found, moved = explorer.figures(), 4 * 64 * (384 + 1536)
        dense = machine.roofline(2 * 64 * 384 * 1536, 4 * 384 * 1536 + moved, threads=number)
        sparse = machine.roofline(2 * 64 * packed.elements, packed.bytes_total + moved, threads=number)
        assert found["dense_ms"] == pytest.approx(dense.ms)
        assert found["sparse_ms"] == pytest.approx(sparse.ms)
        assert found["intensity"] == pytest.approx(sparse.intensity)


@pytest.mark.parametrize("structure", roofline_explorer.STRUCTURES)
@pytest.mark.parametrize("tokens", [1, 16, 4096])
def test_the_break_even_is_where_both_take_as_long(structure, tokens):
    explorer = widgets.RooflineExplorer([MACHINE], structure=structure, tokens=tokens)
    even = explorer.figures()["break_even"]
    dense, sparse, _ = explorer._times(even)
    if even < 1:
        assert sparse == pytest.approx(dense, rel=1e-6)
    else:
        assert explorer._times(1.0)[1] <= dense * (1 + 1e-12)
    if structure == "irregular" and tokens == 1:
        assert 0.45 < even < 0.55, "an index for each weight doubles the bytes"


def case(density, ours, dense):
    times = [{"key": "torch", "ms": {"median": dense, "q1": dense, "q3": dense}},
             {"key": "blockprune", "ms": {"median": ours, "q1": ours - 0.1, "q3": ours + 0.1}}]  # fmt: skip
    what = {"shape": [768, 768], "structure": "block_column:16", "density": density, "tokens": 128, "threads": 1}
    return {"what": what, "engines": times, "ours": "blockprune"}


def test_what_was_measured_stands_beside_the_roofline():
    record = {"hardware": MACHINE, "cases": [case(0.5, 1.0, 2.0), case(0.1, 0.25, 2.0), case(1.0, 3.0, 2.0)]}
    explorer = widgets.RooflineExplorer([MACHINE | {"cpu": "Another"}], [record], shape="768x768")
    assert explorer.figures()["measured_break_even"] is None
    explorer.machine = "A Processor, NEON"
    assert explorer.figures()["measured_break_even"] == pytest.approx(0.75)
    (entry,) = explorer.data["measured"]
    assert [point["density"] for point in entry["points"]] == [0.1, 0.5, 1.0]


def test_a_machine_that_was_not_measured_is_refused():
    with pytest.raises(ValueError, match="peak and bandwidth of A Processor, NEON were not measured"):
        widgets.RooflineExplorer([MACHINE | {"bandwidth_gbs": None}])


# --- rate explorer ---


def rows(explorer):
    """{(kind, precision): row} of what is shown; of two dense rows in float32 the first, the baseline."""
    return {(row["kind"], row["precision"]): row for row in reversed(explorer.figures()["rows"])}


def test_a_row_is_the_records_of_its_seeds_and_the_fastest_engine():
    explorer = widgets.RateExplorer(runs(), [bench()], task="minilm, cola", cut="block_column:4, gradual")
    assert explorer.machine == "A Processor, NEON: the task's sentences, 2 threads"
    found = rows(explorer)
    dense, fewer, blocks = found["dense", "float32"], found["dense", "bfloat16"], found["blocks", "bfloat16"]
    assert dense["scores"] == pytest.approx([0.32, 0.34])
    assert (dense["engine"], dense["times"]) == ("PyTorch", pytest.approx(1.015))
    assert (fewer["engine"], fewer["times"]) == ("one compiled call", pytest.approx(4.5 + 0.015))
    assert blocks["scores"] == pytest.approx([0.3 - 0.1 + s / 90 - 0.01 for s in (1, 2)])
    assert blocks["low"] == pytest.approx(0.9 * (1.9 * 5 + 0.01))
    assert blocks["high"] == pytest.approx(1.2 * (1.9 * 5 + 0.02))
    assert blocks["bytes"] == 4 * 2_000_000 + 50_000_000 - 2 * 2_000_000
    assert fewer["bytes"] == 4 * 10_000_000 + 50_000_000 - 2 * 10_000_000  # by the same rule: the rest in float32


def test_what_no_record_holds_is_not_measured():
    explorer = widgets.RateExplorer(runs(), [bench()], cut="tile:32x32, reweighted", rate=3.0)
    found = rows(explorer)
    assert found["blocks", "float32"] == {"kind": "blocks", "layers": 0, "precision": "float32", "scores": [],
        "bytes": None, "times": None, "low": None, "high": None, "ms": None, "engine": None}  # fmt: skip
    explorer.rate = 5.0
    row = rows(explorer)["blocks", "float32"]
    assert (row["scores"], row["times"]) == ([0.15], None)
    assert "not measured" in explorer.describe()
    assert explorer.figures()["verdict"] is None


def test_another_machine_gives_times_of_the_benchmark_and_no_score_of_another_int8():
    explorer = widgets.RateExplorer(runs(), [bench()], cut="block_column:4, gradual")
    explorer.machine = "Another, held to AVX2: bert-base's shapes, 128 tokens, 1 thread"
    found = rows(explorer)
    assert found["blocks", "float32"]["times"] == pytest.approx(4.4)
    assert found["dense", "int8"]["engine"] == "OpenVINO int8 by NNCF"
    assert found["dense", "float32"]["engine"] == "torch dense f32"
    # The scores and the bytes would be those of another model.
    assert {(tuple(row["scores"]), row["bytes"]) for row in explorer.figures()["rows"]} == {((), None)}
    assert explorer.figures()["verdict"] is None


def test_menus_name_machines_shortly_and_tell_them_apart():
    explorer = widgets.RateExplorer(runs(), [bench()])
    words = [one["words"] for one in explorer.data["machines"]]
    assert words[0] == "NEON, 2 threads: task's sentences"
    served = bench()
    served["hardware"] = served["hardware"] | {"isa": "AVX-512", "tiles_core_gflops": 1.0}
    served["provenance"] = {"environment": {}}
    units = [one["words"] for one in widgets.RateExplorer(runs(), [served]).data["machines"]]
    assert all(len(one) < 40 for one in (*words, *units))
    assert units[-1].startswith("AMX, ")
    twin = bench()
    twin["hardware"] = twin["hardware"] | {"cpu": "A Twin"}
    both = [one["words"] for one in widgets.RateExplorer(runs(), [bench(), twin]).data["machines"]]
    assert len(set(both)) == len(both) == 2 * len(words) - 1


def test_menus_name_models_shortly():
    def words(name):
        one = run()
        one["model"] = one["model"] | {"name": name}
        return widgets.RateExplorer([one]).data["tasks"][0]["words"]

    assert words("sentence-transformers/all-mpnet-base-v2") == "CoLA, MPNet"
    assert words("somebody/a-model") == "CoLA, a-model"


def test_a_task_that_the_model_saw_before_says_so():
    seen = {task["name"]: task["seen"] for task in widgets.RateExplorer([run(), run(task="qnli")]).data["tasks"]}
    assert seen == {"minilm, cola": False, "minilm, qnli": True}


def test_layers_are_the_fastest_that_was_scored():
    explorer = widgets.RateExplorer(runs(), rate=3.0)
    layers = next(row for row in explorer.figures()["rows"] if row["kind"] == "layers")
    assert (layers["layers"], layers["precision"], layers["scores"]) == (2, "bfloat16", [pytest.approx(0.19)])
    explorer.rate = 1.0
    assert {kind for kind, _ in rows(explorer)} == {"dense", "layers"}
    explorer.task = "minilm, rte"
    assert {kind for kind, _ in rows(explorer)} == {"dense"}


def test_runs_that_answer_another_question_are_left_out():
    more = [
        run(structure="row", method="gradual", rate=5.0, variant="size"),
        run(structure="row", method="gradual", rate=2.0, layers=3),
        run(held_out=0.1),
        run(method="bag-of-words", task="mrpc"),
    ]
    more[-1]["densities"] = {}
    with_them, without = widgets.RateExplorer(runs() + more), widgets.RateExplorer(runs())
    assert with_them.data == without.data
    with pytest.raises(ValueError, match="runs must hold records of blockprune run, a dense model's among them"):
        widgets.RateExplorer([])
    assert [kind for kind, *_ in recorded.ROWS].count("blocks") == 2


@pytest.mark.parametrize(("task", "scores"), [("cola", ["matthews"]), ("stsb", ["pearson", "spearman", "mean"])])
def test_the_page_explains_a_correlation_under_the_name_that_its_records_give(task, scores):
    script = host.source("rate_explorer")
    meanings = re.search(r"const MEANING = \{(.*?)\};", script)[1]
    named = measure_of({"metric": metrics.primary(task), "final": dict.fromkeys(scores, 0.5)})
    assert f'"{named}": "1 is perfect' in meanings


def test_the_slider_stands_at_rates_that_blocks_were_recorded_at():
    assert widgets.RateExplorer(runs()).data["rates"] == [1.0, 3.0, 5.0]
    dense = widgets.RateExplorer([run()])
    assert (dense.data["rates"], dense.rate, dense.figures()["verdict"]) == ([1.0], 1.0, None)


def test_it_opens_with_what_was_recorded_and_offers_nothing_else():
    explorer = widgets.RateExplorer(runs(), [bench()])
    assert (explorer.task, explorer.cut, explorer.rate) == ("minilm, cola", "block_column:4, gradual", 5.0)
    assert [task["words"] for task in explorer.data["tasks"]] == ["CoLA, MiniLM", "RTE, MiniLM"]
    own, *others = explorer.data["machines"]
    assert explorer.machine == own["name"]
    assert all(row["scores"] and row["times"] for row in explorer.figures()["rows"] if row["kind"] == "blocks")
    assert explorer.offers()["cuts"] == ["block_column:4, gradual", "tile:32x32, reweighted"]
    assert explorer.offers()["rates"] == [1.0, 3.0, 5.0]
    explorer.cut = "tile:32x32, reweighted"
    assert explorer.offers()["rates"] == [1.0, 5.0]
    assert explorer.offers()["machines"] == [other["name"] for other in others if "32x32" in cuts_of(explorer, other)]
    explorer.task = "minilm, rte"
    assert explorer.offers()["cuts"] == []
    assert explorer.offers()["rates"] == [1.0]


def cuts_of(explorer, machine):
    return " ".join(time["cut"] for time in explorer.data["times"] if time["machine"] == machine["name"])


@pytest.mark.parametrize(
    "given", [{"rate": 3.0}, {"cut": "tile:32x32, reweighted"}, {"task": "minilm, rte"}, {"rate": 1.0}]
)
def test_what_is_left_out_goes_with_what_is_given(given):
    explorer = widgets.RateExplorer(runs(), [bench()], **given)
    assert {name: getattr(explorer, name) for name in given} == given
    offers = explorer.offers()
    assert explorer.rate in offers["rates"]
    assert explorer.machine in offers["machines"]
    assert explorer.cut in offers["cuts"] or not offers["cuts"]


def test_dense_stands_there_as_the_baseline_and_as_one_compiled_call():
    explorer = widgets.RateExplorer(runs(), rate=5.0)
    first, second = explorer.figures()["rows"][:2]
    assert (first["engine"], second["engine"]) == ("PyTorch", "one compiled call")
    assert (first["times"], second["times"]) == (pytest.approx(1.015), pytest.approx(2.515))
    assert first["scores"] == second["scores"]
    told = explorer.describe()  # and neither name stands twice
    assert "dense, float32 (PyTorch) " in told
    assert "dense, float32 (one compiled call) " in told


def test_the_verdict_finds_what_stands_against_the_blocks():
    def line(kind, times, *scores, spread=0.0):
        ends = {"low": None, "high": None} if times is None else {"low": times - spread, "high": times + spread}
        return {"kind": kind, "times": times, "scores": list(scores), **ends}

    dense, blocks = line("dense", 1.0, 0.3, 0.4), line("blocks", 5.0, 0.2)
    fewer, worse = line("layers", 6.0, 0.1), line("layers", 4.0, 0.15)
    untimed, unscored = line("dense", None, 0.9), line("dense", 9.0)
    found = recorded.verdict_of([dense, blocks, fewer, worse, untimed, unscored])
    assert found == {"blocks": 1, "as_good": 0, "as_fast": 2, "both": None}
    both = line("layers", 7.0, 0.2)
    assert recorded.verdict_of([dense, blocks, both]) == {"blocks": 1, "as_good": 2, "as_fast": 2, "both": 2}
    assert recorded.verdict_of([blocks]) == {"blocks": 0, "as_good": None, "as_fast": None, "both": None}
    assert recorded.verdict_of([dense, line("blocks", None, 0.2), line("blocks", 5.0)]) is None
    # A little slower, by less than both intervals: no slower, as far as they tell.
    close, clear = line("layers", 4.8, 0.3, spread=0.15), line("layers", 4.8, 0.3, spread=0.05)
    wide = line("blocks", 5.0, 0.2, spread=0.1)
    assert recorded.verdict_of([wide, close])["both"] == 1
    assert recorded.verdict_of([wide, clear])["both"] is None


# --- kernel animation ---


@pytest.mark.parametrize("text", kernel_animation.STRUCTURES)
def test_the_steps_compute_the_product_and_use_each_kept_weight_once(text):
    weight, mask, x = kernel_animation.weights().double(), kernel_animation.kept(text), torch.randn(12, 4).double()
    y, used = torch.zeros(8, 4).double(), torch.zeros(8, 12, dtype=torch.int64)
    for step in kernel_animation.steps(text):
        assert len(step["weights"]) <= 4
        for i, j in step["weights"]:
            y[i] += weight[i, j] * x[j]
            used[i, j] += 1
            assert i in step["outputs"]
            assert j in step["inputs"]
    assert torch.equal(used, mask.long())
    torch.testing.assert_close(y, (weight * mask) @ x)


def test_outputs_in_company_do_more_for_each_number_that_is_moved():
    def per_number(text):
        explorer, work, moved = widgets.KernelAnimation(structure=text), 0, 0
        for step in range(explorer.figures()["steps"]):
            explorer.step = step
            found = explorer.figures()
            work, moved = work + found["work"], moved + found["loads"]
        return work / moved

    assert per_number("block_column:4") > per_number("block_row:4") > per_number("irregular")
    assert min(per_number(text) for text in ("tile:4x4", "column")) > 1.5 * per_number("irregular")


def test_the_norms_split_in_two_under_a_strong_penalty():
    model, tuned = two_layers(), two_layers()
    penalty = bp.ReweightedGroupLasso(tuned, BlockStructure.block_row(8), lam=1.0)
    before = group_norms(tuned[0].weight.detach(), BlockStructure.block_row(8)).median().item()
    penalty.proximal_(before**2)
    explorer = widgets.BlockExplorer({"dense": model, "tuned": tuned}, structure="block_row:8", rate=2.0)
    found = explorer.figures()
    assert found["tuned"]["energy"] > found["dense"]["energy"]
