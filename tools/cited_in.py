"""The way back from the bibliography: which pages cite a work."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.util.nodes import make_refnode

from tools.runs_table import chapter_numbers


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
