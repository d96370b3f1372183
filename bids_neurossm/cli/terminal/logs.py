"""The folder of one command under ``logs/``: its settings, its events, its crashes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bids_neurossm.cli.process.environment import check_writable
from bids_neurossm.cli.terminal.console import Console
from bids_neurossm.config import RunConfig
from bids_neurossm.files.toml_files import to_plain
from bids_neurossm.files.write import write_text
from bids_neurossm.interfaces.records import Record


def begin(config: RunConfig) -> tuple[Console, Path]:
    """Start writing: test the output folder, name a log folder, write the settings there, open the console.

    Raises
    ------
    OutputNotWritableError
        If OUT_DIR can not be written.
    """
    check_writable(config.out_dir, "output folder", "give another OUT_DIR")
    folder = _new_log_folder(config)
    return Console(config.execution.log_format, folder / "run.jsonl"), folder


def _new_log_folder(config: RunConfig) -> Path:
    import tomli_w

    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = config.out_dir / "logs" / f"{stamp}_{config.level}_{uuid.uuid4().hex[:8]}"
    write_text(folder / "config.toml", tomli_w.dumps(to_plain(config)))
    return folder


def write_crashes(folder: Path, records: Sequence[Record]) -> None:
    """Keep the tracebacks of what no user could have caused."""
    for record in records:
        if record.details:
            name = re.sub(r"[^0-9A-Za-z_.-]", "_", record.unit)
            write_text(folder / f"crash-{name}.txt", f"{record.unit}: {record.step}\n\n{record.details}")
