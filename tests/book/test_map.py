"""The map of the library that README and CONTRIBUTING draw is the contract that import-linter holds the code to."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def drawn(page):
    """{floor: rooms} of the table between the marks of a page."""
    table = re.search(r"<!-- rooms -->\n(.*?)<!-- /rooms -->", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    floors: dict[int, set[str]] = {}
    for floor, room in re.findall(r"^\| (\d) \| `(\w+)/` \|", table[1], re.MULTILINE):
        floors.setdefault(int(floor), set()).add(room)
    return floors


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_map_is_the_contract(page):
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = linter["contracts"][0]["layers"]
    wanted = {floor: set(layer.split(" | ")) for floor, layer in enumerate(reversed(layers))}
    assert drawn(page) == wanted
    assert linter["contracts"][0]["exhaustive"] is True
    assert linter["exclude_type_checking_imports"] is False
    assert not any("ignore_imports" in contract for contract in linter["contracts"])


def test_both_pages_draw_the_same_map():
    maps = [(ROOT / page).read_text(encoding="utf-8").split("<!-- rooms -->")[1].split("<!-- /rooms -->")[0]
            for page in ("README.md", "CONTRIBUTING.md")]  # fmt: skip
    assert maps[0] == maps[1]


def test_what_contributing_names_is_there():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|js|md|ipynb|yaml))`", page)
    assert len(paths) > 40
    for name in paths:
        if not re.search("NAME|my_name", name):
            assert any((ROOT / base / name).exists() for base in ("", "blockprune_lib")), name


def test_every_errand_names_what_is_in_its_files():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.*) \|$", page.split("| errand |")[1].split("\n\n")[0], re.M)
    assert len(rows) >= 8
    for row in rows:
        quoted = re.findall(r"`([^`]+)`", row)
        found = [path for name in quoted for base in ("", "blockprune_lib") if (path := ROOT / base / name).is_file()]
        text = "\n".join(path.read_text(encoding="utf-8") for path in found)
        for name in quoted:
            if re.fullmatch(r"\w+(\.\w+)?(\(.*\))?", name) and not name.startswith("NUMBA_"):
                last = name.partition("(")[0].split(".")[-1]
                assert re.search(rf"\b{last}\b", text) or (ROOT / name).exists(), (name, row[:40])
