"""Which sources a methods text owes its methods to, and how they are written down.

The sources are data (``data/report/references.toml``): each names the words that call for it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_FILE = Path(__file__).resolve().parents[1] / "data" / "report" / "references.toml"
_FIELDS = ("author", "title", "journal", "booktitle", "year", "volume", "number", "pages", "doi", "url", "note")


@dataclass(frozen=True)
class Reference:
    """One source.

    Parameters
    ----------
    key, kind : str
        BibTeX key and type.
    fields : dict of str to str
        As BibTeX wants them.
    words : tuple of str
        What calls for it, compared without regard to case.
    """

    key: str
    kind: str
    fields: dict[str, str]
    words: tuple[str, ...]

    def bibtex(self) -> str:
        """Return the BibTeX entry."""
        lines = [f"  {name} = {{{self.fields[name]}}}" for name in _FIELDS if name in self.fields]
        return f"@{self.kind}{{{self.key},\n" + ",\n".join(lines) + "\n}\n"

    def text(self) -> str:
        """Return the source as a reference list has it."""
        get = {name: _plain(value) for name, value in self.fields.items()}
        authors = [part.strip() for part in get["author"].split(" and ")]
        names = ", ".join("et al." if name == "others" else _initials(name) for name in authors[:4])
        names += ", et al." if len(authors) > 4 and "et al." not in names else ""
        place = get.get("journal") or get.get("booktitle") or ""
        volume = " ".join(part for part in (place, get.get("volume", "")) if part)
        where = ", ".join(part for part in (volume, get.get("pages", "").replace("--", "–")) if part)
        link = f"https://doi.org/{get['doi']}" if "doi" in get else get.get("url", "")
        parts = [f"{names} ({get['year']})", get["title"], where, get.get("note", ""), link]
        return ". ".join(part.rstrip(".") for part in parts if part) + ("" if link else ".")


def _plain(text: str) -> str:
    return re.sub(r"[{}]", "", text)


def _initials(name: str) -> str:
    """Shorten first names: ``Gu, Albert`` becomes ``Gu A``."""
    family, _, given = name.partition(", ")
    return f"{family} {''.join(part[0] for part in given.split())}" if given else family


@lru_cache(maxsize=1)
def references() -> tuple[Reference, ...]:
    """Return all sources that are known, in the order of the file."""
    content = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return tuple(
        Reference(
            key,
            str(entry["type"]),
            {name: str(entry[name]) for name in _FIELDS if name in entry},
            tuple(str(word) for word in entry["words"]),
        )
        for key, entry in content.items()
    )


def cited_in(text: str) -> list[Reference]:
    """Return the sources that a text calls for, in the order of the file.

    Parameters
    ----------
    text : str
        Any words: a methods section, names of software.
    """
    low = text.lower()
    return [each for each in references() if any(word.lower() in low for word in each.words)]


def bibtex(sources: Iterable[Reference]) -> str:
    """Return a BibTeX file."""
    return "\n".join(source.bibtex() for source in sources)
