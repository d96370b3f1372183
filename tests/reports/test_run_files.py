"""Files of runs are found, and failures of the past."""

from __future__ import annotations

import json
from pathlib import Path

from bids_neurossm.reports.run_files import find_runs, past_failures


def test_runs_that_failed_earlier_are_found_in_the_logs_until_they_have_series(tmp_path: Path) -> None:
    unit = "sub-01_task-nback_space-S"
    events = [
        {"event": "error", "unit": unit, "step": "parcels", "message": f"failed: {unit}: it ends early."},
        {"event": "error", "unit": "sub-012_task-nback_space-S", "step": "parcels", "message": "of another"},
    ]
    for day in ("1", "2"):
        log = tmp_path / "logs" / f"2026110{day}T000000Z_participant_ab" / "run.jsonl"
        log.parent.mkdir(parents=True)
        log.write_text("\n".join(json.dumps(event) for event in events) + '\n{"event": "error", "unit": "sub-01_')
    assert past_failures(tmp_path, "01", []) == [{"run": unit, "step": "parcels", "message": "it ends early."}]
    folder = tmp_path / "sub-01" / "func"
    folder.mkdir(parents=True)
    (folder / f"{unit}_atlas-A_stat-mean_desc-simple_timeseries.tsv").write_text("a\n1\n")
    assert past_failures(tmp_path, "01", find_runs(tmp_path, "01")) == []
