"""What transformers' own methods keep of a model with block-sparse layers, and who can read it."""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_model
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    Trainer,
    TrainingArguments,
    pipeline,
)

from blockprune_lib.data import hub, models
from blockprune_lib.nn import BlockSparseLinear, compression, densify, load, save, sparsify
from blockprune_lib.pruning import BlockStructure, apply_masks_, select_model

from ..helpers.tiny import write

COLUMN = BlockStructure.block_column(8)
SMALL = BertConfig(
    vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=12, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)  # fmt: skip
IDS = torch.arange(12).reshape(2, 6)
REFUSED = r"block-sparse layers, which blockprune_lib.load\(folder\) reads"


def sparse(make: Any = BertForSequenceClassification) -> Any:
    model = make(SMALL).eval()
    apply_masks_(model, select_model(model, COLUMN, rate=3.0))
    return sparsify(model, COLUMN)


def answer(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS)[0]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


FILES = ["blockprune.json", "blockprune.safetensors", "config.json", "model.safetensors.index.json"]


def test_save_pretrained_writes_what_load_reads_and_nothing_else_does(tmp_path: Path) -> None:
    model = sparse()
    model.save_pretrained(tmp_path)
    assert names(tmp_path) == FILES
    assert torch.equal(answer(load(tmp_path)), answer(model))
    for reader in (BertForSequenceClassification, AutoModel):
        with pytest.raises(ValueError, match=REFUSED):
            reader.from_pretrained(tmp_path)
        with pytest.raises(ValueError, match=REFUSED):
            reader.from_pretrained(tmp_path, ignore_mismatched_sizes=True)
    with pytest.raises(KeyError):  # whose own configuration does not name the file
        BertForSequenceClassification.from_pretrained(tmp_path, config=SMALL, ignore_mismatched_sizes=True)
    with pytest.raises(RuntimeError, match=r"size mismatch for bert\.encoder\.layer\.0"):
        BertForSequenceClassification(SMALL).load_state_dict(load_file(tmp_path / FILES[1]), strict=False)


def by_hand() -> Any:
    model = BertForSequenceClassification(SMALL).eval()
    name = "bert.encoder.layer.1.output.dense"
    model.set_submodule(name, BlockSparseLinear.from_linear(model.get_submodule(name), COLUMN))
    return model


def around_a_sparse_encoder() -> Any:
    model = BertForSequenceClassification(SMALL).eval()
    model.bert = sparse(BertModel)
    return model


def sparse_from_within() -> Any:
    model = BertForSequenceClassification(SMALL).eval()
    sparsify(model.bert.encoder, COLUMN, keep_dense_above=1.0)
    return model


def through_a_pickle() -> Any:
    return pickle.loads(pickle.dumps(copy.deepcopy(sparse())))


@pytest.mark.parametrize("make", [by_hand, around_a_sparse_encoder, sparse_from_within, through_a_pickle])
def test_however_the_layers_came_into_the_model(make: Any, tmp_path: Path) -> None:
    model = make()
    model.save_pretrained(tmp_path)
    assert torch.allclose(answer(load(tmp_path)), answer(model), atol=1e-6)  # as one call, or layer by layer
    with pytest.raises(ValueError, match=REFUSED):
        BertForSequenceClassification.from_pretrained(tmp_path)


def test_a_part_of_a_model_is_kept_as_its_own_class(tmp_path: Path) -> None:
    # sentence-transformers keeps the transformer inside it by this call.
    model = nn.ModuleDict({"auto_model": sparse(BertModel), "head": nn.Linear(16, 3)})
    model["auto_model"].save_pretrained(str(tmp_path), safe_serialization=True)
    loaded = load(tmp_path)
    assert type(loaded) is BertModel
    assert torch.equal(answer(loaded), answer(model["auto_model"]))


def test_tied_weights_and_generation_settings_are_kept(tmp_path: Path) -> None:
    model = sparse(BertForMaskedLM)
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert loaded.cls.predictions.decoder.weight is loaded.bert.embeddings.word_embeddings.weight
    assert torch.equal(answer(loaded), answer(model))


