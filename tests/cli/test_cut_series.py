"""A series table that was cut short is made again by the participant level, and costs its run at the group level."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from helpers.cubes import group_options, make_dataset, participant_options

from bids_neurossm.cli.run import main


def cut(table: Path) -> bytes:
    """Keep the header and 29 of 64 volumes; return what was there."""
    content = table.read_bytes()
    table.write_bytes(b"\n".join(content.split(b"\n")[:30]) + b"\n")
    return content


def test_a_table_of_29_of_64_volumes_is_noticed_at_both_levels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_dataset(tmp_path, 8)
    places, out = [str(tmp_path / "fmriprep"), str(tmp_path / "out")], tmp_path / "out"
    participant = [*places, "participant", *participant_options(tmp_path)]
    assert main(participant) == 0
    (table,) = out.glob("sub-01/func/*_timeseries.tsv")
    whole = cut(table)
    capsys.readouterr()
    assert main(participant) == 0
    assert "8 of 8 runs done, 7 of them already finished" in "".join(capsys.readouterr())
    assert table.read_bytes() == whole

    cut(table)
    assert main([*places, "group", *group_options(tmp_path), "--no-cpa"]) == 1
    told = pd.read_csv(out / "group" / "g" / "exclusions.tsv", sep="\t", dtype=str)
    assert told[["participant_id", "excluded", "reason"]].to_numpy().tolist() == [["01", "yes", "unreadable"]]
    assert told["detail"][0].startswith(f"{table.name} was cut short or changed after it was written")
    predictions = pd.read_csv(out / "group" / "g" / "predictions.tsv", sep="\t", dtype=str)
    assert sorted(predictions["participant_id"].unique()) == [f"{number:02d}" for number in range(2, 9)]
