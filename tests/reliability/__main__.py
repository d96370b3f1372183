"""Try what can go wrong, and print one table: ``python -m reliability [PART ...]`` with ``tests/`` on the path."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from reliability.outcome import Row

PARTS = (
    "concurrency",
    "kills",
    "kills_of_groups",
    "kills_of_reruns",
    "kills_with_workers",
    "workers",
    "disks",
    "inputs",
    "fuzzing",
    "security",
    "determinism",
    "soak",
)
BEGIN, END = "<!-- table -->", "<!-- end of table -->"


def main() -> int:
    """Run the parts, keep their rows, print the table, and put it into a page where one is given."""
    parser = argparse.ArgumentParser(prog="reliability", description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="the few cases of the test suite")
    parser.add_argument("--rows", type=Path, default=Path("build/reliability.json"), help="where rows are kept")
    parser.add_argument("--page", type=Path, help="page whose table is replaced")
    options = parser.parse_args()
    for name, value in (("OMP_NUM_THREADS", "1"), ("NIPYPE_NO_ET", "1"), ("MPLBACKEND", "Agg")):
        os.environ.setdefault(name, value)
    options.rows.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave by the door, so that no process stays behind
    for part in options.parts:
        found, seconds = _part(part, not options.quick)
        kept = json.loads(options.rows.read_text(encoding="utf-8")) if options.rows.is_file() else {}
        kept[part] = {"rows": [asdict(each) for each in found], "seconds": round(seconds)}
        options.rows.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    kept = json.loads(options.rows.read_text(encoding="utf-8"))
    table = _table([kept[part] for part in PARTS if part in kept])
    print(table)
    if options.page is not None:
        before, _, rest = options.page.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        options.page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
    faults = [fault for each in kept.values() for row in each["rows"] for fault in row["faults"]]
    for fault in faults:
        print("not survived:", fault, file=sys.stderr)
    return 1 if faults else 0


def _part(part: str, full: bool) -> tuple[list[Row], float]:
    module = importlib.import_module(f"reliability.{part}")
    folder = Path(tempfile.mkdtemp(prefix=f"reliability-{part}-"))
    began = time.monotonic()
    try:
        rows: list[Row] = module.rows(folder, full)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return rows, time.monotonic() - began


def _table(parts: Sequence[dict[str, object]]) -> str:
    lines = ["| part | cases | tried | survived | measured |", "|---|---|---|---|---|"]
    for kept in parts:
        rows = kept["rows"]
        assert isinstance(rows, list)
        lines += [f"| {r['part']} | {r['case']} | {r['tried']} | {r['survived']} | {r['measured']} |" for r in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