def test_dense_models_are_kept_as_ever(tmp_path: Path) -> None:
    sparse()
    model = BertForSequenceClassification(SMALL).eval()
    model.save_pretrained(tmp_path)
    assert names(tmp_path) == ["config.json", "model.safetensors"]
    assert torch.equal(answer(BertForSequenceClassification.from_pretrained(tmp_path)), answer(model))


def test_a_folder_holds_one_model(tmp_path: Path) -> None:
    dense, packed = BertForSequenceClassification(SMALL).eval(), sparse()
    dense.save_pretrained(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("mine")
    packed.save_pretrained(tmp_path)
    assert names(tmp_path) == [*FILES, "notes.txt"]
    dense.save_pretrained(tmp_path)
    assert names(tmp_path) == ["config.json", "model.safetensors", "notes.txt"]
    assert torch.equal(answer(BertForSequenceClassification.from_pretrained(tmp_path)), answer(dense))
    packed.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holds two models, blockprune\.safetensors and model\.safetensors"):
        load(tmp_path)


def test_arguments_of_save_pretrained(tmp_path: Path) -> None:
    model = sparse()
    model.save_pretrained(tmp_path / "other", is_main_process=False)
    assert not (tmp_path / "other").exists()
    changed = {name: tensor + 1 if name == "classifier.bias" else tensor for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path / "given", state_dict=changed, max_shard_size="1KB")
    assert torch.allclose(answer(load(tmp_path / "given")), answer(model) + 1)
    wrapped = {f"_orig_mod.{name}": tensor for name, tensor in changed.items()}
    model.save_pretrained(tmp_path / "wrapped", state_dict=wrapped)
    assert torch.equal(answer(load(tmp_path / "wrapped")), answer(model))
    with pytest.raises(ValueError, match="is a file; name a folder"):
        model.save_pretrained(tmp_path / "wrapped" / "config.json")
    with pytest.raises(ValueError, match="distributed_checkpoint must be False"):
        model.save_pretrained(tmp_path, distributed_checkpoint=True)


def test_what_is_pushed_to_the_hub_is_what_load_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, pushed = sparse(), list[Any]()
    monkeypatch.setattr(type(model), "push_to_hub", lambda self, repo_id, token=None: pushed.append((repo_id, token)))
    model.save_pretrained(tmp_path / "mine", push_to_hub=True, token="t", commit_message="first")
    assert pushed == [("mine", "t")]
    asked = list[Any]()
    monkeypatch.setattr(hub, "snapshot", lambda name, **more: (asked.append((name, more)), tmp_path / "mine")[1])
    assert torch.equal(answer(load("me/mine")), answer(model))
    assert asked == [("me/mine", {"required": ("blockprune.json", "config.json")})]
    with pytest.raises(ValueError, match="there is no such folder"):
        load(tmp_path / "nowhere")


def test_a_file_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ValueError, match=r"safetensors': a file, name the folder; save\(model, folder\) writes one"):
        load(tmp_path / "model.safetensors")


def test_a_mistyped_path_of_two_parts_is_said_to_be_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "_answer", (False, "the Hub is switched off"))
    with pytest.raises(hub.HubError, match=r"'runs/prunde': there is no such folder here.*the Hub is switched off"):
        load("runs/prunde")


def test_a_folder_that_transformers_wrote_of_a_dense_model_is_named_as_one(tmp_path: Path) -> None:
    densify(sparse()).save_pretrained(tmp_path / "dense")
    with pytest.raises(
        ValueError, match=r"got a model without block-sparse layers.*from_pretrained\(.*dense'\) would do"
    ):
        load(tmp_path / "dense")


