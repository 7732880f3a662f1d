"""The tool that measures what the penalty costs: its step is a training step, and its record says what was timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from blockprune_lib.machine.comparison import Comparison, Timing
from blockprune_lib.pruning.groups import group_norms
from blockprune_lib.pruning.structure import BlockStructure
from tools import penalty_cost

from ..helpers.tiny import tiny_folder  # noqa: F401


def test_a_step_with_a_penalty_trains_on_loss_plus_penalty(tiny_folder: Path) -> None:  # noqa: F811
    shop = penalty_cost.Workshop(str(tiny_folder), batch=4, tokens=6, structures=("block_row:4",))
    shop.model.eval()  # no dropout: two steps can be compared
    before = {name: value.clone() for name, value in shop.model.state_dict().items()}
    shop.step("block_row:4", "penalty")
    found = {name: value.grad.clone() for name, value in shop.model.named_parameters()}
    shop.model.load_state_dict(before)
    shop.optimiser.zero_grad()
    (shop.model(**shop.batch).loss + shop.penalties["block_row:4"]()).backward()
    torch.nn.utils.clip_grad_norm_(shop.model.parameters(), 1.0)
    for name, value in shop.model.named_parameters():
        torch.testing.assert_close(value.grad, found[name], rtol=1e-4, atol=1e-7)


def test_the_record_holds_every_sample_and_where_it_came_from(
    tiny_folder: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / "record.json"
    flags = ["--model", str(tiny_folder), "--batch", "2", "--tokens", "5", "--threads", "1", "--repeats", "3"]
    assert penalty_cost.main([*flags, "--structure", "row", "--structure", "irregular", "--json", str(target)]) == 0
    assert "irregular" in capsys.readouterr().out
    record = json.loads(target.read_text())
    assert record["format"] == penalty_cost.FORMAT
    assert {"commit", "versions", "date"} <= set(record["provenance"])
    (case,) = record["cases"]
    assert [row["structure"] for row in case["structures"]] == ["row", "irregular"]
    kinds = [f"{text} {way}" for text in ("row", "irregular") for way in penalty_cost.WAYS]
    assert list(case["steps"]["timings"]) == ["without", *kinds]
    assert list(case["options"]["timings"]) == ["without", "frozen embeddings", "bf16", "both"]
    assert all(len(timing["samples_ms"]) == 3 for timing in case["steps"]["timings"].values())
    assert str(tiny_folder.parent) not in target.read_text()


def test_frozen_embeddings_get_no_gradient_and_bf16_only_rounds(tiny_folder: Path) -> None:  # noqa: F811
    shop = penalty_cost.Workshop(str(tiny_folder), batch=4, tokens=6, structures=())
    shop.model.eval()
    start = {name: value.clone() for name, value in shop.model.state_dict().items()}
    found = {}
    for name, step in shop.options().items():
        shop.model.load_state_dict(start)
        step()
        weights = dict(shop.model.named_parameters())
        embedded = {key: weight.grad for key, weight in weights.items() if ".embeddings." in key}
        assert embedded
        assert all((grad is None) == (name in ("frozen embeddings", "both")) for grad in embedded.values())
        found[name] = weights["bert.encoder.layer.0.attention.self.query.weight"].grad.clone()
    assert not torch.equal(found["bf16"], found["without"])
    torch.testing.assert_close(
        found["bf16"], found["without"], rtol=0.3, atol=0.05 * float(found["without"].abs().max())
    )


def test_a_proximal_step_and_a_step_of_lam_auto_come_after_the_optimisers(tiny_folder: Path) -> None:  # noqa: F811
    shop = penalty_cost.Workshop(str(tiny_folder), batch=4, tokens=6, structures=("block_row:4",))
    shop.model.eval()
    start = {name: value.clone() for name, value in shop.model.state_dict().items()}
    norms = {}
    for way in (penalty_cost.WITHOUT, "proximal", "auto"):
        shop.model.load_state_dict(start)
        shop.step("block_row:4", way)
        weights = shop.penalties["block_row:4"].weights.values()
        found = [group_norms(weight.detach(), BlockStructure.block_row(4)).flatten() for weight in weights]
        norms[way] = torch.cat(found)
    assert (norms["proximal"] < norms[penalty_cost.WITHOUT]).all()
    assert 0.5 < float((norms["auto"] == 0).float().mean()) < 0.8


def test_shares_are_of_a_step_without_penalty() -> None:
    times = {"without": 100.0, "row penalty": 104.0, "row auto": 110.0}
    steps = {name: Timing(name, (value,) * 3, 1) for name, value in times.items()}
    (row,) = penalty_cost.rows(Comparison(steps, "without", {"torch": 1}, 0, 0))
    assert row["structure"] == "row"
    assert row["added_share"]["penalty"] == pytest.approx({"value": 0.04, "low": 0.04, "high": 0.04})
    assert row["added_share"]["auto"] == pytest.approx({"value": 0.1, "low": 0.1, "high": 0.1})
