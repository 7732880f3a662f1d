"""The page "Serve it" says what the code does: its blocks run, its files are there, its Dockerfile keeps its word."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tools import serving_page

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "book" / "serve-it.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)
DOCKERFILE = (ROOT / "examples" / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What the blocks leave, run in order in an empty folder."""
    before, found = Path.cwd(), {}
    os.chdir(tmp_path_factory.mktemp("serve"))
    try:
        for number, block in enumerate(BLOCKS):
            exec(compile(block, f"block {number} of serve-it.md", "exec"), found)
        yield found
    finally:
        os.chdir(before)


def test_every_block_of_the_page_runs(ran, capsys):
    assert len(BLOCKS) >= 6
    assert ran["model"].bert.encoder.forward.last == "compiled"
    assert ran["warm"].cores >= 1
    answers = ran["classify"](["a fine film"])
    assert answers[0]["label"] in ("negative", "positive")


@pytest.mark.skipif(importlib.util.find_spec("sentence_transformers") is None, reason="needs sentence-transformers")
def test_a_sentence_transformer_runs_as_the_page_says(tmp_path):
    from sentence_transformers import SentenceTransformer

    import blockprune_lib as bp

    embedder = SentenceTransformer(_as_sentence_transformer(tmp_path), device="cpu")
    structure = bp.BlockStructure.block_column(4)
    bp.prune(embedder, structure, rate=5.0)
    bp.sparsify(embedder, structure, precision="auto")
    assert embedder.encode(["a fine film", "no"]).shape == (2, 384)
    assert embedder[0].auto_model.encoder.forward.last == "compiled"


def _as_sentence_transformer(folder):
    """MiniLM as its folder on the Hub has it, from the package of its weights."""
    import blockprune_lib as bp

    loaded = bp.models.load("minilm")
    loaded.model.bert.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return str(folder)


def test_the_tables_are_those_of_the_records():
    for name, text in serving_page.regions().items():
        assert f"<!-- {name} -->\n{text}\n<!-- /{name} -->" in PAGE


def test_what_the_page_includes_is_there():
    for name, options in re.findall(r"```\{literalinclude\} (\S+)\n(.*?)```", PAGE, re.S):
        text = (ROOT / "book" / name).read_text(encoding="utf-8")
        for place in re.findall(r":(?:start-at|end-before): (.+)", options):
            assert text.count(place) == 1, place
    for name in re.findall(r"`(examples/[\w.]+)`", PAGE):
        assert (ROOT / name).is_file()


def test_commands_of_the_page_have_flags_that_exist():
    lines = re.findall(r"^(?:OMP_\S+ )?python blockprune/(examples/\S+) (.*)$", PAGE, re.M)
    assert len(lines) >= 3
    for line in lines:
        text = (ROOT / line[0]).read_text(encoding="utf-8")
        for flag in re.findall(r"--[a-z]+", line[1]):
            assert f'"{flag}"' in text, flag


def instructions():
    """[(instruction, the rest)] of the Dockerfile, continued lines joined."""
    lines = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M)).splitlines()
    return [tuple(line.split(" ", 1)) for line in lines if line.strip()]


def environment():
    return dict(word.split("=", 1) for kind, rest in instructions() if kind == "ENV" for word in shlex.split(rest))


def test_the_dockerfile_is_what_the_page_says():
    found = instructions()
    kinds = [kind for kind, _ in found]
    assert kinds[0] == "FROM"
    assert set(kinds) <= {"FROM", "ENV", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT"}
    assert dict(found)["USER"] not in ("root", "0")
    assert kinds.index("USER") > max(place for place, kind in enumerate(kinds) if kind in ("RUN", "COPY"))
    assert environment()["OMP_WAIT_POLICY"] == "PASSIVE"
    made_before = ("dist/*.whl", "model")  # by the commands in its first lines
    for kind, rest in found:
        if kind == "COPY" and (source := rest.split()[0]) not in made_before:
            assert (ROOT / source).is_file(), source
    program = re.search(r'ENTRYPOINT \["python", "/opt/(serve.py)", "/opt/model"', DOCKERFILE)
    assert program
    assert "serve = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "[serve]" in DOCKERFILE
    started = DOCKERFILE.partition("FROM")[0]
    assert "--read-only --tmpfs /tmp" in started  # torch looks for a temporary folder when it is imported


def test_the_line_that_compiles_fills_the_folder_that_later_processes_read(ran, tmp_path):
    (line,) = (rest for kind, rest in instructions() if kind == "RUN" and "warm_up" in rest)
    words = shlex.split(line)
    assert words[:2] == ["python", "-c"]
    variables = environment() | {"NUMBA_CACHE_DIR": str(tmp_path / "kernels"), "PYTHONPATH": str(ROOT)}
    model = Path.cwd() / "model"  # where the blocks ran
    assert ran["bp"].load(model)
    said = []
    for _ in range(2):
        command = [sys.executable, "-c", words[2].replace("/opt/model", str(model))]
        done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=True)
        said.append(done.stdout)
    assert "compiled" in said[0]
    assert "compiled" not in said[1]
    assert "loaded from disk" in said[1]
    assert str(tmp_path / "kernels") in said[0]
