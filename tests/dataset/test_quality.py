"""One row per run, atlas and strategy, from the sidecars alone."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from bids_neurossm.dataset.quality import write_quality_table

STEM = "space-MNI152NLin6Asym_atlas-X_scale-2_stat-mean_desc-simple_timeseries"


def save(out_dir: Path, name: str, **facts: Any) -> None:
    folder = out_dir / name.split("_")[0] / "func"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}_{STEM}.tsv").write_text("a\tb\n1\t2\n")
    sidecar = {"InputHash": "x", "Atlas": {"Name": "X2", "NumberOfRegions": 2}, "DenoisingStrategy": "simple"}
    (folder / f"{name}_{STEM}.json").write_text(json.dumps({**sidecar, **facts}))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def test_all_runs_stand_in_one_table_with_their_reasons(tmp_path: Path) -> None:
    reason = {"Reason": "too few volumes", "Detail": "12 volumes are kept, --min-volumes asks for 50"}
    save(tmp_path, "sub-02_task-rest_run-1", MeanFramewiseDisplacement=0.123456789, Exclusion=None, Warnings=["x"])
    save(tmp_path, "sub-01_ses-a_task-rest", MeanFramewiseDisplacement="n/a", NumberOfVolumesKept=12, Exclusion=reason)
    first, second = rows(write_quality_table(tmp_path))
    assert (first["run"], first["participant_id"], first["session_id"]) == ("sub-01_ses-a_task-rest", "sub-01", "a")
    assert (first["excluded"], first["detail"]) == (reason["Reason"], reason["Detail"])
    assert (first["mean_displacement"], first["n_kept"], first["n_warnings"]) == ("n/a", "12", "0")
    assert (second["run_id"], second["session_id"], second["excluded"]) == ("1", "n/a", "n/a")
    assert (second["mean_displacement"], second["n_warnings"]) == ("0.123457", "1")
    assert (second["atlas"], second["n_regions"], second["strategy"]) == ("X2", "2", "simple")
    described = json.loads((tmp_path / "quality.json").read_text())
    assert list(first) == [name for name in first if described[name]["Description"]]
    assert set(described) == set(first)


def test_what_others_wrote_or_write_just_now_is_passed_over(tmp_path: Path) -> None:
    save(tmp_path, "sub-01_task-rest")
    save(tmp_path, "sub-02_task-rest")
    unfinished = next(tmp_path.glob("sub-02/func/*.json"))
    unfinished.unlink()
    xcp_d = tmp_path / "sub-03" / "func" / "sub-03_task-rest_seg-4S_stat-mean_timeseries.json"
    xcp_d.parent.mkdir(parents=True)
    xcp_d.write_text("{}")
    xcp_d.with_suffix(".tsv").write_text("a\n1\n")
    assert [row["run"] for row in rows(write_quality_table(tmp_path))] == ["sub-01_task-rest"]
    unfinished.write_text("{")
    assert [row["run"] for row in rows(write_quality_table(tmp_path))] == ["sub-01_task-rest"]
