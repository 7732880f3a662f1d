"""A study as a table and a picture: few records or many, timed or not, and which pairs decide it."""

import json
import re

import numpy as np
import pytest

from blockprune_lib._common.plots import figure
from blockprune_lib.cli import main
from blockprune_lib.data import metrics
from blockprune_lib.experiments import frontier, records
from blockprune_lib.experiments.alike import measure_of
from blockprune_lib.experiments.deciding import best_blocks, comparisons, read_rows, weights_in_a_group
from blockprune_lib.experiments.frontier_plot import draw_frontier, save_frontier
from blockprune_lib.experiments.paired import Differences, resampled
from blockprune_lib.experiments.standing import standings
from blockprune_lib.machine import Ratio

from ..helpers.record_of import record_of


def timed(record, **engines):
    ratio = {name.replace("_", " "): times for name, times in engines.items()} | {"dense": 1.0}
    record["latency"] = {
        "engines": {
            name: {"median_ms": 9 / times, "ratio": {"value": times, "low": times, "high": times}}
            for name, times in ratio.items()
        },
        "cpu": "A Processor", "isa": "AVX2", "threads": 2, "sentences": 32, "tokens": 9.5, "rounds": 5,
    }  # fmt: skip
    return record


def uncut(record, layers=None):
    record["densities"] = {}
    record["run"]["options"] = record["run"]["options"] | {"layers": layers}
    record["precisions"] = {"bfloat16": {"accuracy": record["final"]["accuracy"] - 0.01}}
    return record


def study(seeds=(1, 2, 3)):
    records = []
    for seed in seeds:
        wobble = seed / 1000
        records += [
            timed(
                uncut(record_of(method="dense", rate=1.0, seed=seed, score=0.8 + wobble)), compiled=2.0, bfloat16=1.5
            ),
            timed(uncut(record_of(method="dense", rate=1.0, seed=seed, score=0.6 + wobble), layers=2), compiled=9.0),
            timed(uncut(record_of(method="dense", rate=1.0, seed=seed, score=0.72 + wobble), layers=3), compiled=6.0),
            timed(record_of(method="gradual", seed=seed, score=0.75 + wobble), compiled=8.0, compiled_bfloat16=7.0),
            timed(record_of(method="reweighted", seed=seed, score=0.74 + wobble), compiled=8.5),
            uncut(record_of(method="bag-of-words", rate=1.0, seed=seed, score=0.7)),
        ]
    return records


def test_a_setting_says_which_kinds_of_machine_trained_it():
    records = [record_of(method="gradual", seed=seed) for seed in (1, 2)]
    records += [uncut(record_of(method="dense", rate=1.0, seed=seed)) for seed in (1, 2)]
    records += [uncut(record_of(method="bag-of-words", rate=1.0))]
    records[0]["hardware"]["accelerator"] = "A GPU"
    records[-1]["stages"] = []
    (found,) = standings(records)
    kinds = {line.setting.method: line.trained_on for line in found.lines}
    assert kinds == {"gradual": {"CPU", "GPU"}, "dense": {"CPU"}, "bag-of-words": set()}


def test_a_study_is_a_line_for_each_setting_from_slow_to_fast():
    (found,) = standings(study())
    assert [line.setting.told for line in found.lines] == [
        "bag-of-words", "dense", "dense, 3 layers", "block_row:64 gradual at 5", "block_row:64 reweighted at 5",
        "dense, 2 layers",
    ]  # fmt: skip
    assert [line.family for line in found.lines] == [
        "no transformer", "dense", "fewer layers", "blocks", "blocks", "fewer layers",
    ]  # fmt: skip
    assert found.find("gradual", "block_row:64", 5.0).fastest.engine == "compiled"
    assert found.find("dense").fastest.times == 2.0
    assert found.find("dense").fastest.ratio == Ratio(2.0, 2.0, 2.0)
    assert found.find("movement") is None
    assert (found.seeds, found.majority) == (3, 0.5)
    text = repr(found)
    assert "75.2" in text
    assert re.search(r"74\.\d to 75\.\d \(3\)|75\.\d to 75\.\d \(3\)", text)
    assert "majority class" in found._repr_html_()
    assert max(map(len, text.splitlines())) < 100


