"""Which records are one setting, and what may not be compared."""

import copy

import pytest

from blockprune_lib.experiments.alike import Setting, by_setting, method_of, setting_of, steps_of

from ..helpers.record_of import record_of


def uncut(**more):
    return record_of(**more) | {"densities": {}}


def test_seeds_of_one_setting_stand_together_in_order():
    records = [
        record_of(seed=2),
        record_of(seed=1),
        record_of(rate=3.0),
        uncut(method="dense", rate=1.0),
        record_of(seed=2),
    ]
    found = by_setting(records)
    assert [setting.told for setting in found] == [
        "dense",
        "block_row:64 reweighted at 3",
        "block_row:64 reweighted at 5",
    ]
    assert [record["run"]["seed"] for record in list(found.values())[-1]] == [1, 2]
    assert setting_of(records[3]) == Setting("rte", "minilm", "", "dense", 1.0)
    assert steps_of(records[0]) == 20


@pytest.mark.parametrize(
    ("options", "said"),
    [({}, "dense"), ({"layers": 1}, "dense, 1 layer"), ({"layers": 2, "variant": "long"}, "dense, 2 layers, long")],
)
def test_a_method_tells_its_layers_and_its_variant(options, said):
    assert method_of({"method": "dense", "options": options}) == said


@pytest.mark.parametrize(
    ("part", "key", "value", "said"),
    [
        ("data", "fingerprint", "22", "their rows differ"),
        ("model", "sha256", "33", "their weights differ"),
        ("run", "stages", {"reweight": {"lam": 4.0}}, "their settings differ"),
    ],
)
def test_what_is_not_alike_is_refused(part, key, value, said):
    first, second = record_of(), copy.deepcopy(record_of(seed=2))
    second[part][key] = value
    with pytest.raises(ValueError, match=said):
        by_setting([first, second])


def test_how_often_a_run_was_kept_makes_no_setting():
    first, second = record_of(), copy.deepcopy(record_of(seed=2))
    second["run"]["stages"]["reweight"]["checkpoint_every"] = 200
    second["run"]["options"]["keep_model"] = False
    assert len(by_setting([first, second])) == 1
    with pytest.raises(ValueError, match="two different records"):
        by_setting([record_of(score=0.7), record_of(score=0.8)])
