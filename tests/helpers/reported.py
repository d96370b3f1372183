"""What the tests of the reports have in common."""

from __future__ import annotations

import base64
import gzip
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

VOID = {"meta", "img", "br", "hr", "link", "input"}
HOSTILE = "<script>alert('x')</script>"
CLASSES = ["gambling", "language", "motor"]
FAILURES = [
    {
        "run": "sub-01_task-nback",
        "step": "parcel_means",
        "message": f"{HOSTILE} ends early.",
        "remedy": "Copy the file again.",
    }
]


def unpacked(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(gzip.decompress(base64.b64decode(text)), dtype=dtype)


class Page(HTMLParser):
    """What a browser would make of a page: tags, headings, pictures with captions, addresses, visible text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.tags: list[str] = []
        self.open: list[str] = []
        self.headings: list[int] = []
        self.images: list[dict[str, str | None]] = []
        self.captions: list[str] = []
        self.identifiers: list[str] = []
        self.addresses: list[str] = []
        self.scripts: list[str] = []
        self.kinds: list[str | None] = []
        self.text = ""
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "script":
            self.kinds.append(values.get("type"))
        if tag == "img":
            self.images.append(values)
        if tag == "figcaption":
            self.captions.append("")
        if values.get("id"):
            self.identifiers.append(str(values["id"]))
        self.addresses += [str(values[name]) for name in ("src", "href", "action", "srcset") if values.get(name)]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif "style" not in self.open:
            self.text += data
        if "figcaption" in self.open:
            self.captions[-1] += data
