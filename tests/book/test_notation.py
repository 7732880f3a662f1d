"""The notation has a row for every letter of the formulas, and its rows name the pages that use them."""

import json
import re
from pathlib import Path

import pytest

BOOK = Path(__file__).resolve().parents[2] / "book"
#: Pages with formulas whose letters the notation explains.
PAGES = [*sorted(BOOK.glob("*.ipynb")), BOOK / "experiments.md", BOOK / "settings.md"]
#: A letter or an operator, with what makes it another one: a tilde or a font, a prime, a star, the index 0. Other
#: indices only say which of several.
SYMBOL = re.compile(
    r"(?:\\tilde |\\mathcal\{|\\mathbb\{|\\mathbf\{)?(?:\\[A-Za-z]+|(?<![A-Za-z\\])[A-Za-z](?![A-Za-z]))"
    r"(?:'|_0|\^\\ast)?"
)
#: What LaTeX needs, operations that every reader knows, and letters that only count.
NO_SYMBOL = """
    frac tfrac dfrac sqrt sum min max log cdot times in le ge approx dots lVert rVert lvert rvert left right quad qquad
    top underbrace text textstyle mathrm operatorname lceil rceil ell mathbb{R mathrel
"""
#: What a chapter explains beside the one formula that has it, and the notation leaves out.
OF_ONE_FORMULA = {
    "a-kernel-step-by-step": set("abmtvw") | {r"\mathbf{x"},
    "group-lasso": {"I"},
    "know-your-machine": {"t"},
}
NAMELESS = {"i", "j", "l"} | {f"\\{word}" for word in NO_SYMBOL.split()}


def formulas(path):
    """Those of a page, code left out."""
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text())["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    else:
        text = re.sub(r"^```\w*\n.*?^```$", "", path.read_text(), flags=re.S | re.M)
    found = re.findall(r"\$\$(.*?)\$\$|\$([^$]+)\$", text, re.S)
    return [(long or short).replace("|g|", r"\lvert g \rvert") for long, short in found]


def symbols(formula):
    bare = re.sub(r"\\(?:text|operatorname|mathrm)\{[^}]*\}|\\(?:begin|end)\{\w+\}", " ", formula)
    return set(SYMBOL.findall(bare)) - NAMELESS


def rows():
    """(symbols, page under whose heading the row stands) of all tables; a row of the first table has no page."""
    found, page = [], None
    for line in (BOOK / "notation.md").read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"#+ (?:\[[^]]*\]\(([\w-]+)\.(?:ipynb|md)\))?", line):
            page = heading[1]
        elif row := re.match(r"\| (\$.*?) \|", line):
            found.append((re.findall(r"\$([^$]+)\$", row[1]), page))
    return found


def test_every_symbol_of_the_notation_stands_in_the_chapters_that_its_row_names():
    said = {path.stem: " ; ".join(formulas(path)) for path in PAGES}

    def has(symbol, page):
        told = r"\s*".join(re.escape(part) for part in re.split(r"\s+|(?<=[{,}_])|(?=\()", symbol) if part)
        return re.search(rf"(?<![A-Za-z\\]){told}(?![A-Za-z_])", said[page]) is not None

    assert len(rows()) > 70
    for told, named in rows():
        assert all(any(has(one, page) for page in ([named] if named else said)) for one in told), (told, named)


@pytest.mark.parametrize("path", PAGES, ids=[path.stem for path in PAGES])
def test_every_symbol_of_a_page_has_a_row(path):
    known = {one for told, named in rows() if named in (None, path.stem) for text in told for one in symbols(text)}
    known |= OF_ONE_FORMULA.get(path.stem, set())
    assert not {one for formula in formulas(path) for one in symbols(formula)} - known


def test_a_symbol_is_told_from_what_latex_needs():
    assert symbols(r"\frac{a_i}{\text{rate}} \le \lambda + W' \mathrel{+}= x_0 \cdot \tilde W") == {
        "a", r"\lambda", "W'", "x_0", r"\tilde W"
    }  # fmt: skip
