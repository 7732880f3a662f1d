"""The library's docstrings as reStructuredText, which Sphinx reads: names in code, lists of arguments as lists."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping

_CODE = re.compile(r"`([^`]+)`(?=(\w?))")
_ROW = re.compile(r"(\S(?:.*?\S)?) {2,}(\S.*)")
_TEXT = re.compile(r"""(?<![\w"=])(\w+=)?"[^"`]*"(?![\w"])""")


def to_rst(lines: Iterable[str], links: Mapping[str, str] | None = None) -> list[str]:
    """The lines of a docstring for Sphinx; `links` gives the full names of what may be linked.

    `code` becomes code or a link, text in double quotes code, so that no quote of it is curled, lines such as
    "bias   (M,) or None" a list of terms, and a block that is set in an example; examples stay as they are.

    >>> to_rst(["Of `x`.", "", "bias   (M,) or None", "       for none"])
    ['Of ``x``.', '', '``bias``', '   (M,) or None', '   for none']
    """
    found: list[str] = []
    for block in _blocks(lines):
        if found:
            found.append("")
        straight = textwrap.dedent("\n".join(block)).splitlines()
        if block[0].startswith(">>>"):
            found += block
        elif rows := _table(straight):
            for name, text in rows:
                term = ", ".join(f"``{part}``" for part in re.split(r",\s*", name))
                found += [term, *(f"   {_plain(line, links)}" for line in text)]
        elif straight[0] != block[0]:
            found += [".. code-block:: python", "", *(f"   {line}" for line in straight)]
        else:
            found += [_plain(line, links) for line in block]
    return found


def _blocks(lines: Iterable[str]) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            blocks[-1].append(line.rstrip())
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _table(block: list[str]) -> list[tuple[str, list[str]]]:
    """(name, its lines) of a block that is a table; empty where it is none."""
    rows: list[tuple[str, list[str]]] = []
    for line in block:
        if line.startswith("  ") and rows:
            rows[-1][1].append(line.strip())
        elif match := _ROW.fullmatch(line):
            rows.append((match[1], [match[2]]))
        else:
            return []
    return rows


def _plain(line: str, links: Mapping[str, str] | None) -> str:
    """A line of prose: its code marked, and nothing else that Sphinx would take for markup."""
    parts, at = [], 0
    for match in _CODE.finditer(line):
        name = match[1].removeprefix("bp.")
        full = (links or {}).get(name)
        code = f":py:obj:`{match[1]} <{full}>`" if full else f"``{match[1]}``"
        parts += [_quoted(line[at : match.start()]), code + ("\\ " if match[2] else "")]
        at = match.end()
    return "".join([*parts, _quoted(line[at:])])


def _quoted(text: str) -> str:
    """Prose with each "text" of the language as code."""
    parts, at = [], 0
    for match in _TEXT.finditer(text):
        parts += [_escaped(text[at : match.start()]), f"``{match[0]}``"]
        at = match.end()
    return "".join([*parts, _escaped(text[at:])])


def _escaped(text: str) -> str:
    """Without what Sphinx would take for markup; *emphasis* stays."""
    return re.sub(r"(\*\w[^*]*\*)|([*|]|(?<=\w)_(?!\w))", lambda found: found[1] or f"\\{found[2]}", text)
