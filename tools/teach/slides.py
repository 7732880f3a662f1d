"""Slides from the chapters' own cells, by a register: book/teach/slides.yaml says which cell stands on which slide.

A slide shows its title, its text, and what `show` names of the chapter, as the executed notebook has it:

    figure: NAME      the picture that plots.figure(name=NAME) drew
    code: TEXT        the one cell that holds TEXT, or the first
    output: TEXT      what that cell printed or said
    predict: TEXT     the question, of the boxes headed Predict, that holds TEXT
    answer: TEXT      as output, at the next key
    equation: TEXT    the displayed equation that holds TEXT
    exercise: LABEL   the text of an exercise

`told: TEXT` puts what the cell that holds TEXT said, the answer to a question, into the speaker's notes.
The files of a deck ask for nothing beyond their folder: reveal.js lies beside the register, MathJax comes from the
package that the book's pages use.
"""

from __future__ import annotations

import html
import re
import shutil
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from blockprune_lib._common.files import write_whole

from .chapters import BOOK, DIRECTIVE, KIT, Cell, Notebook, code, read, source
from .student import plain

REGISTER, REVEAL = KIT / "slides.yaml", KIT / "reveal"
KINDS = ("figure", "code", "output", "answer", "predict", "equation", "exercise")
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="reveal.css"><link rel="stylesheet" href="slides.css">
<script>window.MathJax = {{svg: {{fontCache: "global"}}, tex: {{inlineMath: [["\\\\(", "\\\\)"]]}}}};</script>
<script src="mathjax.js"></script></head>
<body><div class="reveal"><div class="slides">
{slides}
</div></div>
<script src="reveal.js"></script><script src="notes.js"></script>
<script>Reveal.initialize({{width: 1280, height: 720, margin: 0.02, hash: true, slideNumber: "c/t", center: false,
controls: false, transition: "none", plugins: [RevealNotes]}});</script>
</body></html>
"""


@dataclass(frozen=True)
class Slide:
    """One slide of the register."""

    title: str
    chapter: str = ""
    text: str = ""
    show: list[dict[str, Any]] = field(default_factory=list)
    notes: str = ""
    told: str = ""


@dataclass(frozen=True)
class Deck:
    """A deck: its name, title, and slides."""

    name: str
    title: str
    subtitle: str
    slides: list[Slide]

    @property
    def chapters(self) -> list[str]:
        """The chapters that it shows cells of."""
        return list(dict.fromkeys(slide.chapter for slide in self.slides if slide.show or slide.told))


def decks(path: Path = REGISTER) -> list[Deck]:
    """The decks of the register; raises ValueError saying which slide has what wrong."""
    found = []
    for name, entry in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        slides = []
        for number, given in enumerate(entry["slides"], 1):
            where = f"deck {name!r}, slide {number}"
            try:
                slide = Slide(**given)
            except TypeError as error:
                raise ValueError(f"{where}: {error}") from None
            for item in slide.show:
                if len(item) != 1 or next(iter(item)) not in KINDS:
                    raise ValueError(f"{where}: show must be of {', '.join(KINDS)}; got {item}")
            slides.append(slide)
        found.append(Deck(name, entry["title"], entry.get("subtitle", ""), slides))
    return found


def build(folder: Path, notebooks: dict[str, Notebook], wanted: list[Deck] | None = None) -> list[Path]:
    """Write each deck as FOLDER/NAME.html with the files beside it; `notebooks`: executed chapters by name.

    Raises ValueError, naming deck and slide, where a chapter has no such cell or the cell shows nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("reveal.js", "reveal.css", "notes.js", "LICENSE"):
        shutil.copy(REVEAL / part, folder / part)
    shutil.copy(KIT / "slides.css", folder / "slides.css")
    shutil.copy(_mathjax(), folder / "mathjax.js")
    written = []
    for deck in wanted or decks():
        opening = (
            f"<section class='title'><h1>{html.escape(deck.title)}</h1><p>{html.escape(deck.subtitle)}</p></section>"
        )
        slides = [opening]
        for number, slide in enumerate(deck.slides, 1):
            try:
                slides.append(_section(slide, notebooks))
            except ValueError as error:
                raise ValueError(f"deck {deck.name!r}, slide {number} ({slide.title}): {error}") from None
        path = folder / f"{deck.name}.html"
        write_whole(path, PAGE.format(title=html.escape(deck.title), slides="\n".join(slides)).encode())
        written.append(path)
    return written


def _section(slide: Slide, notebooks: dict[str, Notebook]) -> str:
    parts = [f"<h2>{html.escape(slide.title)}</h2>"]
    if slide.text:
        parts.append(markdown(slide.text))
    for item in slide.show:
        ((kind, what),) = item.items()
        if slide.chapter not in notebooks:
            raise ValueError(f"chapter {slide.chapter!r} has not been run")
        shown = _shown(kind, what, notebooks[slide.chapter])
        fragment = " fragment" if kind == "answer" else ""
        parts.append(f"<div class='{kind}{fragment}'>{shown}</div>")
    if slide.chapter:
        parts.append(f"<p class='from'>{html.escape(slide.chapter)}</p>")
    told = _told(slide.told, notebooks[slide.chapter]) if slide.told else ""
    if slide.notes or told:
        parts.append(f"<aside class='notes'>{markdown(slide.notes)}{told}</aside>")
    return "<section>" + "\n".join(parts) + "</section>"