def test_what_went_wrong_stands_beside_the_score():
    runs = study()
    runs[3]["flags"] = ["collapsed: accuracy 0.500, the majority class has 0.500"]
    (found,) = standings(runs)
    assert "! block_row:64 gradual at 5" in repr(found)
    assert "! block_row:64 reweighted" not in repr(found)
    assert frontier.table(iter(runs)).splitlines()[-1].startswith("! rte_minilm_block_row-64_gradual_rate5_seed1: coll")


def test_a_rival_is_as_fast_and_as_good_as_there_is():
    (found,) = standings(study())
    blocks = found.find("gradual", "block_row:64", 5.0)
    assert found.rival_of(blocks).setting.method == "dense, 2 layers"
    assert found.slower_rival_of(blocks).setting.method == "dense, 3 layers"
    assert found.slower_rival_of(found.find("dense")) is None  # nothing of fewer layers is slower than that
    slow = [r for r in study() if r["run"]["options"].get("layers") != 2]
    (other,) = standings(slow)
    assert other.rival_of(blocks).setting.method == "dense, 3 layers"  # none is as fast: the fastest
    (none,) = standings([record_of()])
    assert none.rival_of(none.lines[0]) is None
    few = [uncut(record_of(method="dense", rate=1.0), layers=layers) for layers in (2, 3)]
    for record, rate in zip(few, (3.0, 2.0), strict=True):
        record["compression"] = record["compression"] | {"rate_pruned": rate}
    (untimed,) = standings([*few, record_of(rate=1.79), record_of(rate=5.0)])
    rivals = [untimed.rival_of(line).setting.method for line in untimed.of("blocks")]
    assert rivals == ["dense, 3 layers", "dense, 2 layers"]
    assert untimed.slower_rival_of(untimed.of("blocks")[0]) is None
    (small,) = standings([few[0], record_of(rate=1.79)])
    assert small.rival_of(small.of("blocks")[0]) is None  # two layers of six keep far less


def test_the_pairs_that_decide_a_study():
    (found,) = standings(study())
    decided = comparisons(found, text=False)
    assert [one.told for one in decided.choice] == [
        "block_row:64 reweighted at 5 against gradual: -1.0 points, over 3 seeds -1.0 to -1.0, the rows not at hand: "
        "worse"
    ]
    assert len(decided.cost) == 4
    assert [one.against for one in decided.rival] == ["dense, 2 layers"] * 2
    assert [one.verdict for one in decided.floor] == ["better", "better"]
    assert [one.against for one in decided.slower] == ["dense, 3 layers"] * 2
    assert not decided.ranking
    assert len(decided.all) == 11
    by_outputs = [record_of(method="sensitivity", seed=seed, score=0.8 + seed / 1000) for seed in (1, 2, 3)]
    (more,) = standings([*study(), *by_outputs])
    (ranked,) = comparisons(more, text=False).ranking
    assert (ranked.method, ranked.against, ranked.verdict) == ("sensitivity", "gradual", "better")
    assert [one.method for one in comparisons(more, text=False).choice] == ["reweighted"]
    shorter = [
        record_of(method=method, seed=seed, score=0.7) for method in ("sensitivity", "gradual") for seed in (1, 2)
    ]
    for record in shorter:
        record["run"]["options"] = record["run"]["options"] | {"variant": "half-as-long"}
    (more,) = standings([*study(), *by_outputs, *shorter])
    assert [(one.method, one.against) for one in comparisons(more, text=False).ranking] == [
        ("sensitivity", "gradual"),
        ("sensitivity, half-as-long", "gradual, half-as-long"),
    ]
    (alone,) = standings(study(seeds=(1,)))
    assert {one.verdict for one in comparisons(alone, text=False).all} == {"one seed"}
    (few,) = standings([record_of()])
    assert comparisons(few, text=False).all == ()


