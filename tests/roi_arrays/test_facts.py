"""What sources say of their participants: kept where it agrees, refused where it is of other people."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from helpers.roi_sources import array_run

from bids_neurossm.errors import LabelError
from bids_neurossm.roi_arrays.facts import refuse_other_sex, sex_of, table_of_facts, with_facts


@pytest.mark.parametrize(
    ("facts", "codes", "sex"),
    [
        ({"Sex": "F"}, False, "female"),
        ({"gender": "male"}, False, "male"),
        ({"gender": "1"}, True, "male"),
        ({"gender": "1"}, False, None),
        ({"sex": "2"}, True, None),
        ({"age": "1"}, True, None),
    ],
)
def test_sex_is_read_from_words_and_only_in_records_from_codes(
    facts: dict[str, str], codes: bool, sex: str | None
) -> None:
    assert sex_of(facts, codes) == sex


def test_a_table_that_states_another_sex_is_of_other_people() -> None:
    run = array_run(facts={"gender": "0"})
    refuse_other_sex(run, {"sex": "F"}, Path("labels.tsv"))
    refuse_other_sex(run, {"sex": "1"}, Path("labels.tsv"))  # a table may have any codes
    with pytest.raises(LabelError, match=r"x\.npz says that a is female, and labels\.tsv says male"):
        refuse_other_sex(run, {"sex": "m"}, Path("labels.tsv"))


def test_a_fact_that_differs_between_runs_of_one_participant_is_left_out_and_told() -> None:
    runs = [
        array_run(facts={"dx": dx, "age": age, "session_id": "1"})
        for dx, age in (("1", "n/a"), ("2", "30"), ("1", "40"))
    ]
    notes: list[str] = []
    table = table_of_facts(runs, ["a", "a", "b"], notes)
    assert table is not None
    assert table.to_dict("list") == {"participant_id": ["sub-a", "sub-b"], "age": ["30", "40"]}
    assert notes == [
        "dx differs between runs of one participant (sub-a: 1 and 2), so it is left out of participants.tsv."
    ]
    assert table_of_facts([array_run()], ["a"], notes) is None


def test_two_sexes_of_one_participant_are_two_people() -> None:
    with pytest.raises(LabelError, match="runs of participant a are labelled female and male"):
        table_of_facts([array_run(facts={"sex": "F"}), array_run(facts={"sex": "M"})], ["a", "a"], [])


def test_what_the_given_table_says_counts_and_what_it_does_not_say_is_added() -> None:
    given = pd.DataFrame({"participant_id": ["sub-a", "sub-b"], "age": ["99", "n/a"]})
    facts = pd.DataFrame({"participant_id": ["sub-a", "sub-c"], "age": ["30", "40"], "dx": ["1", "2"]})
    assert with_facts(given, facts).to_numpy().tolist() == [
        ["sub-a", "99", "1"],
        ["sub-b", "n/a", "n/a"],
        ["sub-c", "40", "2"],
    ]
    # A table of sessions has no row for somebody of whom no session is known.
    sessions = given.assign(session_id="1")
    assert with_facts(sessions, facts)["participant_id"].tolist() == ["sub-a", "sub-b"]
    assert with_facts(given, None) is given
