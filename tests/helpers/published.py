"""What is in outputs that are meant for publication, packed or not."""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path


def contents(data: bytes) -> Iterator[bytes]:
    """Yield a file's bytes and what is packed in them: gzip, zip, base64 in pages, deflated or not."""
    yield data
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    for found in re.finditer(rb"[A-Za-z0-9+/]{40,}={0,2}", data):
        try:
            packed = base64.b64decode(found[0] + b"=" * (-len(found[0]) % 4))
        except binascii.Error:
            continue
        yield packed
        for bits in (31, 15, -15):
            try:
                yield zlib.decompress(packed, bits)
            except zlib.error:
                continue


def places(out_dir: Path, words: list[str]) -> list[str]:
    """List the outputs outside of logs/ that hold one of the words."""
    return [
        f"{path.relative_to(out_dir)}: {word}"
        for path in sorted(out_dir.rglob("*"))
        if path.is_file() and "logs" not in path.relative_to(out_dir).parts
        for word in words
        if any(word.encode() in each for each in contents(path.read_bytes()))
    ]
