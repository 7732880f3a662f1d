"""What Sphinx is told beyond its settings: each page's description and share card, a map of the site, docstrings.

The one extension of our own; `_config.yml` loads it. The site's address follows from the repository's, so that a fork's
pages name the fork.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from html import escape
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.util.nodes import make_refnode

from tools import bibliography_style
from tools.docstrings import to_rst
from tools.repository import ROOT
from tools.signatures import written

#: The picture that a shared link shows; `images/` of the book holds it.
CARD = "images/share-card.png"
#: Columns of MyST-NB's table of runs that a reader has a use for, by number; that of the method tells the promise.
_RUNS = {0: "page", 1: "ran on", 2: "promised, s", 3: "seconds"}
_LINKS: dict[str, str] = {}
#: {full name of a class: the class}, and the full names of the methods on the pages.
_CLASSES: dict[str, type] = {}
_MEMBERS: list[str] = []


def pages_address(repository: str) -> str:
    """The address at which GitHub serves a repository's pages.

    >>> pages_address("https://github.com/Ada/engine")
    'https://ada.github.io/engine/'
    """
    owner, name = repository.removeprefix("https://github.com/").strip("/").split("/")
    own = name.lower() == f"{owner.lower()}.github.io"
    return f"https://{owner.lower()}.github.io/" + ("" if own else f"{name}/")


def describe(document: nodes.document | None, most: int = 200) -> str:
    """A page's first paragraph of prose, cut at a word: what a search engine and a shared link show."""
    if document is None:
        return ""
    for paragraph in document.findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.section | nodes.document) and len(paragraph.astext()) > 60:
            text = re.sub(r"\s+", " ", paragraph.astext()).strip()
            return text if len(text) <= most else text[:most].rsplit(" ", 1)[0].rstrip(",;:") + " ..."
    return ""


def set_address(app: Any, config: Any) -> None:
    """The base address: BLOCKPRUNE_BASE_URL, else what GitHub Pages serves the repository at."""
    given = os.environ.get("BLOCKPRUNE_BASE_URL")
    config.html_baseurl = given or pages_address(config.html_theme_options["repository_url"])


def write_head(app: Any, page: str, template: str, context: dict[str, Any], document: nodes.document | None) -> None:
    """A page's description and share card; scripts of buttons that the book does not have are left out."""
    context["script_files"] = [file for file in context["script_files"] if not _of_thebe(file)]
    if document is None:
        return
    if not app.env.doc2path(page).endswith(".ipynb"):  # Colab opens notebooks alone
        buttons = [button for button in context.get("header_buttons", []) if button.get("label") != "launch-buttons"]
        context["header_buttons"] = buttons
    told, base = describe(document), app.config.html_baseurl
    title = re.sub(r"<[^>]+>", "", str(context.get("title", "")))
    about = [("property", "og:type", "website" if page == app.config.root_doc else "article"),
             ("property", "og:site_name", app.config.html_title), ("property", "og:title", title),
             ("property", "og:url", f"{base}{page}.html"), ("property", "og:image", f"{base}_images/{Path(CARD).name}"),
             ("property", "og:image:alt", "A weight matrix pruned in blocks, and the title of the book"),
             ("name", "twitter:card", "summary_large_image")]  # fmt: skip
    if told:
        about += [("name", "description", told), ("property", "og:description", told)]
    tags = "\n".join(f'<meta {kind}="{name}" content="{escape(text, quote=True)}" />' for kind, name, text in about)
    context["metatags"] = f"{context.get('metatags', '')}\n{tags}\n"


def write_map(app: Any, error: Exception | None) -> None:
    """The share card, sitemap.xml and robots.txt."""
    if error is not None or app.builder.format != "html":
        return
    out, base = Path(app.outdir), app.config.html_baseurl
    card = Path(app.srcdir) / CARD
    (out / "_images").mkdir(exist_ok=True)
    (out / "_images" / card.name).write_bytes(card.read_bytes())
    pages = "".join(f"<url><loc>{base}{page}.html</loc></url>\n" for page in sorted(app.env.found_docs))
    head = '<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
    (out / "sitemap.xml").write_text(f"{head}{pages}</urlset>\n", encoding="utf-8")
    (out / "robots.txt").write_text(f"User-agent: *\nAllow: /\nSitemap: {base}sitemap.xml\n", encoding="utf-8")


def plain_runs(app: Any, document: nodes.document, page: str) -> None:
    """The table of runs in the book's order: number and title, what was promised, whole seconds, and their sum.

    The day stands in the head where all ran on one. Where a page did not run the build has failed.
    """
    for table in document.findall(nodes.table):
        first, *rows = table.findall(nodes.row)
        if not rows or [entry.astext() for entry in list(first.children)[:2]] != ["Document", "Modified"]:
            continue
        numbers = chapter_numbers()
        names = {id(row): row.children[0].astext() for row in rows}
        days = {row.children[1].astext()[:10] for row in rows}
        total = sum(float(row.children[3].astext()) for row in rows)
        for row in rows:
            name, (link, day, promise, seconds, _) = names[id(row)], row.children
            title = app.env.titles.get(name)
            number = f"{numbers[name]}. " if name in numbers else ""
            _say(link, number + (name if title is None else title.astext()))
            _say(day, day.astext()[:10])
            _say(promise, _promise(Path(app.srcdir) / f"{name}.ipynb"))
            _say(seconds, f"{float(seconds.astext()):.0f}")
        ends = {"index": 0}  # the other pages with code are appendices
        rows.sort(key=lambda row: (numbers | ends).get(names[id(row)], len(numbers) + 1))
        last = rows[-1].deepcopy()
        for entry, text in zip(last.children, ("all", "", "", f"{total:.0f}", ""), strict=True):
            entry.children = [nodes.paragraph("", text)]
        (body,) = table.findall(nodes.tbody)
        body.children = []
        body += [*rows, last]
        for column, heading in _RUNS.items():
            _say(first.children[column], heading)
        kept = [column for column in _RUNS if column != 1 or len(days) > 1]
        if len(days) == 1:
            _say(first.children[3], f"seconds, {days.pop()}")
        for cells in [list(table.findall(nodes.colspec)), *(list(row.children) for row in (first, *rows, last))]:
            for column, cell in enumerate(cells):
                if column not in kept:
                    cell.parent.remove(cell)
        for group in table.findall(nodes.tgroup):
            group["cols"] = len(kept)


