"""Help that fits the terminal: what is wider than it is folded, with its indentation kept.

A description is written for a wide terminal: paragraphs, and between them indented lines, `  term    what it means`,
whose meaning may go on in lines that are indented further. Where all of it fits, it is shown as it was written.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterator

#: How much further what belongs to a line is indented than the line.
_DEEPER = 4
_COMMANDS = ("blockprune ", "torchrun ")
#: Stands for a blank that no line may be folded at.
_HELD = "\0"


class NarrowHelp(argparse.RawDescriptionHelpFormatter):
    """argparse's help, no line of which is wider than the terminal unless one word is."""

    def format_help(self) -> str:
        """The help, its usage folded too: argparse keeps an option in one line whatever its length."""
        lines = super().format_help().splitlines()
        return "".join(f"{part}\n" for line in lines for part in folded(line, self._width))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in narrowed(text, width - len(indent)))


def narrowed(text: str, width: int) -> list[str]:
    """The lines of a description, folded where one of them is wider than `width`.

    >>> narrowed("Read and\\nprint.\\n\\n  --plot FILE    draw it", 16)
    ['Read and print.', '', '  --plot FILE', '      draw it']
    """
    lines = text.splitlines()
    if all(len(line) <= width for line in lines):
        return lines
    return [part for piece in _pieces(lines) for part in _fitted(piece, width)]


def folded(line: str, width: int, deeper: int = 0, more: str = "") -> list[str]:
    """A line as several of at most `width` characters, the later ones indented `deeper`; `more` ends all but the last.

    >>> folded("  blockprune data rte mrpc", 20, 2, more=" \\\\")
    ['  blockprune data \\\\', '    rte mrpc']
    """
    if len(line) <= width:
        return [line]
    later = " " * (len(line) - len(line.lstrip()) + deeper)
    whole = re.sub(r'"[^"]*"', lambda found: found[0].replace(" ", _HELD), line)  # what is quoted stays together
    fold = textwrap.TextWrapper(
        width - len(more), subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )
    lines = fold.wrap(whole)
    return [f"{part.replace(_HELD, ' ')}{more if n < len(lines) else ''}" for n, part in enumerate(lines, 1)]


def _pieces(lines: list[str]) -> Iterator[str]:
    """Paragraphs, blank lines, and indented lines, each joined with what goes on from it in the next lines."""
    piece: str | None = None
    for line in lines:
        deep = len(line) - len(line.lstrip())
        goes_on = piece is not None and line and (deep > _DEEPER if piece.startswith(" ") else deep == 0)
        if goes_on:
            piece = f"{piece} {line.strip()}"
            continue
        if piece is not None:
            yield piece
        piece = line or None
        if not line:
            yield ""
    if piece is not None:
        yield piece


def _fitted(piece: str, width: int) -> list[str]:
    """A piece in lines of at most `width`: of a term and its meaning, the meaning below the term."""
    if len(piece) <= width:
        return [piece]
    if not piece.startswith(" "):
        return folded(piece, width)
    term, *meaning = re.split(r" {2,}", piece.strip(), maxsplit=1)
    indent = " " * (len(piece) - len(piece.lstrip()))
    command = term.startswith(_COMMANDS)  # a reader copies it
    lines = folded(indent + term, width, _DEEPER - 2, " \\" if command else "")
    return lines + [line for part in meaning for line in folded(indent + " " * _DEEPER + part, width)]