def _shown(kind: str, what: str, notebook: Notebook) -> str:
    if kind == "predict":
        return markdown(plain(find_predict(notebook, what)))
    if kind == "exercise":
        return markdown(plain(find_exercise(notebook, what)))
    if kind == "equation":
        return markdown(f"$$\n{find_equation(notebook, what)}\n$$")
    cell = find_figure(notebook, what) if kind == "figure" else find_code(notebook, what)
    if kind == "code":
        return _coloured(source(cell))
    outputs = cell.get("outputs", [])
    if kind == "figure" and not outputs:  # a later cell shows it, with the answer to a question
        outputs = [output for each in code(notebook) for output in each.get("outputs", []) if _holds(output, what)]
    said = [text for output in outputs if (text := _output(output, kind))]
    if not said:
        raise ValueError(f"the cell of {what!r} shows nothing: run the chapter first")
    return "\n".join(said)


def _told(text: str, notebook: Notebook) -> str:
    """What the cell that holds *text* said in words, as HTML; tables and figures are left out."""
    datas = [output.get("data", {}) for output in find_code(notebook, text).get("outputs", [])]
    said = [markdown("".join(data["text/markdown"])) for data in datas if "text/markdown" in data]
    if not said:
        raise ValueError(f"the cell of {text!r} says nothing: run the chapter first")
    return "\n".join(said)


def _holds(output: dict[str, Any], name: str) -> bool:
    return f'id="{name}"' in "".join(output.get("data", {}).get("text/html", ""))


def find_code(notebook: Notebook, text: str) -> Cell:
    """The first code cell that holds *text*; raises ValueError where none does."""
    found = next((cell for cell in code(notebook) if text in source(cell)), None)
    if found is None:
        raise ValueError(f"no cell of the chapter holds {text!r}")
    return found


def find_figure(notebook: Notebook, name: str) -> Cell:
    """The cell that draws the figure *name*; raises ValueError where none does."""
    found = [cell for cell in code(notebook) if f'name="{name}"' in source(cell) and "plots.figure(" in source(cell)]
    if not found:
        raise ValueError(f"the chapter has no figure {name!r}")
    return found[0]


def find_predict(notebook: Notebook, text: str) -> str:
    """The first question to predict that holds *text*; raises ValueError where none does."""
    boxes = (match for match in DIRECTIVE.finditer(_prose(notebook)) if match[3].startswith("Predict"))
    found = next((match[0] for match in boxes if text in match[4]), None)
    if found is None:
        raise ValueError(f"no question of the chapter holds {text!r}")
    return found


def find_exercise(notebook: Notebook, label: str) -> str:
    """The exercise with *label*; raises ValueError where there is none."""
    boxes = (match for match in DIRECTIVE.finditer(_prose(notebook)) if match[2] == "exercise")
    found = next((match[0] for match in boxes if f":label: {label}\n" in match[4]), None)
    if found is None:
        raise ValueError(f"the chapter has no exercise {label!r}")
    return found


def find_equation(notebook: Notebook, text: str) -> str:
    """The first displayed equation that holds *text*, without its signs; raises ValueError where none does."""
    found = re.findall(r"^\$\$\n(.*?)\n\$\$", _prose(notebook), re.MULTILINE | re.DOTALL)
    for equation in found:
        if text in equation:
            return str(equation)
    raise ValueError(f"no equation of the chapter holds {text!r}")


def _prose(notebook: Notebook) -> str:
    return "\n".join(source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown")


def _output(output: dict[str, Any], kind: str) -> str:
    """One output of a cell as HTML: of a figure the picture for light ground and its alt text."""
    data = output.get("data", {})
    rich = "".join(data.get("text/html", ""))
    if kind == "figure":
        picture = re.search(r'<img class="bp-light[^>]*>', rich)
        return picture[0] if picture else ""
    if rich:
        return f"<div class='rich'>{rich}</div>"
    if "text/markdown" in data:
        return markdown("".join(data["text/markdown"]))
    text = "".join(data.get("text/plain", "") or output.get("text", ""))
    return f"<pre>{html.escape(text)}</pre>" if text.strip() else ""


def markdown(text: str) -> str:
    r"""Markdown as HTML, formulas left to MathJax; HTML in it is escaped.

    >>> markdown("- $x$ & *y*")
    '<ul>\n<li>\\(x\\) &amp; <em>y</em></li>\n</ul>\n'
    """
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.use(dollarmath_plugin, renderer=_formula)
    parser.add_render_rule("math_inline", lambda self, tokens, at, *_: f"\\({html.escape(tokens[at].content)}\\)")
    parser.add_render_rule("math_block", lambda self, tokens, at, *_: f"<p>\\[{html.escape(tokens[at].content)}\\]</p>")
    return str(parser.render(text))


def _formula(content: str, options: dict[str, Any]) -> str:
    return html.escape(content)


def _coloured(text: str) -> str:
    from pygments import highlight  # type: ignore[import-untyped]
    from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
    from pygments.lexers import PythonLexer  # type: ignore[import-untyped]

    return str(highlight(text, PythonLexer(), HtmlFormatter(noclasses=True, style="default", nobackground=True)))


def executed(names: list[str], folder: Path, run: bool) -> dict[str, Notebook]:
    """The chapters *names* with their outputs, from *folder*, where the book's build leaves them, or run now.

    Raises ValueError where one is missing and `run` is False.
    """
    found = {}
    for name in names:
        path = folder / f"{name}.ipynb"
        if not path.is_file() and not run:
            raise ValueError(f"{str(path)!r} is missing: make book runs every chapter, and --run those of the slides")
        found[name] = read(path) if path.is_file() else _run(name)
    return found


def _run(name: str) -> Notebook:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(BOOK / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(BOOK)}}).execute()
    return dict(notebook)


def _mathjax() -> Path:
    """MathJax in one file, from the package that the book's pages take it from."""
    path = Path(sysconfig.get_paths()["purelib"]) / "sphinx-mathjax-offline/static/mathjax/tex-svg-full.js"
    if not path.is_file():
        raise ValueError("MathJax is missing: pip install sphinx-mathjax-offline would do")
    return path
