"""Files that many jobs add to, and that lose nothing, without a lock.

A job that read such a file, added its line and wrote the file back could undo what another job added in between. So
each job leaves its entries as small files of their own first, and then writes the common file from all entries that
there are. It looks again afterwards, and writes once more where entries have come in the meantime: the last one to
write looked after everybody's entries were there. Renames and hard links are all that is asked of the file system,
so NFS will do, and a job that is killed leaves no lock behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from bids_neurossm.errors import RunError
from bids_neurossm.files.json_files import read_json
from bids_neurossm.files.write import encoded, write_json, write_text

#: As many looks as there could ever be jobs that begin during one: a folder that never comes to rest is not waited for.
_MOST_LOOKS = 1000


def write_shared(path: Path, folder: Path, mine: Mapping[str, str], render: Callable[[Mapping[str, str]], str]) -> None:
    """Add entries to a file that other jobs add to at the same time.

    Parameters
    ----------
    path : Path
        The common file. It is left alone where it already says the same.
    folder : Path
        Where the entries of all jobs lie, one small file for each name.
    mine : mapping of str to str
        What this job adds. A name that is known takes the new value.
    render : callable
        Makes the text of the common file from all entries.

    Raises
    ------
    OutputNotWritableError
        If a file can not be written.
    """
    for name, value in mine.items():
        entry = folder / f"{name}.json"
        if _entry(entry) != value:
            write_json(entry, value)
    told: dict[str, str] | None = None
    for _ in range(_MOST_LOOKS):
        entries = _entries(folder)
        if entries == told:
            return
        told = entries
        text = render({**told, **mine})
        if not path.is_file() or path.read_bytes() != encoded(text):
            write_text(path, text)


def _entries(folder: Path) -> dict[str, str]:
    found = {path.stem: _entry(path) for path in sorted(folder.glob("[!.]*.json"))}
    return {name: value for name, value in found.items() if value is not None}


def _entry(path: Path) -> str | None:
    """Read an entry; one that is not there, or that somebody has damaged, is none."""
    try:
        value = read_json(path, RunError)
    except RunError:
        return None
    return value if isinstance(value, str) else None
