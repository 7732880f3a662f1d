"""The Hugging Face Hub, asked once: can it be reached, and where do a repository's files lie.

This is the one place that decides whether there is a network. The question is put once per process and
answered within three seconds, however the network fails; after a "no" nothing here tries again, and callers
are handed local folders only, so that neither transformers nor datasets asks on its own.

Left out: uploading, log-in, and any file that could carry code. Only safetensors, JSON, text and parquet are
ever fetched.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

DEADLINE_SECONDS = 2.5
SAFE_SUFFIXES = (".safetensors", ".json", ".txt", ".parquet")
MODEL_FILES = ("*.safetensors", "*.json", "*.txt")

__all__ = ["HubError", "cached", "reachable", "snapshot", "why"]


class HubError(OSError):
    """The Hub, or one repository on it, could not be had; the message says what was tried."""


@dataclass(frozen=True)
class _Answer:
    reachable: bool
    reason: str
    seconds: float


_answer: _Answer | None = None
_lock = threading.Lock()


def reachable() -> bool:
    """Whether the Hub answers: decided once per process, in three seconds at most.

    `HF_HUB_OFFLINE=1` (or `TRANSFORMERS_OFFLINE=1`) answers no without a look; `HF_ENDPOINT` names another
    host. `why()` gives the reason in words.
    """
    return _decide().reachable


def why() -> str:
    """What `reachable()` found, in a few words that fit into a sentence."""
    return _decide().reason


def snapshot(
    repo_id: str,
    patterns: Sequence[str] = MODEL_FILES,
    *,
    required: Sequence[str] = (),
    repo_type: str = "model",
    revision: str | None = None,
) -> Path:
    """Folder holding the files of `repo_id` that match `patterns`: the local cache first, then the Hub.

    `required` are patterns each of which at least one file must match. The cache's copy is used as it is, even
    where the Hub has a newer one; `revision` (a branch, tag or commit) pins it.

    Raises `ValueError` for a pattern that could match a pickle or code, `HubError` where there is no copy.
    """
    for pattern in (*patterns, *required):
        if not pattern.endswith(SAFE_SUFFIXES):
            raise ValueError(f"patterns: only {', '.join(SAFE_SUFFIXES)} files are fetched, got {pattern!r}")
    folder = cached(repo_id, required or patterns, repo_type=repo_type, revision=revision)
    if folder is not None:
        return folder
    if not reachable():
        raise HubError(f"{repo_id} is not in the local cache {_cache_folder()}, and {why()}")
    folder = _download(repo_id, patterns, repo_type, revision)
    if missing := _missing(folder, required):
        raise HubError(f"{repo_id} on the Hub has no {' and no '.join(missing)} (pickles are not read)")
    return folder


def cached(
    repo_id: str, required: Sequence[str], *, repo_type: str = "model", revision: str | None = None
) -> Path | None:
    """The cached copy of `repo_id` if it holds a file for each of the `required` patterns, else None.

    Reads the Hub's cache layout itself: huggingface_hub may use the network even to look there.
    """
    kind = {"model": "models", "dataset": "datasets"}.get(repo_type)
    if kind is None:
        raise ValueError(f"repo_type: expected 'model' or 'dataset', got {repo_type!r}")
    repository = _cache_folder() / "--".join([kind, *repo_id.split("/")])
    reference = repository / "refs" / (revision or "main")
    commit = reference.read_text().strip() if reference.is_file() else revision
    folder = repository / "snapshots" / commit if commit else None
    if folder is None or not folder.is_dir() or _missing(folder, required):
        return None
    return folder


def _missing(folder: Path, required: Sequence[str]) -> list[str]:
    """Patterns of `required` that no file in `folder` matches; a dangling link is no file."""
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return [pattern for pattern in required if not any(fnmatch(name, pattern) for name in files)]


def _download(repo_id: str, patterns: Sequence[str], repo_type: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            repo_id,
            repo_type=repo_type,
            revision=revision,
            allow_patterns=list(patterns),
            cache_dir=_cache_folder(),
            endpoint=_endpoint(),
            etag_timeout=5,
        )
    except Exception as error:  # the class depends on huggingface_hub's version and its HTTP library
        reason = _brief(error)
        transport = type(error).__module__.split(".")[0] not in ("huggingface_hub", "builtins")
        if transport or isinstance(error, (LocalEntryNotFoundError, ConnectionError, TimeoutError)):
            _give_up(f"the Hub stopped answering ({reason})")
        raise HubError(f"{repo_id} could not be fetched from {_endpoint()}: {reason}") from error
    return Path(folder)


def _decide() -> _Answer:
    global _answer
    with _lock:
        if _answer is None:
            _answer = _ask()
        return _answer


def _give_up(reason: str) -> None:
    global _answer
    with _lock:
        _answer = _Answer(False, reason, 0.0)


def _ask() -> _Answer:
    """One HEAD request in a daemon thread: a name look-up that hangs cannot be interrupted, only left behind."""
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE"):
            return _Answer(False, f"the Hub is switched off ({variable} is set)", 0.0)
    # The same client as the downloads will use: same proxies, same certificates. Imported outside the clock.
    from huggingface_hub.utils import get_session

    endpoint, outcome = _endpoint(), [f"no answer within {DEADLINE_SECONDS} s"]

    def attempt() -> None:
        try:
            status = get_session().head(endpoint, timeout=2.0).status_code
            outcome[0] = f"it answered with status {status}" if status in (403, 407) or status >= 500 else ""
        except Exception as error:
            outcome[0] = _brief(error)

    start = time.perf_counter()
    thread = threading.Thread(target=attempt, name="blockprune-hub", daemon=True)
    thread.start()
    thread.join(DEADLINE_SECONDS)
    problem, seconds = outcome[0], time.perf_counter() - start
    if problem:
        return _Answer(False, f"the Hub is not reachable ({endpoint}: {problem})", seconds)
    return _Answer(True, f"the Hub is reachable ({endpoint})", seconds)


def _brief(error: Exception) -> str:
    """Class and first line of an error, cut to what fits into a sentence."""
    text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    return text if len(text) <= 120 else text[:117] + "..."


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _cache_folder() -> Path:
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if folder := os.environ.get(variable):
            return Path(folder).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"
