"""The folder of one command under ``logs/``: its settings, its events, its crashes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bids_neurossm.config import RunConfig, to_plain
from bids_neurossm.dataset.write import write_text
from bids_neurossm.interfaces.base import Record


def new_log_folder(config: RunConfig) -> Path:
    """Name a folder for a command, and write its settings there."""
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
