"""The Hub: asked once, given up in time, read from its cache, and (on a small server here) really downloaded from."""

import hashlib
import http.server
import json
import socket
import subprocess
import sys
import threading
from urllib.parse import unquote, urlparse

import pytest

from blockprune_lib import models, tasks
from blockprune_lib.data import hub

from ..helpers.tiny import tiny_folder  # noqa: F401


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """A process that has not asked yet, with an empty cache; leaves none of its threads behind."""
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT", "BLOCKPRUNE_GLUE_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "_answer", None)
    yield
    for thread in threading.enumerate():
        if thread.name == "blockprune-hub":
            thread.join()


@pytest.fixture
def black_hole(monkeypatch):
    """An endpoint that takes connections and never answers; gives the list of those it took."""
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")

        def accept():
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        yield taken
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in taken:
            connection.close()


def fake_cache(tmp_path, repo, files, kind="models", commit="a" * 40):
    """Files in the layout of the Hub's cache."""
    repository = tmp_path / "cache" / "--".join([kind, *repo.split("/")])
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    for name, content in files.items():
        path = repository / "snapshots" / commit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return repository / "snapshots" / commit


def test_the_deadline_leaves_room_below_three_seconds():
    assert hub.DEADLINE_SECONDS <= 2.5


def test_a_black_hole_is_tried_once_by_everything(black_hole, monkeypatch):
    monkeypatch.setattr(hub, "DEADLINE_SECONDS", 0.3)
    assert not hub.reachable()
    assert "no answer" in hub.why()
    with pytest.raises(hub.HubError, match="not reachable"):
        models.load("bert-base-uncased")
    with pytest.raises(hub.HubError, match="nyu-mll/glue"):
        tasks.load("rte", source="hub")
    assert tasks.load("rte", train=2, validation=2, verbose=False).source == "built-in"
    assert not hub.reachable()
    assert len(black_hole) == 1


def test_a_hanging_name_lookup_is_left_behind(monkeypatch):
    monkeypatch.setattr(hub, "DEADLINE_SECONDS", 0.2)
    let_go = threading.Event()

    def hang(*arguments, **options):
        let_go.wait(60)
        raise socket.gaierror("gave up")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    assert not hub.reachable()
    assert not let_go.is_set()  # the answer came while the look-up still hung
    let_go.set()


