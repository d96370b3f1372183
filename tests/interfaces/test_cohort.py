"""Which runs become a cohort: real ones of unequal length with dead regions; and why others are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.analysis.cells import Analysis
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Attribution, Evaluation, Execution, ModelSpec, Reference, Training
from bids_neurossm.dataset.outputs import GroupOutputs
from bids_neurossm.errors import LabelError
from bids_neurossm.files.hashing import hash_file
from bids_neurossm.interfaces.cohort import BuildCohort, Shortest
from bids_neurossm.interfaces.records import read_records

REGIONS = [f"7Networks_LH_Vis_{index}" for index in range(100)]
NEWER = [f"7Networks_LH_Vis_New_{index}" for index in range(100)]


def write(path: Path, values: np.ndarray, names: list[str] = REGIONS) -> Path:
    pd.DataFrame(values, columns=names).to_csv(path, sep="\t", index=False, na_rep="n/a")
    return path


@pytest.fixture
def build(tmp_path: Path) -> Any:
    """Build a cohort of named tables; gives it with what was left out and what failed."""

    def run(
        tables: dict[str, Path], regions: list[str] = REGIONS, hashes: dict[str, str] | None = None
    ) -> tuple[Cohort, dict[str, str], list[str]]:
        analysis = Analysis(
            GroupOutputs(tmp_path / "out", "x", {}),
            "participant",
            *(ModelSpec(), (), Training(), Evaluation(), Execution(), Attribution(), Reference()),
        )
        rows = [
            {
                **{"run": name, "participant_id": name, "label": "ab"[index % 2], "repetition_time": 2.0},
                **{"path": str(path), "sha256": (hashes or {}).get(name, "")},
            }
            for index, (name, path) in enumerate(tables.items())
        ]
        node = BuildCohort(
            analysis=analysis,
            runs=rows,
            regions=regions,
            networks=["n/a"] * len(regions),
            target_type="class",
            shortest=Shortest(40, "volumes"),
            max_uncovered=0.2,
            unit="cohort",
            records=str(tmp_path / "records"),
        )
        found = node.run(cwd=str(tmp_path)).outputs.cohort
        table = pd.read_csv(tmp_path / "out" / "group" / "x" / "exclusions.tsv", sep="\t")
        failed = [record.unit for record in read_records(tmp_path / "records")]
        return Cohort.open(found), dict(zip(table["run"], table["reason"], strict=True)), failed

    return run


def test_real_runs_of_unequal_length_with_constant_regions(build: Any, shared_data: Path, tmp_path: Path) -> None:
    """A constant region stays where it is; a run in which too many are dead is left out."""
    tables, dead, lengths = {}, {}, {}
    for site in ("CALTECH", "OHSU"):
        with np.load(shared_data / "abide" / f"cc200_filtglobal_site-{site}.npz") as stored:
            for name in stored.files[:12]:
                values = stored[name].astype(np.float64)[:, :100]
                label = name.replace("_", "")
                tables[label] = write(tmp_path / f"{label}.tsv", values)
                dead[label], lengths[label] = np.ptp(values, axis=0) == 0, len(values)
    lost = next(iter(tables))
    values = np.random.default_rng(0).normal(size=(80, 100))
    values[:, :21] = 3.0
    write(tables[lost], values)
    cohort, excluded, failed = build(tables)
    assert excluded == {lost: "too many regions without signal"}
    assert failed == []
    assert len(set(lengths.values())) > 1
    some = 0
    for index, row in cohort.runs.iterrows():
        series = np.asarray(cohort.raw(index))
        assert series.shape == (lengths[row["run"]], 100)
        np.testing.assert_array_equal(np.ptp(series, axis=0) == 0, dead[row["run"]])
        some += int(dead[row["run"]].any())
    assert some > 0


def test_what_is_left_out_by_rule_is_no_failure_and_what_is_damaged_is(build: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tables = {name: write(tmp_path / f"{name}.tsv", rng.normal(size=(60, 100))) for name in ("a", "b")}
    tables["short"] = write(tmp_path / "short.tsv", rng.normal(size=(39, 100)))
    tables["other"] = write(tmp_path / "other.tsv", rng.normal(size=(60, 99)), REGIONS[:-1])
    tables["damaged"] = tmp_path / "damaged.tsv"
    tables["damaged"].write_text("\t".join(REGIONS) + "\n" + "\t".join(["x"] * 100) + "\n")
    cohort, excluded, failed = build(tables)
    assert cohort.runs["run"].tolist() == ["a", "b"]
    assert excluded == {"short": "too few volumes", "other": "other regions", "damaged": "unreadable"}
    assert failed == ["damaged"]


def test_another_release_of_one_atlas_is_the_same_regions(build: Any, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(60, 100)).astype(np.float32)
    tables = {"a": write(tmp_path / "a.tsv", values), "b": write(tmp_path / "b.tsv", 2 * values, NEWER)}
    cohort, excluded, failed = build(tables)
    assert (excluded, failed) == ({}, [])
    assert cohort.regions == REGIONS
    np.testing.assert_allclose(cohort.raw(1), 2 * values, rtol=1e-6)


def test_every_table_is_read_once_and_a_cohort_that_is_left_empty_says_where_the_reasons_are(
    build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bids_neurossm.interfaces import cohort as module

    read: list[str] = []
    original = module.read_series
    monkeypatch.setattr(module, "read_series", lambda path, *more: read.append(path.name) or original(path, *more))
    values = np.random.default_rng(0).normal(size=(80, 100))
    tables = {name: write(tmp_path / f"{name}.tsv", values[: 80 - 50 * (name == "b")]) for name in "abc"}
    found, excluded, _ = build(tables)
    assert read == ["a.tsv", "b.tsv", "c.tsv"]
    assert found.runs["run"].tolist() == ["a", "c"]
    assert np.allclose(found.raw(1), values, atol=1e-6)
    assert excluded == {"b": "too few volumes"}
    with pytest.raises(LabelError, match=r"No run is left to train on; .*exclusions\.tsv says why"):
        build({"b": tables["b"]})
    assert pd.read_csv(tmp_path / "out" / "group" / "x" / "exclusions.tsv", sep="\t")["run"].tolist() == ["b"]


def test_a_table_that_is_not_the_one_its_sidecar_describes_costs_only_its_run(build: Any, tmp_path: Path) -> None:
    """It was cut at the end of a line, so that nothing else shows it; one without a hash is taken as it is."""
    values = np.random.default_rng(0).standard_normal((60, 100))
    tables = {name: write(tmp_path / f"{name}.tsv", values + index) for index, name in enumerate("abcd")}
    hashes = {name: hash_file(path) for name, path in tables.items() if name != "d"}
    for name in "bd":
        lines = tables[name].read_text().splitlines(keepends=True)
        tables[name].write_text("".join(lines[:51]))
    cohort, excluded, failed = build(tables, hashes=hashes)
    assert list(cohort.runs["run"]) == ["a", "c", "d"]
    assert cohort.runs["n_volumes"].tolist() == [60, 60, 50]
    assert excluded == {"b": "unreadable"}
    assert failed == ["b"]
    (record,) = read_records(tmp_path / "records")
    assert record.message == (
        f"{tables['b']} was cut short or changed after it was written: it is not the table that b.json describes; run "
        "the participant level again for it, or import it again."
    )
    assert record.exit_code == 1
