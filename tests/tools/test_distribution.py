"""What leaves the house: the wheel and the sdist, the zip, and the workflows that publish them."""

import errno
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools import alone, offline, package, workflows
from tools.repository import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return package.build(tmp_path_factory.mktemp("dist"))


def test_wheel_and_sdist_hold_the_library_and_no_book(built):
    assert package.faults(*built) == []


def test_what_is_missing_or_too_much_is_named(built, tmp_path):
    wheel, sdist = (tmp_path / path.name for path in built)
    shutil.copy(built[1], sdist)
    with zipfile.ZipFile(built[0]) as old, zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            if not entry.filename.endswith("py.typed"):
                new.writestr(entry, old.read(entry))
        new.writestr("book/results/big.json", b"0" * 2_000_000)
    found = package.faults(wheel, sdist)
    assert "the wheel lacks blockprune_lib/py.typed" in found
    assert "the wheel holds book/results/big.json" in found
    assert "book/results/big.json in the wheel weighs 2,000,000 bytes" in found


@pytest.mark.parametrize("which", [0, 1], ids=["wheel", "sdist"])
def test_it_installs_and_runs_in_an_environment_of_its_own(built, which, tmp_path):
    """Everything it needs comes from this environment; the library itself from the distribution alone."""
    home = tmp_path / "clean"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "others.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")) + "\n")
    python = home / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
               "--disable-pip-version-check", "--force-reinstall", "--target", site, built[which]]  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "BLOCKPRUNE"))}
    subprocess.run(command, check=True, cwd=tmp_path, env=environment)
    code = """
import pathlib, sys
import blockprune_lib as bp
assert pathlib.Path(bp.__file__).is_relative_to(sys.prefix), bp.__file__
import torch
weight = torch.zeros(8, 8); weight[:, 1] = 1
packed = bp.pack(weight, bp.BlockStructure.block_column(4))
assert torch.allclose(bp.linear(torch.eye(8), packed), weight.T)
assert bp.widgets.KernelAnimation().html().count("export default") == 1
"""
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "numba")
    subprocess.run([python, "-c", code], check=True, cwd=tmp_path, env=environment)
    done = subprocess.run([python, "-m", "blockprune_lib.cli", "--help"], cwd=tmp_path, env=environment, check=True,
                          capture_output=True, text=True)  # fmt: skip
    assert "report" in done.stdout


def test_the_zip_holds_the_pages_and_is_the_same_for_the_same_pages(tmp_path):
    html = tmp_path / "html"
    for name in ("index.html", "_static/a.js", "_static/a.js.map", "sitemap.xml", ".buildinfo"):
        (html / name).parent.mkdir(parents=True, exist_ok=True)
        (html / name).write_text(name)
    assert offline.pack(html, tmp_path / "one.zip") == 2
    offline.pack(html, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    names = zipfile.ZipFile(tmp_path / "one.zip").namelist()
    assert names == ["pruned-and-faster/_static/a.js", "pruned-and-faster/index.html"]
    with pytest.raises(FileNotFoundError, match="run make book"):
        offline.pack(tmp_path / "nothing", tmp_path / "three.zip")


def test_a_zip_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "index.html").write_text("page")
    target = tmp_path / "book.zip"
    target.write_bytes(b"the one before")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OSError, match="No space left"):
        offline.pack(tmp_path / "html", target)
    assert target.read_bytes() == b"the one before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["book.zip", "html"]


def test_the_workflows_call_what_is_there():
    assert workflows.faults() == []


BAD = """
name: bad
on: push
permissions: {contents: read}
jobs:
  one:
    runs-on: ubuntu-latest
    needs: none
    steps:
      - uses: actions/checkout
      - run: make nothing && python -m tools.nothing
      - run: if true; then
      - run: echo ${{ secrets.KEY }} ${{ github.event.issue.title }}
      - rum: echo
"""


def test_what_is_wrong_in_a_workflow_is_named(tmp_path):
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    (tmp_path / "Makefile").write_text("book:\n")
    (tmp_path / ".github" / "workflows" / "bad.yml").write_text(BAD)
    (tmp_path / ".github" / "workflows" / "worse.yml").write_text("- [")
    found = "\n".join(workflows.faults(tmp_path))
    for part in ("needs none, which is no job", "name an action and its version", "make nothing", "tools.nothing",
                 "no shell script", "a secret", "what a stranger may write", "unknown key 'rum'", "lacks timeout",
                 "worse.yml is no workflow"):  # fmt: skip
        assert part in found, part


def notebook(path, source):
    import nbformat

    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), path)
    return path


def test_a_chapter_runs_alone_in_an_empty_folder(tmp_path):
    seconds, wrong = alone.run(notebook(tmp_path / "good.ipynb", "import os\nassert os.listdir() == []"))
    assert (wrong, seconds > 0) == ("", True)
    _, wrong = alone.run(notebook(tmp_path / "bad.ipynb", "open('results/record.json')"))
    assert "FileNotFoundError" in wrong


def test_a_name_that_is_no_chapter_is_refused(capsys):
    with pytest.raises(SystemExit):
        alone.main(["nothing"])
    assert "names must be chapters; got nothing: there are" in capsys.readouterr().err


def test_the_release_needs_no_password():
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    assert "id-token: write" in text
    assert "password" not in Path(ROOT / ".github" / "workflows" / "release.yml").read_text().replace("no password", "")
    assert "secrets." not in text
