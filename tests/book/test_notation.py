"""Every letter of the formulas is told by the notation or where it stands, and rows name the pages that use them."""

import json
import re
from pathlib import Path

import pytest

BOOK = Path(__file__).resolve().parents[2] / "book"
#: Pages with formulas.
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
#: What a chapter explains in words beside its one formula, which does not begin with it: inputs, numbers, sizes, kinds.
OF_ONE_FORMULA = {
    "a-kernel-step-by-step": {"b"},
    "group-lasso": {"X"},
    "know-your-machine": {"b", "m", "w"},
    "storing-what-is-left": {"v"},
}
NAMELESS = {"i", "j", "l"} | {f"\\{word}" for word in NO_SYMBOL.split()}


def found_in(path):
    """(long formula, short formula) of a page, one of them empty, code left out."""
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text())["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    else:
        text = re.sub(r"^```\w*\n.*?^```$", "", path.read_text(), flags=re.S | re.M)
    return re.findall(r"\$\$(.*?)\$\$|\$([^$]+)\$", text, re.S)


def formulas(path):
    return [(long or short).replace("|g|", r"\lvert g \rvert") for long, short in found_in(path)]


def symbols(formula):
    bare = re.sub(r"\\(?:text|operatorname|mathrm)\{[^}]*\}|\\(?:begin|end)\{\w+\}", " ", formula)
    return set(SYMBOL.findall(bare)) - NAMELESS


def told_where_they_stand(path):
    """Symbols with which a formula in the text begins, as where it names them, and what a long one sets equal."""
    starts = []
    for long, short in found_in(path):
        starts += [short, *(part for part in re.split(r"\\q?quad", long) if re.match(r"[^=+]*=", part))]
    return {first[0] for start in starts if (first := SYMBOL.match(start.strip()))}


def rows():
    """(symbols, pages that the row names) of all tables; a row of the first table names none."""
    found = []
    for line in (BOOK / "notation.md").read_text(encoding="utf-8").splitlines():
        if row := re.match(r"\| (\$.*?) \| (.*?) \|", line):
            pages = re.findall(r"\[[^]]*\]\(([\w-]+)\.(?:ipynb|md)\)", row[2])
            found.append((re.findall(r"\$([^$]+)\$", row[1]), pages))
    return found


def test_every_symbol_of_the_notation_stands_in_the_chapters_that_its_row_names():
    said = {path.stem: " ; ".join(formulas(path)) for path in PAGES}

    def has(symbol, page):
        told = r"\s*".join(re.escape(part) for part in re.split(r"\s+|(?<=[{,}_])|(?=\()", symbol) if part)
        return re.search(rf"(?<![A-Za-z\\]){told}(?![A-Za-z_])", said[page]) is not None

    assert len(rows()) > 40
    for told, named in rows():
        if named:
            assert all(has(one, page) for one in told for page in named), (told, named)
        else:
            assert all(any(has(one, page) for page in said) for one in told), told


@pytest.mark.parametrize("path", PAGES, ids=[path.stem for path in PAGES])
def test_every_symbol_of_a_page_is_told(path):
    known = {one for told, named in rows() if not named or path.stem in named for text in told for one in symbols(text)}
    left = {one for formula in formulas(path) for one in symbols(formula)} - known - told_where_they_stand(path)
    assert left <= OF_ONE_FORMULA.get(path.stem, set())


def test_a_symbol_is_told_from_what_latex_needs():
    assert symbols(r"\frac{a_i}{\text{rate}} \le \lambda + W' \mathrel{+}= x_0 \cdot \tilde W") == {
        "a", r"\lambda", "W'", "x_0", r"\tilde W"
    }  # fmt: skip