def test_a_full_disk_is_named_and_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, folder = sparse(), tmp_path / "new" / "kept"
    save(model, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: Any, **__: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match=r"kept' could not be written: .*No space left.* MB free"):
        save(model, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["kept"]


def test_transformers_own_push_uploads_what_load_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of push_to_hub but the network: an old dense upload may lie in the repository, which nothing deletes."""
    hub_folder = tmp_path / "the repository"

    class Card:
        def save(self, path: Any) -> None:
            Path(path).write_text("a card")

    def upload(self: Any, working_dir: Any, repo_id: str, *_: Any, **__: Any) -> str:
        shutil.copytree(working_dir, hub_folder, dirs_exist_ok=True)
        return repo_id

    place = "transformers.utils.hub."
    made = SimpleNamespace(repo_id="me/mine")
    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", lambda *_, **__: made)
    monkeypatch.setattr(f"{place}create_repo", lambda *_, **__: made, raising=False)
    monkeypatch.setattr(f"{place}create_and_tag_model_card", lambda *_, **__: Card())
    monkeypatch.setattr(f"{place}PushToHubMixin._upload_modified_files", upload)
    model = sparse()
    model.push_to_hub("me/mine")
    assert torch.equal(answer(load(hub_folder)), answer(model))
    with pytest.raises(ValueError, match=REFUSED):
        AutoModel.from_pretrained(hub_folder)
    with pytest.raises(ValueError, match=r"block-sparse layers: blockprune_lib\.load\(folder\) reads it"):
        models.load(hub_folder)
    dense = BertForSequenceClassification(SMALL).eval()
    dense.push_to_hub("me/mine")  # over it
    assert torch.equal(answer(BertForSequenceClassification.from_pretrained(hub_folder)), answer(dense))
    with pytest.raises(ValueError, match=r"holds two models, blockprune\.safetensors and model\.safetensors"):
        load(hub_folder)
    model.push_to_hub("me/mine")  # and over that
    with pytest.raises(ValueError, match=REFUSED):
        AutoModel.from_pretrained(hub_folder)


def test_what_accelerate_and_safetensors_write_is_no_dense_model(tmp_path: Path) -> None:
    model = sparse()
    Accelerator(cpu=True).save_model(model, str(tmp_path / "accelerate"))
    save_model(model, str(tmp_path / "plain.safetensors"))
    for file in (tmp_path / "accelerate" / "model.safetensors", tmp_path / "plain.safetensors"):
        again = sparse()
        load_model(again, file)
        assert torch.equal(answer(again), answer(model))
        with pytest.raises(RuntimeError, match=r"Missing key\(s\) in state_dict: .*query\.weight"):
            load_model(BertForSequenceClassification(SMALL), file)


def test_a_pipeline_keeps_and_serves_a_sparse_model(tmp_path: Path) -> None:
    folder = write(tmp_path / "dense", head=2)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    apply_masks_(model, select_model(model, COLUMN, rate=3.0))
    sparsify(model, COLUMN)
    made = pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(folder), device="cpu")
    wanted = made(["the cat sat", "not good"])
    made.save_pretrained(str(tmp_path / "kept"))
    with pytest.raises(ValueError, match=REFUSED):
        pipeline("text-classification", model=str(tmp_path / "kept"), device="cpu")
    served = pipeline(
        "text-classification", model=load(tmp_path / "kept"),
        tokenizer=AutoTokenizer.from_pretrained(tmp_path / "kept"),
        device="cpu",
    )  # fmt: skip
    assert served(["the cat sat", "not good"]) == wanted


@pytest.mark.filterwarnings("ignore:.*sentence_transformers:DeprecationWarning")  # of a module's name
def test_sentence_transformers_own_save_is_never_read_as_a_dense_model(tmp_path: Path) -> None:
    package = pytest.importorskip("sentence_transformers")
    modules, folder = pytest.importorskip("sentence_transformers.models"), write(tmp_path / "dense")

    def around(model: Any = None) -> Any:
        word = modules.Transformer(str(folder), max_seq_length=16)
        if model is not None:
            (name,) = (name for name, child in word.named_children() if isinstance(child, BertModel))
            setattr(word, name, model)
        return package.SentenceTransformer(modules=[word, modules.Pooling(16)], device="cpu")

    whole, texts = around(), ["the cat sat", "not good"]
    whole.save(str(tmp_path / "kept"))  # a dense one, over which the sparse one is saved
    inner = next(module for module in whole.modules() if isinstance(module, BertModel))
    apply_masks_(inner, select_model(inner, COLUMN, rate=3.0))
    sparsify(inner, COLUMN)
    wanted = whole.encode(texts)
    for save_to in (whole.save, whole.save_pretrained):
        save_to(str(tmp_path / "kept"))
        with pytest.raises(ValueError, match=REFUSED):
            package.SentenceTransformer(str(tmp_path / "kept"), device="cpu")
        (where,) = {path.parent for path in (tmp_path / "kept").rglob("blockprune.json")}
        np.testing.assert_allclose(around(load(where)).encode(texts), wanted, atol=1e-6)


@pytest.fixture
def shared_umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.usefixtures("shared_umask")
def test_files_are_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    sparse().save_pretrained(tmp_path / "a")
    save(sparse(), tmp_path / "b")
    save(BertForSequenceClassification(SMALL), tmp_path / "c")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 11
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}


def test_a_trainer_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    rows = [{"input_ids": torch.arange(7) + i, "labels": torch.tensor(i % 2)} for i in range(8)]
    start = sparse()

    def train(resume: Path | None) -> Any:
        arguments = TrainingArguments(
            str(tmp_path / "run"), max_steps=4, save_steps=2, per_device_train_batch_size=4, report_to=[],
            disable_tqdm=True, use_cpu=True, learning_rate=1e-2, eval_strategy="steps", eval_steps=2,
            load_best_model_at_end=True, seed=1,
        )  # fmt: skip
        model = copy.deepcopy(start)
        trainer = Trainer(model, arguments, train_dataset=rows, eval_dataset=rows)
        trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
        return trainer

    first, checkpoint = train(None), tmp_path / "run" / "checkpoint-2"
    assert set(FILES) <= set(names(checkpoint))
    again = train(checkpoint)
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True))
    assert not torch.equal(answer(start), answer(first.model.eval()))
    with pytest.raises(ValueError, match=REFUSED):
        BertForSequenceClassification.from_pretrained(checkpoint)
    first.save_model(str(tmp_path / "kept"))
    assert torch.equal(answer(load(tmp_path / "kept")), answer(first.model.eval()))


def test_the_index_names_every_tensor_once(tmp_path: Path) -> None:
    model = sparse(BertForMaskedLM)
    model.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    card = json.loads((tmp_path / "blockprune.json").read_text())
    assert set(index.values()) == {"blockprune.safetensors"}
    assert set(index) | set(card["tied"]) == set(model.state_dict())


@pytest.mark.parametrize("packed", [True, False])
def test_weights_on_the_meta_device_are_named(packed, tmp_path):
    model = (sparse() if packed else BertForSequenceClassification(SMALL)).to("meta")
    for use in (lambda: save(model, tmp_path / "model"), lambda: compression(model)):
        with pytest.raises(ValueError, match=r"embeddings.weight must hold numbers; got .* load the model's weights"):
            use()
    assert names(tmp_path) == []


def test_two_who_save_to_one_folder_at_once_leave_one_whole_model(tmp_path: Path) -> None:
    packed, wrong = sparse(), list[BaseException]()

    def write() -> None:
        try:
            for _ in range(8):
                save(packed, tmp_path / "model")
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    for name, tensor in load(tmp_path / "model").state_dict().items():
        torch.testing.assert_close(tensor, packed.state_dict()[name], rtol=0, atol=0)


def test_what_is_no_folder_to_replace_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for error, folder, said in (
        (TypeError, 3, r"folder must be a path; got 3 \(int\): 'runs/mine' would do"),
        (ValueError, "", "folder must be a path that is not empty; got ''"),
        (ValueError, "file/x", "but '.*/file' is a file"),
    ):
        with pytest.raises(error, match=said):
            save(sparse(), folder)  # type: ignore[arg-type]
    for folder in (3, ""):
        with pytest.raises((TypeError, ValueError), match="folder must be a path"):
            load(folder)  # type: ignore[arg-type]
    os.unlink("file")
    with pytest.raises(ValueError, match=r"got '.*', the working directory: '.*/model' would do"):
        save(sparse(), ".")


def test_a_mount_cannot_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path)
    with pytest.raises(ValueError, match=r"a mount: '.*/model' would do"):
        save(sparse(), tmp_path)
    save(sparse(), tmp_path / "model")
