"""The Hugging Face Hub, asked once: can it be reached, and where do a repository's files lie.

This is the one place that decides whether there is a network; after a "no" it never tries again. Callers get local
folders only, so that neither transformers nor datasets asks on its own. No file that could carry code is ever fetched.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

DEADLINE_SECONDS = 2.5
SAFE_SUFFIXES = (".safetensors", ".json", ".txt", ".parquet")
MODEL_FILES = ("*.safetensors", "*.json", "*.txt")


class HubError(OSError):
    """The Hub, or one repository on it, is not available; the message says what was tried."""


_answer: tuple[bool, str] | None = None  # whether the Hub can be reached, and why (not)
_lock = threading.Lock()


def reachable() -> bool:
    """Whether the Hub answers: decided once per process, in three seconds at most.

    `HF_HUB_OFFLINE=1` (or `TRANSFORMERS_OFFLINE=1`) means no, without a request; `HF_ENDPOINT` names another host.
    """
    return _decide()[0]


def why() -> str:
    """What `reachable()` found, in a few words that fit into a sentence."""
    return _decide()[1]


def snapshot(
    repo_id: str, patterns: Sequence[str] = MODEL_FILES, *, required: Sequence[str] = (), repo_type: str = "model",
    revision: str | None = None,
) -> Path:  # fmt: skip
    """Folder with the files of `repo_id` that match `patterns`: from the local cache, else from the Hub.

    At least one file must match each pattern in `required`. A cached copy is used as it is, even where the Hub has a
    newer one; `revision` (a branch, tag or commit) pins it.

    Raises `ValueError` for a pattern that could match a pickle or code, `HubError` where there is no copy.
    """
    for pattern in (*patterns, *required):
        if not pattern.endswith(SAFE_SUFFIXES):
            raise ValueError(f"patterns must end in {', '.join(SAFE_SUFFIXES)}; got {pattern!r}: '*.json' would do")
    if folder := cached(repo_id, required or patterns, repo_type=repo_type, revision=revision):
        return folder
    if not reachable():
        from huggingface_hub import constants

        raise HubError(f"{repo_id} is not in the local cache {constants.HF_HUB_CACHE}, and {why()}")
    folder = _download(repo_id, patterns, repo_type, revision)
    if missing := _missing(folder, required):
        raise HubError(f"{repo_id} on the Hub has no {' and no '.join(missing)} (pickles are never read)")
    return folder


def cached(
    repo_id: str, required: Sequence[str], *, repo_type: str = "model", revision: str | None = None
) -> Path | None:
    """The cached copy of `repo_id` if it has a file for each of the `required` patterns, else None; asks nobody."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        path = snapshot_download(
            repo_id, repo_type=repo_type, revision=revision, allow_patterns=list(required), local_files_only=True
        )
    except (LocalEntryNotFoundError, HFValidationError):  # the latter: no repository can have this name
        return None
    return None if _missing(Path(path), required) else Path(path)


def _missing(folder: Path, required: Sequence[str]) -> list[str]:
    """Patterns of `required` that no file in `folder` matches; a dangling link does not count as a file."""
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return [pattern for pattern in required if not any(fnmatch(name, pattern) for name in files)]


def _download(repo_id: str, patterns: Sequence[str], repo_type: str, revision: str | None) -> Path:
    global _answer
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            repo_id, repo_type=repo_type, revision=revision, allow_patterns=list(patterns), endpoint=_endpoint(),
            etag_timeout=5,
        )  # fmt: skip
    except Exception as error:  # the class depends on huggingface_hub's version and its HTTP library
        reason = _brief(error)
        transport = type(error).__module__.split(".")[0] not in ("huggingface_hub", "builtins")
        if transport or isinstance(error, (LocalEntryNotFoundError, ConnectionError, TimeoutError)):
            _answer = False, f"the Hub stopped answering ({reason})"
        raise HubError(f"{repo_id} could not be fetched from {_endpoint()}: {reason}") from error
    return Path(folder)


def _decide() -> tuple[bool, str]:
    global _answer
    with _lock:
        if _answer is None:
            _answer = _ask()
        return _answer


def _ask() -> tuple[bool, str]:
    """One HEAD request in a daemon thread: a name look-up that hangs cannot be interrupted, only abandoned."""
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE"):
            return False, f"the Hub is switched off ({variable} is set)"
    # The same client as the downloads will use: same proxies, same certificates. Imported outside the clock.
    from huggingface_hub.utils import get_session

    endpoint, outcome = _endpoint(), [f"no answer within {DEADLINE_SECONDS} s"]

    def attempt() -> None:
        try:
            status = get_session().head(endpoint, timeout=2.0).status_code
            outcome[0] = f"it answered with status {status}" if status in (403, 407) or status >= 500 else ""
        except Exception as error:
            outcome[0] = _brief(error)

    thread = threading.Thread(target=attempt, name="blockprune-hub", daemon=True)
    thread.start()
    thread.join(DEADLINE_SECONDS)
    if problem := outcome[0]:
        return False, f"the Hub is not reachable ({endpoint}: {problem})"
    return True, f"the Hub is reachable ({endpoint})"


def _brief(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    return text if len(text) <= 120 else text[:117] + "..."


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
