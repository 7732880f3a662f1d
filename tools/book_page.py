"""What Sphinx is told beyond its settings: each page's description and share card, and a map of the site.

The one extension of our own, which `_config.yml` loads; it also connects `runs_table`, `cited_in` and
`library_links`. The site's address follows from the repository's, so that a fork's pages name the fork.
"""

from __future__ import annotations

import os
import re
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes

from tools import bibliography_style, cited_in, library_links, runs_table

#: The picture that a shared link shows; `images/` of the book holds it.
CARD = "images/share-card.png"


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


def _of_thebe(file: Any) -> bool:
    text = f"{getattr(file, 'filename', file)} {getattr(file, 'attributes', {}).get('body', '')}"
    return "thebe" in text.lower()


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    bibliography_style.register()
    app.connect("config-inited", set_address)
    app.connect("html-page-context", write_head, priority=900)  # after the theme's own
    app.connect("build-finished", write_map)
    app.connect("autodoc-process-docstring", library_links.read_docstring)
    app.connect("autodoc-process-signature", library_links.write_signature)
    app.connect("doctree-resolved", runs_table.plain_runs)
    app.connect("doctree-resolved", cited_in.tell_where_cited)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
