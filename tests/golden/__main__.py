"""Record the golden runs: ``PYTHONPATH=tests python -m golden``, after a change that is meant to change numbers.

``out_dir.tar.xz`` is not made again: it is what users have on their disks from earlier versions.
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from golden.content import numbers_of
from golden.runs import RUNS

RECORDED = Path(__file__).parent / "recorded.json.gz"


def processor() -> str:
    """Name the model of the processor: another one may round otherwise."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    named = {name.strip(): value.strip() for name, value in facts.items()}
    return " ".join(named.get(name, "") for name in ("model name", "cpu family", "model"))


def record(name: str, data: Path) -> dict[str, Any]:
    """Run one of them in a temporary folder, and return its numbers."""
    with tempfile.TemporaryDirectory(prefix="golden-") as folder:
        return numbers_of(RUNS[name](data, Path(folder)))


def main() -> int:
    """Record all runs."""
    data = Path(os.environ["NEUROSSM_TEST_DATA"]).resolve()
    content = {"processor": processor(), "runs": {name: record(name, data) for name in RUNS}}
    with gzip.GzipFile(RECORDED, "wb", mtime=0) as stream:
        stream.write(json.dumps(content, sort_keys=True).encode())
    print({name: len(numbers) for name, numbers in content["runs"].items()}, RECORDED.stat().st_size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
