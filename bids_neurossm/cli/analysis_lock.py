"""One command at a time per analysis; the cells of a job array run side by side.

A lock is a small file under ``logs/analyses/<analysis>``: renames and hard links are all that it asks of a file system,
so NFS will do. It says which process holds it. That of a dead process of this machine is taken over at once. Of another
machine or container only the heartbeat is seen, a touch every few seconds: a lock without one is taken over.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.write import json_text, replacing, write_json

#: Seconds between two touches of a lock, and how many may be missed.
_BEAT, _BEATS_MISSED = 5.0, 9

_WHOLE = "group.lock"


def analysis_folder(out_dir: Path, analysis: str) -> Path:
    """Return the folder that keeps what concerns the commands of an analysis, and is no result."""
    return out_dir / "logs" / "analyses" / analysis


@contextlib.contextmanager
def analysis_lock(out_dir: Path, analysis: str, cell: bool = False) -> Iterator[None]:
    """Hold the lock of an analysis.

    Parameters
    ----------
    out_dir : Path
        The output dataset.
    analysis : str
        Its identifier.
    cell : bool
        Whether the command makes one cell: cells keep out commands that make the whole analysis, not each other.

    Raises
    ------
    UsageError
        If another command is making the analysis.
    OutputNotWritableError
        If the lock cannot be written.
    """
    folder = analysis_folder(out_dir, analysis)
    mine = folder / (f"cell-{uuid.uuid4().hex}.lock" if cell else _WHOLE)
    said = {**_this_process(), "started": datetime.now(UTC).isoformat(timespec="seconds"), "key": uuid.uuid4().hex}
    # Written first, looked around afterwards: of two commands that start together, one at least sees the other.
    if cell:
        write_json(mine, said)
    else:
        _take(mine, said, analysis)
    ended = threading.Event()
    threading.Thread(target=_beat, args=(mine, ended), name="analysis-lock", daemon=True).start()
    try:
        for other in folder.glob(_WHOLE if cell else "cell-*.lock"):
            holder = _living(other)
            if holder is not None:
                raise _refusal(analysis, holder)
            if not cell:
                other.unlink(missing_ok=True)
        yield
    finally:
        ended.set()
        with contextlib.suppress(OSError):
            if _read(mine) == said:
                mine.unlink()


def _take(path: Path, said: dict[str, Any], analysis: str) -> None:
    """Create the lock of the whole analysis, if need be in place of one whose command is dead."""
    for _ in range(3):
        with replacing(path, first=True) as temporary:
            temporary.write_text(json_text(said), encoding="utf-8")
        found = _read(path)
        if found == said:
            return
        holder = _living(path)
        if holder is not None:
            raise _refusal(analysis, holder)
        _remove_dead(path, found)
    raise _refusal(analysis, {"host": "an unknown machine"})


def _remove_dead(path: Path, dead: dict[str, Any] | None) -> None:
    """Remove a lock that was found dead, and not the one that another command has put in its place since."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if _read(aside) != dead:
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(_BEAT):
        with contextlib.suppress(OSError):
            os.utime(path)


def _refusal(analysis: str, holder: dict[str, Any]) -> UsageError:
    who = f"process {holder.get('pid')} on {holder.get('host')}, since {holder.get('started')}"
    return UsageError(
        f"Another command is making the analysis {analysis} ({who}): wait until it has ended, or give another "
        "--analysis-id."
    )


def _living(path: Path) -> dict[str, Any] | None:
    """Return what a lock says of its holder, or None if that is dead or the lock is gone."""
    holder = _read(path)
    if holder is None:
        return None
    here = _this_process()
    if (holder.get("host"), holder.get("processes")) == (here["host"], here["processes"]):
        return holder if holder.get("born") == _born(holder.get("pid")) else None
    return holder if _is_touched(path) else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return read_json_object(path, RunError)
    except RunError:
        return None


def _is_touched(path: Path) -> bool:
    """Watch for a heartbeat; no clock is read but that of the file system."""
    first = _touched_at(path)
    for _ in range(_BEATS_MISSED * 10):
        time.sleep(_BEAT / 10)
        if _touched_at(path) != first:
            return path.exists()  # else it was released
    return False


def _touched_at(path: Path) -> int:
    try:
        with path.open("rb") as stream:  # NFS asks the server when a file is opened
            return os.fstat(stream.fileno()).st_mtime_ns
    except OSError:
        return 0


def _this_process() -> dict[str, Any]:
    """Say who this is; ``processes`` names the boot and the namespace in which a process number means something."""
    boot, namespace = "", ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = str(Path("/proc/self/ns/pid").readlink())
    pid = os.getpid()
    return {"pid": pid, "host": platform.node(), "processes": f"{boot} {namespace}", "born": _born(pid)}


def _born(pid: Any) -> str:
    """When a process started, in ticks since boot; empty where it does not run any more."""
    try:
        # After the name, in parentheses, that may hold anything: the state is field 3, the start field 22.
        fields = Path(f"/proc/{int(pid)}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except FileNotFoundError:
        return "" if Path("/proc/self").exists() else _runs(int(pid))
    except (OSError, ValueError, TypeError):
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def _runs(pid: int) -> str:
    """Without /proc: whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass  # there is one, and another user's: it may not be signalled, but it runs
    return "runs"
