"""The trials of learning rates run the first chapter's own cells, and the chapter obeys their record."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tools import story_rates


def test_the_story_is_the_chapter_s_own_with_another_seed() -> None:
    code = story_rates.story(7)
    assert "SEED = 7" in code
    assert "SEED = 0" not in code
    assert all(part in code for part in ("def settings(", "def trained(", "LEARNING_RATES"))
    compile(code, "story", "exec")


def test_a_chapter_without_the_cells_or_the_seed_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "story.ipynb"
    file.write_text(json.dumps({"cells": [{"id": story_rates.CELLS[0], "source": ["x = 1"]}]}))
    with pytest.raises(ValueError, match=f"none named {story_rates.CELLS[1]}"):
        story_rates.story(1, file)
    file.write_text(json.dumps({"cells": [{"id": name, "source": ["x = 1"]} for name in story_rates.CELLS]}))
    with pytest.raises(ValueError, match="0 lines 'SEED = 0'"):
        story_rates.story(1, file)


def test_the_record_is_kept_after_each_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(seed: int, rates: tuple[float, ...]) -> tuple[dict[str, object], dict[str, object]]:
        if seed == 2:
            raise RuntimeError("stopped")
        return {"dense": 0.8, "ways": {"at once": {f"{rate:g}": 0.7 for rate in rates}}}, {"rate": 2.0}

    monkeypatch.setattr(story_rates, "scores", fake)
    target = tmp_path / "record.json"
    with pytest.raises(RuntimeError, match="stopped"):
        story_rates.main(["--seed", "1", "--seed", "2", "--learning-rate", "0.001", "--json", str(target)])
    record = json.loads(target.read_text())
    assert record["format"] == story_rates.FORMAT
    assert record["seeds"] == {"1": {"dense": 0.8, "ways": {"at once": {"0.001": 0.7}}}}
    assert {"commit", "versions", "date"} <= set(record["provenance"])


def test_the_chapter_trains_each_way_at_the_record_s_best_rate() -> None:
    record = json.loads(story_rates.RESULT.read_text("utf-8"))
    listed = re.search(r"LEARNING_RATES = (\{.*?\})", story_rates.story(0), re.S)
    assert listed is not None
    chosen = eval(listed[1], {"ON": "dense, trained on"})
    seeds = [seed["ways"] for seed in record["seeds"].values()]
    for way, rate in chosen.items():
        means = {float(one): sum(seed[way][one] for seed in seeds) for one in seeds[0][way]}
        assert means[rate] == max(means.values()), way
