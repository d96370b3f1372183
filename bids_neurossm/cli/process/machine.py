"""How many cores and how much memory this process may use: the machine's, or less where a control group says so."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cores_seen(cgroup: Path = _CGROUP) -> tuple[float, int]:
    """Count processor cores.

    Parameters
    ----------
    cgroup : Path
        Root of the control groups, version 2 or 1.

    Returns
    -------
    usable : float
        By affinity and by quota.
    of_machine : int
        All of them.
    """
    usable = float(len(os.sched_getaffinity(0)))
    quota, period = _words(cgroup / "cpu.max", 2) or (
        *(_words(cgroup / "cpu" / "cpu.cfs_quota_us", 1) or ("max",)),
        *(_words(cgroup / "cpu" / "cpu.cfs_period_us", 1) or ("100000",)),
    )
    if quota.isdigit() and period.isdigit() and int(period):
        usable = min(usable, int(quota) / int(period))
    return usable, os.cpu_count() or 1


def memory_seen(cgroup: Path = _CGROUP) -> tuple[int, str]:
    """Find the memory in bytes that this process may use, and who limits it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in (cgroup / "memory.max", cgroup / "memory" / "memory.limit_in_bytes"):
        words = _words(path, 1)
        if words and words[0].isdigit() and int(words[0]) < total:
            return int(words[0]), f"limited by {path}"
    return total, "the machine's"


def _words(path: Path, count: int) -> tuple[str, ...] | None:
    """Read the words of a small file; None where it is not there."""
    try:
        words = tuple(path.read_text(encoding="ascii").split())
    except (OSError, UnicodeDecodeError):
        return None
    return words if len(words) == count else None