def test_a_refused_connection_is_a_no(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    assert not hub.reachable()
    assert f"127.0.0.1:{port}" in hub.why()


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_variables_answer_without_a_look(black_hole, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    assert not hub.reachable()
    assert variable in hub.why()
    assert black_hole == []


def test_the_cache_comes_first_and_asks_nobody(monkeypatch, tmp_path):
    def refuse(*arguments, **options):
        raise AssertionError("a connection")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    folder = fake_cache(tmp_path, "org/model", {"config.json": b"{}", "model.safetensors": b"x"})
    assert hub.snapshot("org/model", required=["config.json", "*.safetensors"]) == folder
    assert hub.snapshot("org/model", required=["config.json"], revision="a" * 40) == folder
    assert hub.cached("org/model", ["config.json"], revision="other") is None
    assert hub.cached("org/model", ["vocab.txt"]) is None
    assert hub.cached("org/other", ["config.json"]) is None
    assert hub.cached("org/model", ["config.json"], repo_type="dataset") is None


def test_a_dangling_link_in_the_cache_is_no_file(tmp_path):
    folder = fake_cache(tmp_path, "org/model", {"config.json": b"{}"})
    (folder / "model.safetensors").symlink_to(tmp_path / "gone")
    assert hub.cached("org/model", ["config.json", "*.safetensors"]) is None


@pytest.mark.parametrize("pattern", ["*.bin", "*", "*.py", "model.pt", "data.pkl"])
def test_pickles_and_code_are_never_asked_for(pattern):
    with pytest.raises(ValueError, match=r"patterns must end in \.safetensors"):
        hub.snapshot("org/model", [pattern])


def test_unknown_repository_type():
    with pytest.raises(ValueError, match="repo type"):
        hub.cached("org/model", ["config.json"], repo_type="folder")


@pytest.mark.parametrize("name", ["org/--", "org/a b", "org/.git", "org/" + "x" * 100])
def test_a_name_that_no_repository_can_have_is_not_in_the_cache(name):
    assert hub.cached(name, ["config.json"]) is None


def test_importing_needs_no_hub_library():
    code = (
        "import sys; import blockprune_lib; from blockprune_lib.data import hub\n"
        "assert 'huggingface_hub' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- a small Hub, here ---


@pytest.fixture
def small_hub(monkeypatch, tmp_path):
    """A server that speaks as much of the Hub's API as a download needs; gives {repo: {name: bytes}} to fill."""
    repositories, commit = {}, "b" * 40

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, content=b"", status=200, **headers):
            self.send_response(status)
            for key, value in {"Content-Length": len(content), **headers}.items():
                self.send_header(key.replace("_", "-"), str(value))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def do_GET(self):
            path = unquote(urlparse(self.path).path).removeprefix("/api/").removeprefix("/")
            asked.append(f"{self.command} {path}")
            kind, _, rest = path.partition("/")
            repo = "/".join((rest if kind in ("models", "datasets") else path).split("/")[:2])
            files = repositories.get(repo)
            if not path:
                return self.answer()
            if files is None:
                return self.answer(status=404, X_Error_Code="RepoNotFound")
            if "/resolve/" in path:
                content = files.get(path.split("/resolve/")[1].split("/", 1)[1])
                if content is None:
                    return self.answer(status=404, X_Error_Code="EntryNotFound")
                etag = hashlib.sha1(content).hexdigest()
                return self.answer(content, ETag=f'"{etag}"', X_Repo_Commit=commit, Accept_Ranges="bytes")
            if "/tree/" in path:
                body = [
                    {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                    for name, content in files.items()
                ]
            else:
                body = {"id": repo, "sha": commit, "siblings": [{"rfilename": name} for name in files]}
            return self.answer(json.dumps(body).encode(), Content_Type="application/json")

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *arguments):
            pass

    asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    repositories["asked"] = asked
    yield repositories
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_model_is_downloaded_then_found_in_the_cache(small_hub, tiny_folder):  # noqa: F811
    wanted = {path.name: path.read_bytes() for path in tiny_folder.iterdir()}
    small_hub["org/tiny"] = {**wanted, "pytorch_model.bin": b"a pickle", "modeling.py": b"raise SystemExit"}
    loaded = models.load("org/tiny", num_labels=3)
    assert loaded.source == "hub"
    assert loaded.model.config.num_labels == 3
    assert loaded.sha256 == hashlib.sha256(wanted["model.safetensors"]).hexdigest()
    assert not [line for line in small_hub["asked"] if "pickle" in line or ".bin" in line or ".py" in line]
    before = len(small_hub["asked"])
    assert models.load("org/tiny").path == loaded.path
    assert len(small_hub["asked"]) == before


def test_glue_is_downloaded(small_hub, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = {"sentence1": ["A b.", "C d."], "sentence2": ["A.", "D e."], "label": [0, 1], "idx": [0, 1]}
    parquet.write_table(pyarrow.table(rows), tmp_path / "rows.parquet")
    content = (tmp_path / "rows.parquet").read_bytes()
    small_hub["nyu-mll/glue"] = {
        f"rte/{split}-00000-of-00001.parquet": content for split in ("train", "validation", "test")
    }
    task = tasks.load("rte", verbose=False)
    assert task.source == "hub: nyu-mll/glue"
    assert task.train["sentence1"][:] == rows["sentence1"]
    assert task.validation["label"][:] == [0, 1]


def test_a_repository_that_is_not_there_is_told_and_the_hub_stays_reachable(small_hub):
    with pytest.raises(hub.HubError, match=r"org/none.*404|org/none.*[Nn]ot"):
        hub.snapshot("org/none", required=["config.json"])
    assert hub.reachable()


def test_a_repository_without_safetensors_is_told(small_hub):
    small_hub["org/old"] = {"config.json": b"{}", "pytorch_model.bin": b"a pickle"}
    with pytest.raises(hub.HubError, match=r"no \*\.safetensors"):
        hub.snapshot("org/old", required=["config.json", "*.safetensors"])


def test_a_hub_that_falls_silent_is_not_asked_again(small_hub, monkeypatch):
    assert hub.reachable()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    with pytest.raises(hub.HubError, match="org/model"):
        hub.snapshot("org/model")
    assert not hub.reachable()
    assert "stopped answering" in hub.why()