def test_the_score_and_the_scope_are_told_apart():
    def run(method, scope, seed, score, variant=None, lam=1e-3):
        record = record_of(method=method, seed=seed, score=score + seed / 1000, lam=lam)
        record["run"]["options"] = record["run"]["options"] | {"variant": variant}
        record["run"]["stages"] = record["run"]["stages"] | {"prune": {"scope": scope}}
        return record

    scores = {
        ("gradual", "matrix", None): 0.60, ("gradual", "model", "one-ranking"): 0.62,
        ("sensitivity", "matrix", "in-each-matrix"): 0.67, ("sensitivity", "model", None): 0.70,
    }  # fmt: skip
    runs = [run(method, scope, seed, score, name) for (method, scope, name), score in scores.items() for seed in (1, 2)]
    others = [run("gradual", "matrix", seed, 0.9, "high-lr", lam=0.5) for seed in (1, 2)]  # differs in more
    (found,) = standings([*others, *runs])
    decided = comparisons(found, text=False)
    assert {(one.method, one.against): round(one.mean, 3) for one in decided.score} == {
        ("sensitivity", "gradual, one-ranking"): 0.08,
        ("sensitivity, in-each-matrix", "gradual"): 0.07,
    }
    assert {(one.method, one.against): round(one.mean, 3) for one in decided.scope} == {
        ("gradual, one-ranking", "gradual"): 0.02,
        ("sensitivity", "sensitivity, in-each-matrix"): 0.03,
    }
    assert set(decided.score) | set(decided.scope) <= set(decided.all)


def test_groups_of_other_sizes_and_variants_stand_beside_what_they_were_made_from():
    cut = {"seed": 1, "method": "gradual"}
    sizes = [record_of(structure=s, score=0.7, **cut) for s in ("tile:32x32", "irregular", "block_column:4")]
    other = record_of(structure="block_column:4", score=0.6, **cut)
    other["run"]["options"] = other["run"]["options"] | {"variant": "no-teacher"}
    slower = record_of(structure="block_column:4", score=0.7, seed=1, method="gradual", rate=1.79)
    few = [uncut(record_of(method="dense", rate=1.0, seed=1, score=score), layers=2) for score in (0.5, 0.55)]
    few[1]["run"]["options"] |= {"variant": "slower"}
    at_once = record_of(structure="block_column:4", score=0.65, seed=1, method="magnitude")
    (found,) = standings([*sizes, other, slower, at_once, *few])
    decided = comparisons(found, text=False)
    assert {(one.structure, one.rate) for one in decided.size} == {("tile:32x32", 5.0), ("irregular", 5.0)}
    assert {one.against for one in decided.size} == {"block_column:4 gradual at 5"}
    assert [(one.method, round(one.mean, 3)) for one in decided.parts] == [
        ("dense, 2 layers, slower", 0.05), ("gradual, no-teacher", -0.1), ("magnitude", -0.05),
    ]  # fmt: skip
    assert {one.against for one in decided.rival} == {"dense, 2 layers"}
    assert [weights_in_a_group(text) for text in ("irregular", "block_row:64", "tile:16x2")] == [1, 64, 32]


def test_the_blocks_to_speak_of_have_most_seeds():
    runs = [
        record_of(structure="irregular", score=0.9, seed=1), record_of(structure="tile:32x32", score=0.8, seed=1),
        *(record_of(structure="block_column:4", score=0.7, seed=seed) for seed in (1, 2)),
    ]  # fmt: skip
    tuned = record_of(structure="block_column:4", score=0.95, seed=1)
    tuned["run"]["options"] = tuned["run"]["options"] | {"variant": "longer"}
    (found,) = standings([*runs, tuned])
    assert best_blocks(found, 5.0).setting.structure == "block_column:4"
    assert best_blocks(found, 3.0) is None
    (one_seed,) = standings([*runs[:2], runs[2]])
    assert best_blocks(one_seed, 5.0).setting.structure == "tile:32x32"
    (single,) = standings(runs[:1])
    assert best_blocks(single, 5.0) is None


