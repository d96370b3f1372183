"""Which series an encoder is pretrained on, and where it will be."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.resting import resting_series

from bids_neurossm.cli.parser import parse_config
from bids_neurossm.errors import NoInputError, UsageError
from bids_neurossm.planning.pretraining import PretrainingPlan, plan_pretraining


def plan(dataset: Path, *options: str | Path, model: str = "lmae-rwmoe") -> PretrainingPlan:
    fixed = ["--model", model, "--recipe", "camcan-age"]
    return plan_pretraining(
        parse_config([str(dataset), str(dataset.parent / "out"), "group", *fixed, *map(str, options)])
    )


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return resting_series(tmp_path / "series", ("01", "02", "03"))


def test_all_runs_are_taken_and_their_labels_are_not_looked_at(dataset: Path) -> None:
    planned = plan(dataset, "--pretrain")
    assert planned.source == dataset
    assert [(row["participant_id"], row["label"]) for row in planned.cohort.runs] == [
        ("01", 0.0),
        ("02", 0.0),
        ("03", 0.0),
    ]
    assert (planned.cohort.regions, planned.cohort.classes) == (list("abcdef"), [])
    assert (planned.cohort.shortest.length, planned.cohort.shortest.unit) == (64.0, "seconds")
    assert (
        planned.encoder == dataset.parent / "out" / "models" / "encoder_lmaerwmoe_series_asis" / "encoder.safetensors"
    )


def test_the_identifier_is_the_users_where_nothing_else_is_done(dataset: Path) -> None:
    assert plan(dataset, "--pretrain", "--analysis-id", "mine").encoder.parent.name == "mine"
    named = plan(dataset, "--pretrain", "--analysis-id", "mine", "--target", "age").encoder.parent.name
    assert named == "encoder_lmaerwmoe_series_asis"


def test_an_encoder_of_another_dataset_bears_its_name(dataset: Path) -> None:
    other = resting_series(dataset.parent / "HCP rest", ("11", "12"))
    planned = plan(dataset, "--pretrain-from", other, "--target", "age")
    assert planned.source == other
    assert [row["participant_id"] for row in planned.cohort.runs] == ["11", "12"]
    assert planned.encoder.parent.name == "encoder_lmaerwmoe_series_asis_HCPrest"


def test_a_dataset_without_series_is_not_replaced_by_another(dataset: Path) -> None:
    (dataset.parent / "empty").mkdir()
    with pytest.raises(NoInputError, match=r"empty, which --pretrain-from names|the wanted runs in .*empty"):
        plan(dataset, "--pretrain-from", dataset.parent / "empty")


def test_runs_that_the_participant_level_excluded_are_not_pretrained_on(dataset: Path) -> None:
    sidecars = sorted(dataset.rglob("*_timeseries.json"))
    excluded = '{"RepetitionTime": 2.0, "Exclusion": {"Reason": "too few volumes", "Detail": "x"}}'
    sidecars[0].write_text(excluded)
    assert [row["participant_id"] for row in plan(dataset, "--pretrain").cohort.runs] == ["02", "03"]
    for path in sidecars:
        path.write_text(excluded)
    with pytest.raises(NoInputError, match=r"All 3 runs in .*series were excluded at the participant level"):
        plan(dataset, "--pretrain")


def test_a_model_without_an_encoder_is_refused(dataset: Path) -> None:
    with pytest.raises(UsageError, match="--pretrain needs a model with an encoder"):
        plan(dataset, "--pretrain", model="neurossm")
