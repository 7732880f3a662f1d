"""Pack the built book into one zip whose pages open as files: no server, no network.

`python -m tools.offline` writes _build/pruned-and-faster.zip; unpack it and open index.html.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

HTML = Path(__file__).resolve().parent.parent / "_build" / "html"
NAME = "pruned-and-faster"
#: What a reader without a server has no use for.
LEFT_OUT = (".buildinfo", ".doctrees", "robots.txt", "sitemap.xml", "objects.inv", f"{NAME}.zip")


def pack(html: Path, target: Path) -> int:
    """Write the files of `html` into the zip `target`, under one folder; returns how many.

    Times in it are fixed, so that the same pages give the same bytes. Raises FileNotFoundError where no book is
    built, OSError where `target` cannot be written; a zip that stood there stays, and nothing is left beside it.
    """
    if not (html / "index.html").exists():
        raise FileNotFoundError(f"there is no book in {html}; run make book")
    files = [path for path in sorted(html.rglob("*")) if path.is_file()]
    kept = [path for path in files if path.relative_to(html).parts[0] not in LEFT_OUT and path.suffix != ".map"]
    partial = target.with_suffix(".zip.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for path in kept:
                entry = zipfile.ZipInfo(f"{NAME}/{path.relative_to(html).as_posix()}", (2020, 1, 1, 0, 0, 0))
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                content = path.read_bytes()
                if path.name == "documentation_options.js":  # a page that is a file may not read another one
                    content = content.replace(b"SHOW_SEARCH_SUMMARY: true", b"SHOW_SEARCH_SUMMARY: false")
                archive.writestr(entry, content)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return len(kept)


def main() -> int:
    """Pack; return the exit status."""
    target = HTML.parent / f"{NAME}.zip"
    try:
        number = pack(HTML, target)
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{target}: {number} files, {target.stat().st_size / 1e6:.1f} MB; unpack it and open {NAME}/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