def test_a_variant_whose_name_holds_a_comma_stands_beside_the_same_method():
    plain, other = (record_of(seed=1, method="gradual", score=score) for score in (0.7, 0.6))
    other["run"]["options"] = other["run"]["options"] | {"variant": "no teacher, slower"}
    (found,) = standings([plain, other])
    assert [one.against for one in comparisons(found, text=False).parts] == ["gradual"]


def test_differences_are_a_table_with_both_intervals():
    (found,) = standings(study())
    decided = comparisons(found, text=False)
    shown = repr(Differences(decided.cost, "against dense"))
    assert "against dense; groups: block_row:64" in shown
    for words in ("gradual 5 ", "-5.0\u00a0to -5.0\u00a0(3)", "not at hand", "worse"):
        assert words in shown
    (alone,) = standings(study(seeds=(1,)))
    assert "one seed" in repr(Differences(comparisons(alone, text=False).cost))
    assert "gradual 5 against 2 layers" in repr(Differences([*decided.rival, *decided.cost]))
    sizes = [record_of(structure=text, score=0.7, seed=1, method="gradual") for text in ("row", "block_row:64")]
    (study_,) = standings([*sizes, uncut(record_of(method="dense", rate=1.0, seed=1))])
    shown = repr(Differences(comparisons(study_, text=False).cost, "points"))
    assert "block_row:64  " in shown
    assert shown.endswith("points; gradual 5")
    both = [*comparisons(study_, text=False).cost, *decided.cost]
    assert "block_row:64 reweighted 5 " in repr(Differences(both))


def test_a_line_of_which_a_model_collapsed_is_marked():
    records = study()
    records[1]["flags"] = ["collapsed: accuracy 0.500, the majority class has 0.500"]  # two layers, seed 1
    (found,) = standings(records)
    decided = comparisons(found, text=False)
    assert [one.collapsed for one in decided.rival] == [True, True]
    assert [one.collapsed for one in decided.cost] == [False, True, False, False]
    shown = repr(Differences(decided.cost))
    assert "! 2 layers" in shown
    assert "!: some model of the pair scored no more than the majority class" in shown
    assert "!" not in repr(Differences(decided.choice))


def test_a_variant_with_other_steps_stands_beside_dense_with_as_many():
    def longer(record):
        record["run"]["options"] = record["run"]["options"] | {"variant": "longer"}
        record["stages"] = [stage | {"steps": 3 * stage["steps"]} for stage in record["stages"]]
        return record

    def runs():
        return [uncut(record_of(method="dense", rate=1.0, score=0.8)), record_of(method="gradual", score=0.7)]

    (alone,) = standings([*runs(), longer(record_of(method="gradual", score=0.75))])
    assert {one.method for one in comparisons(alone, text=False).cost} == {"gradual"}
    (both,) = standings([*runs(), *map(longer, runs())])
    cost = {one.method: one.against for one in comparisons(both, text=False).cost}
    assert cost == {"gradual": "dense", "gradual, longer": "dense, longer"}


def test_a_score_is_called_by_what_it_measures():
    record = record_of() | {"metric": "mean", "final": {"pearson": 0.8, "spearman": 0.7, "mean": 0.75}}
    assert measure_of(record) == "mean of Pearson and Spearman"
    assert measure_of(record_of()) == "accuracy"


def test_a_model_that_trained_for_fewer_steps_is_no_rival():
    records = study()
    for record in records:
        if record["run"]["method"] == "dense" and not record["run"]["options"]["layers"]:
            record["stages"] = [stage | {"steps": 3} for stage in record["stages"]]
    (found,) = standings(records)
    decided = comparisons(found, text=False)
    assert decided.cost == ()
    assert len(decided.floor) == len(decided.rival) == 2


