"""Settings of a stage: bounds, types, names, what changes the result, and their JSON schema."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blockprune_lib.training.settings import TrainingSettings, check_settings


@pytest.mark.parametrize(
    ("error", "name", "value"),
    [
        (ValueError, "learning_rate", 0.0),
        (ValueError, "learning_rate", float("nan")),
        (TypeError, "learning_rate", "fast"),
        (ValueError, "batch_size", 0),
        (TypeError, "batch_size", 2.5),
        (ValueError, "epochs", -1.0),
        (ValueError, "epochs", float("inf")),
        (TypeError, "epochs", True),
        (ValueError, "max_steps", 0),
        (ValueError, "max_steps", -2),
        (TypeError, "max_steps", True),
        (ValueError, "weight_decay", -0.1),
        (ValueError, "warmup_ratio", 1.5),
        (ValueError, "warmup_ratio", -0.1),
        (TypeError, "schedule", 3),
        (ValueError, "max_grad_norm", -1.0),
        (ValueError, "seed", -1),
        (ValueError, "seed", 2**32),
        (TypeError, "seed", 0.5),
        (ValueError, "evaluate_every", 0),
        (TypeError, "checkpoint_every", "often"),
        (TypeError, "freeze_embeddings", 1),
        (TypeError, "bf16", None),
        (ValueError, "gradient_accumulation_steps", 0),
        (TypeError, "optimizer", None),
        (TypeError, "output_dir", 5),
        (TypeError, "progress", "yes"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(error: Any, name: str, value: Any) -> None:
    with pytest.raises(error, match=f"^{name}"):
        TrainingSettings(**{name: value})
    with pytest.raises(error, match=f"^{name}"):
        TrainingSettings().replace(**{name: value})


def test_an_error_says_what_would_do() -> None:
    with pytest.raises(ValueError, match=r"^batch_size must be a whole number of at least 1; got 0: 32 would do$"):
        TrainingSettings(batch_size=0)
    with pytest.raises(ValueError, match=r"there is no 'epoch'; did you mean 'epochs'\?"):
        TrainingSettings(epoch=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"got dict: TrainingSettings\(\*\*settings\) would do"):
        check_settings({"epochs": 3})


def test_numbers_stay_as_they_were_given() -> None:
    # A stage's folder is named by a hash of them, in which 3 and 3.0 differ.
    settings = TrainingSettings(epochs=3, learning_rate=np.float32(0.5), batch_size=np.int64(8))
    assert json.loads(json.dumps(settings.identity()))["epochs"] == 3
    assert json.dumps(settings.identity()["epochs"]) == "3"
    assert json.dumps(TrainingSettings(epochs=3.0).identity()["epochs"]) == "3.0"
    assert (settings.learning_rate, settings.batch_size) == (0.5, 8)


def test_what_changes_no_weight_is_no_part_of_the_identity(tmp_path: Path) -> None:
    told = TrainingSettings(
        output_dir=tmp_path, checkpoint_every=3, progress=True, evaluate_every=2, evaluate_first=False
    )
    assert told.identity() == TrainingSettings().identity()
    assert set(told.to_dict()) - set(told.identity()) == {
        "output_dir", "checkpoint_every", "progress", "evaluate_every", "evaluate_first", "dropout",
    }  # fmt: skip
    assert TrainingSettings(dropout=0.0).identity() == TrainingSettings().identity() | {"dropout": 0.0}
    assert TrainingSettings.of(json.loads(json.dumps(told.to_dict()))) == told
    assert TrainingSettings(seed=1).identity() != TrainingSettings().identity()


def test_the_schema_says_the_bounds() -> None:
    fields = TrainingSettings.model_json_schema()["properties"]
    assert fields["batch_size"] == {
        "default": 32,
        "examples": [32],
        "minimum": 1,
        "title": "Batch Size",
        "type": "integer",
    }
    assert fields["learning_rate"]["exclusiveMinimum"] == 0
    assert fields["seed"]["maximum"] == 2**32 - 1
