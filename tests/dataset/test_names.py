"""BIDS names: taken apart, put together in the order of the standard, and never colliding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_neurossm.dataset.names import (
    ENTITY_ORDER,
    build_name,
    kind_entities,
    name_problem,
    parse_name,
    recording_entities,
    same_label,
    sanitised_label,
    sanitised_labels,
    source_entities,
)
from bids_neurossm.errors import UsageError

LABEL = st.text(alphabet="abcXYZ0123456789", min_size=1, max_size=6)


def test_a_name_of_fmriprep_is_taken_apart() -> None:
    name = "sub-01_ses-2_task-rest_run-01_space-MNI152NLin6Asym_res-2_desc-preproc_bold.nii.gz"
    entities, suffix, extension = parse_name(f"/data/sub-01/ses-2/func/{name}")
    assert entities == {
        **{"sub": "01", "ses": "2", "task": "rest", "run": "01"},
        **{"space": "MNI152NLin6Asym", "res": "2", "desc": "preproc"},
    }
    assert (suffix, extension) == ("bold", ".nii.gz")


@pytest.mark.parametrize(
    ("name", "suffix", "extension"),
    [
        ("participants.tsv", "participants", ".tsv"),
        ("sub-1_desc-lmae-rwmoe_prediction.tsv", "prediction", ".tsv"),
        ("dataset_description.json", "description", ".json"),
        ("README", "README", ""),
    ],
)
def test_any_name_has_a_suffix_and_an_extension(name: str, suffix: str, extension: str) -> None:
    assert parse_name(name)[1:] == (suffix, extension)


def test_a_hyphen_inside_a_label_is_kept() -> None:
    assert parse_name("sub-1_desc-lmae-rwmoe_prediction.tsv")[0]["desc"] == "lmae-rwmoe"


def test_entities_are_written_in_the_order_of_the_interface() -> None:
    entities = {
        **{"desc": "simple", "stat": "mean", "scale": "400", "seg": "7Networks", "atlas": "Schaefer2018"},
        **{"res": "2", "space": "MNI152NLin6Asym", "run": "1", "task": "rest", "ses": "1", "sub": "01", "label": None},
    }
    assert build_name(entities, "timeseries", ".tsv") == (
        "sub-01_ses-1_task-rest_run-1_space-MNI152NLin6Asym_atlas-Schaefer2018_seg-7Networks_scale-400_res-2"
        "_stat-mean_desc-simple_timeseries.tsv"
    )


@given(st.dictionaries(st.sampled_from(ENTITY_ORDER), LABEL, min_size=1, max_size=8))
def test_what_is_built_is_parsed_back(entities: dict[str, str]) -> None:
    assert parse_name(build_name(entities, "bold", ".nii.gz")) == (entities, "bold", ".nii.gz")


def test_a_name_that_is_longer_than_file_systems_allow_is_refused() -> None:
    build_name({"sub": "s" * 218}, "bold", ".tsv")
    with pytest.raises(UsageError, match="has 232 characters; at most 231 fit"):
        build_name({"sub": "s" * 219}, "bold", ".tsv")


def test_the_recording_is_what_remains_without_derivative_entities() -> None:
    entities = {"sub": "01", "task": "rest", "echo": "2", "part": "mag", "space": "T1w", "res": "2", "desc": "preproc"}
    assert source_entities(entities) == {"sub": "01", "task": "rest", "echo": "2", "part": "mag"}


@pytest.mark.parametrize(("text", "label"), [("n-back (2)", "nback2"), ("WM", "WM"), ("Größe", "Gre"), ("--", "")])
def test_labels_are_letters_and_digits(text: str, label: str) -> None:
    assert sanitised_label(text) == label


def test_distinct_texts_keep_distinct_labels() -> None:
    assert sanitised_labels(["0-back", "2-back", "0-back"], "class") == {"0-back": "0back", "2-back": "2back"}


@pytest.mark.parametrize("texts", [["n-back", "nback"], ["Control", "control"], ["a b", "ab"]])
def test_two_texts_with_one_label_are_refused(texts: list[str]) -> None:
    with pytest.raises(UsageError, match="would both be called") as caught:
        sanitised_labels(texts, "class")
    assert all(repr(text) in str(caught.value) for text in texts)


def test_a_text_without_letter_or_digit_is_refused() -> None:
    with pytest.raises(UsageError, match=r"The class '\?!' has no letter"):
        sanitised_labels(["yes", "?!"], "class")


def test_the_recording_is_named_by_eight_entities_with_numbers_in_one_spelling() -> None:
    entities = {"sub": "01", "task": "rest", "run": "02", "echo": "1", "feature": "GSR", "space": "T1w", "desc": "x"}
    assert recording_entities(entities) == {"sub": "01", "task": "rest", "run": "2"}
    assert kind_entities(entities) == {"feature": "GSR", "echo": "1", "space": "T1w", "desc": "x"}


def test_entities_that_bids_does_not_know_stand_before_the_derivatives() -> None:
    entities = {"sub": "01", "space": "T1w", "desc": "x", "feature": "GSR"}
    assert build_name(entities, "bold", ".nii") == "sub-01_feature-GSR_space-T1w_desc-x_bold.nii"


@pytest.mark.parametrize(
    ("entity", "one", "other", "same"),
    [
        ("run", "1", "01", True),
        ("run", "1", "10", False),
        ("echo", "2", "002", True),
        ("sub", "1", "01", False),
        ("run", "a", "A", False),
        ("run", "1", None, False),
        ("run", None, None, True),
        ("run", "²", "2", False),
    ],
)
def test_numbers_are_compared_as_numbers(entity: str, one: str | None, other: str | None, same: bool) -> None:
    assert same_label(entity, one, other) is same


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("sub-con-01_task-rest_bold.nii", "'sub-con-01'"),
        ("sub-pat_02_task-rest_bold.nii", "'02'"),
        ("sub-01_task-n_back_bold.nii", "'back'"),
        ("sub-01_task-eyes.open_bold.nii", None),
        ("sub-01_task-_bold.nii", "'task-'"),
        ("sub-01_task-rest_desc-lmae-rwmoe_bold.nii", None),
    ],
)
def test_names_that_are_not_valid_are_told_by_the_part(name: str, part: str | None) -> None:
    problem = name_problem(name)
    assert problem is None if part is None else part in str(problem)