def tell_where_cited(app: Any, document: nodes.document, page: str) -> None:
    """Each entry of the bibliography says which pages cite it."""
    entries = [entry for entry in document.findall(nodes.citation) if entry.get("docname") == page]
    if not entries:
        return
    domain, numbers = app.env.get_domain("cite"), chapter_numbers()
    keys = {citation.citation_id: citation.key for citation in domain.citations}
    order = {name: at for at, name in enumerate(["index", *numbers])}
    for entry in entries:
        citing = {ref.docname for ref in domain.citation_refs for target in ref.targets
                  if target.key == keys.get(entry["ids"][0]) and ref.docname != page}  # fmt: skip
        if not citing:
            continue
        told = nodes.inline("", " Cited in ")
        for at, name in enumerate(sorted(citing, key=lambda name: (order.get(name, len(order)), name))):
            title = app.env.titles[name].astext() if name in app.env.titles else name
            text = f"chapter {numbers[name]}" if name in numbers else title
            told += [nodes.Text(", " if at else ""), make_refnode(app.builder, page, name, "", nodes.Text(text), title)]
        told += nodes.Text(".")
        *_, last = entry.findall(nodes.paragraph)
        last += told


def chapter_numbers() -> dict[str, int]:
    """{name: number} of the chapters, as the menu counts them."""
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["parts"]
    names = [one["file"] for part in parts if part.get("numbered") for one in part["chapters"]]
    return {name: number for number, name in enumerate(names, 1)}


def _promise(path: Path) -> str:
    """The seconds that a chapter promises on a laptop; nothing for a page that promises none."""
    if not path.is_file():
        return ""
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    return str(metadata.get("blockprune", {}).get("laptop_seconds", ""))


def _say(entry: nodes.Node, text: str) -> None:
    """Replace the last piece of text in an entry, whose link stays."""
    *_, last = entry.findall(nodes.Text)
    last.parent.replace(last, nodes.Text(text))


def read_docstring(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """A docstring of the library as Sphinx reads it; names of the library link to where they are told."""
    lines[:] = to_rst(lines, links(name, thing))


def links(name: str, thing: Any) -> dict[str, str]:
    """{what a docstring may write: full name} where *thing* is told under *name*.

    A bare word leads to a function or class of the library, or to a method of the same class; what is an argument or
    an attribute there is meant as such. A method of another class is written with its class.
    """
    if not _LINKS:
        _LINKS.update(_names())
    home = name if name in _CLASSES else name.rpartition(".")[0]
    own = _CLASSES.get(home)
    arguments = set(inspect.signature(thing).parameters) if callable(thing) and not isinstance(thing, type) else set()
    arguments |= {word for kind in (own.__mro__ if own else ()) for word in vars(kind).get("__annotations__", {})}
    found = {short: full for short, full in _LINKS.items()
             if short not in arguments and ("." in short or full.rpartition(".")[0] not in _CLASSES)}  # fmt: skip
    mine = {full.rpartition(".")[2]: full for full in _MEMBERS if own and full.rpartition(".")[0] == home}
    return found | {short: full for short, full in mine.items() if short not in arguments}


def write_signature(
    app: Any, what: str, name: str, thing: Any, options: Any, given: str | None, returned: str | None
) -> tuple[str, str | None] | None:
    """The signature as it is written in the library."""
    if what not in ("class", "function", "method") or (found := written(thing, what == "method")) is None:
        return None
    return found[0], found[1] or None


def _names() -> dict[str, str]:
    """{short name: full name} of what the library's page tells, where only one has it."""
    from tools import api

    found: dict[str, list[str]] = {}
    for full, thing in api.things():
        if isinstance(thing, type):
            _CLASSES[full] = thing
        elif full.rpartition(".")[0] in _CLASSES:
            _MEMBERS.append(full)
        path = full.removeprefix("blockprune_lib.").split(".")
        for short in {path[-1], ".".join(path[-2:]), ".".join(path)}:
            found.setdefault(short, []).append(full)
    return {short: names[0] for short, names in found.items() if len(names) == 1}


def _of_thebe(file: Any) -> bool:
    text = f"{getattr(file, 'filename', file)} {getattr(file, 'attributes', {}).get('body', '')}"
    return "thebe" in text.lower()


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    bibliography_style.register()
    app.connect("config-inited", set_address)
    app.connect("html-page-context", write_head, priority=900)  # after the theme's own
    app.connect("build-finished", write_map)
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("autodoc-process-signature", write_signature)
    app.connect("doctree-resolved", plain_runs)
    app.connect("doctree-resolved", tell_where_cited)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
