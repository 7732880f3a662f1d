"""Keep the repository's address in one place, and point everything that repeats it at another with `--slug owner/name`.

The one place is `[project.urls] Repository` in pyproject.toml. Badges, install cells, links and the book's buttons
repeat it because their formats have no variables; `--check` fails where one of them disagrees.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

from blockprune_lib._common.files import write_whole

ROOT = Path(__file__).resolve().parent.parent
SLUG = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?/[A-Za-z0-9._-]{1,100}")
#: Files that must carry the address, and what of it each must hold.
REQUIRED = {
    "README.md": [
        "https://github.com/{slug}",
        "https://{owner}.github.io/{name}",
        "colab.research.google.com/github/{slug}",
    ],
    "_config.yml": ["https://github.com/{slug}"],
    "CITATION.cff": ["https://github.com/{slug}"],
    "CONTRIBUTING.md": ["https://github.com/{slug}"],
}
NOTEBOOK = ['book = \\"https://github.com/{slug}\\"']


def current_slug(root: Path) -> str:
    """Return "owner/name" as pyproject.toml has it."""
    urls = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    return str(urls["Repository"]).removeprefix("https://github.com/").rstrip("/")


def carriers(root: Path) -> list[Path]:
    """Return the files in which the address may stand."""
    chapters = [*sorted((root / "book").glob("*.ipynb")), *sorted((root / "book").glob("*.md"))]
    return [root / "pyproject.toml", *(root / name for name in REQUIRED), *chapters]


def addresses(slug: str) -> list[str]:
    """Return the forms that an address takes: the repository, its Colab view, and its Pages site.

    >>> addresses("ada/engine")
    ['github.com/ada/engine', 'colab.research.google.com/github/ada/engine', 'https://ada.github.io/engine']
    """
    owner, name = slug.split("/")
    return [
        f"github.com/{slug}",
        f"colab.research.google.com/github/{slug}",
        f"https://{owner.lower()}.github.io/{name}",
    ]


def repoint(root: Path, slug: str) -> list[Path]:
    """Write *slug* in place of the present one everywhere; return the files that changed."""
    if not SLUG.fullmatch(slug) or slug.endswith((".git", "/.", "/..")):
        raise ValueError(f"slug must be owner/name as GitHub spells it; got {slug!r}: SLUG=ada/engine would do")
    old = current_slug(root)
    changed: dict[Path, str] = {}
    for path in carriers(root):
        before = path.read_text(encoding="utf-8")
        after = before
        for have, want in zip(addresses(old), addresses(slug), strict=True):
            after = re.sub(re.escape(have) + r"(?![\w-])(?!\.\w)", want, after)
        if after != before:
            changed[path] = after
    for path, text in changed.items():
        write_whole(path, text.encode())
    return list(changed)


def disagreements(root: Path) -> list[str]:
    """Return a sentence for each file that lacks the address it must carry."""
    slug = current_slug(root)
    owner, name = slug.split("/")
    wanted = {root / file: forms for file, forms in REQUIRED.items()}
    wanted |= {path: NOTEBOOK for path in sorted((root / "book").glob("*.ipynb"))}
    problems = []
    for path, forms in wanted.items():
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for form in forms:
            address = form.format(slug=slug, owner=owner.lower(), name=name)
            if address not in text:
                problems.append(f"{path.relative_to(root)} does not mention {address}; run make repo SLUG={slug}")
    return problems


def main(arguments: list[str] | None = None) -> int:
    """Re-point or check; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--slug", help="owner/name of the repository to point at")
    what.add_argument("--check", action="store_true", help="fail where a file disagrees with pyproject.toml")
    options = parser.parse_args(arguments)
    if options.check:
        problems = disagreements(ROOT)
        print("\n".join(problems) or f"Every link points at {current_slug(ROOT)}.")
        return bool(problems)
    try:
        changed = repoint(ROOT, options.slug)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(changed)} files now point at {options.slug}: {', '.join(str(p.relative_to(ROOT)) for p in changed)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
