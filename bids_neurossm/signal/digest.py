"""The hash of a file, taken while something else reads it: a file of gigabytes is then read once, not twice."""

from __future__ import annotations

import hashlib
import io
import queue
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Pieces that may wait to be hashed. A reader that is faster has to wait: memory stays small.
_MOST_WAITING = 8

_PIECE_BYTES = 1 << 20


class FileDigest:
    """The SHA-256 of a file as it was when it was read.

    Parameters
    ----------
    value : str or None
        Hexadecimal; None until the file has been read to its end without an error.
    """

    def __init__(self) -> None:
        self.value: str | None = None

    @contextmanager
    def reading(self, path: Path) -> Generator[io.RawIOBase, None, None]:
        """Open a file for reading from its beginning on; what the reader leaves unread is hashed at a clean end."""
        stream = _HashedFile(path)
        try:
            yield stream
            self.value = stream.digest()
        finally:
            stream.close()


class _HashedFile(io.RawIOBase):
    """A file that can only be read in order, with a thread that hashes what was read.

    hashlib lets go of the interpreter's lock, so inflating and hashing share two cores.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._hash = hashlib.sha256()
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_MOST_WAITING)
        # A daemon, so that a file that nobody closes can not keep the interpreter alive.
        self._thread = threading.Thread(target=self._update, name="digest", daemon=True)
        self._thread.start()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        view = memoryview(buffer).cast("B")
        count = self._file.readinto(view)
        if count:
            self._pieces.put(bytes(view[:count]))  # the reader will use its buffer again
        return count

    def digest(self) -> str:
        """Read to the end and give the hash."""
        while piece := self._file.read(_PIECE_BYTES):
            self._pieces.put(piece)
        self._end()
        return self._hash.hexdigest()

    def close(self) -> None:
        """Close the file and end the thread."""
        if not self.closed:
            self._end()
            self._file.close()
        super().close()

    def _end(self) -> None:
        if self._thread.is_alive():
            self._pieces.put(None)
            self._thread.join()

    def _update(self) -> None:
        while (piece := self._pieces.get()) is not None:
            self._hash.update(piece)