def test_intervals_over_rows_are_known_again_by_what_was_predicted(tmp_path):
    (found,) = standings(study())
    before = comparisons(found, text=False).choice[0]
    path = tmp_path / "rows.json"
    assert read_rows(path) == {}
    path.write_text(json.dumps({"rows": {before.identity: [-0.02, 0.01]}}))
    after = comparisons(found, text=False, recorded=read_rows(path)).choice[0]
    assert (after.rows, after.verdict) == ((-0.02, 0.01), "not told apart")
    assert "over rows -2.0 to +1.0" in after.told


@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
def test_the_frontier_is_drawn_from_few_records_and_from_many(seeds):
    (found,) = standings(study(seeds))
    seen = []

    def draw(ax):
        draw_frontier(ax, found)
        seen.append({line.get_label(): len(line.get_xdata()) for line in ax.lines if line.get_label()[0] != "_"})
        low, high = ax.get_ylim()
        assert 50 < low < 60 < 80 < high < 90  # the models fill the axis; the majority class, 50, is named at the edge

    drawn = figure(draw, alt="Points.", caption="Points.")
    for word in ("bag of words", "below: majority class 50.0", "fewer layers", "reweighted blocks"):
        assert word in drawn.light
    dense = {"dense float32, torch", "dense bfloat16, torch", "dense float32, compiled"}
    assert set(seen[0]) == dense | {"fewer layers", "gradual blocks", "reweighted blocks"}
    words = timed(uncut(record_of(method="bag-of-words", rate=1.0, score=0.7)), compiled=30.0)
    (timed_words,) = standings([*study(seeds)[:5], words])
    axes = figure(lambda ax: draw_frontier(ax, timed_words), alt="Points.", caption="Points.")
    assert "no transformer" in axes.light
    (untimed,) = standings([record_of()])
    assert "svg" in figure(lambda ax: draw_frontier(ax, untimed), alt="None.", caption="None.").light


def test_several_panels_share_one_legend_and_one_axis():
    pair = [standings(study((1,)))[0], standings([r for r in study((1, 2)) if r["run"]["method"] == "dense"])[0]]

    def draw(axes):
        draw_frontier(axes, *pair)
        legends = [panel.get_legend() for panel in axes]
        assert legends[0] is None
        labels = [text.get_text() for text in legends[1].get_texts()]
        assert "gradual blocks" in labels  # which the last panel has not
        assert len(labels) == len(set(labels))
        assert [panel.get_xlim() for panel in axes] == [axes[0].get_xlim()] * 2
        assert [bool(panel.get_xlabel()) for panel in axes] == [False, True]

    figure(draw, alt="Points.", caption="Points.", rows=2)


@pytest.mark.parametrize(
    ("metric_set", "classes"),
    [("accuracy", 2), ("accuracy", 3), ("accuracy_f1", 2), ("matthews", 2), ("matthews", 3)],
)
def test_scores_of_drawn_rows_are_those_of_the_metrics(metric_set, classes):
    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, classes, (2, 40))
    drawn = np.vstack([rng.integers(0, 40, (20, 40)), np.zeros((1, 40), int)])
    name = metrics.primary(metric_set)
    right = [metrics.compute(metric_set, said[rows], truth[rows])[name] for rows in drawn]
    np.testing.assert_allclose(resampled(metric_set, said, truth, drawn), right, atol=1e-12)


def test_the_command_draws_and_prints_the_frontier_and_the_differences(tmp_path, capsys):
    for number, record in enumerate(study((1, 2))):
        records.save(record, tmp_path / f"{number}.json")
    picture = tmp_path / "frontier.svg"
    assert main(["report", str(tmp_path), "--frontier", "--json", "--plot", str(picture)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {point["setting"]["method"] for point in told} >= {"dense", "gradual"}
    assert picture.read_text().startswith("<?xml")
    assert main(["report", str(tmp_path), "--against", "dense", "--json"]) == 0
    assert {one["against"] for one in json.loads(capsys.readouterr().out)} == {"dense"}
    assert main(["report", str(tmp_path), "--against", "dense, 2 layers"]) == 0
    assert "block_row:64 gradual at 5" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--time measures it"):
        save_frontier([record_of()], picture)
