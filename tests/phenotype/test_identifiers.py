"""Pairing series with rows of a table: exactly, else under one normalisation, never by a guess."""

from __future__ import annotations

import random

import pytest

from bids_neurossm.errors import LabelError
from bids_neurossm.phenotype.identifiers import Pairing, normalised, pair_identifiers


def pair(series: list[str], table: list[str], **more: object) -> Pairing:
    return pair_identifiers(series, table, "participants.tsv", **more)


def test_exact_matches_are_taken_as_they_are() -> None:
    found = pair(["01", "02"], ["sub-02", "01", "03"])
    assert found == Pairing({"01": "01", "02": "sub-02"}, (), ("03",))
    assert found.respelled == ()
    assert found.notes("participants.tsv") == ["1 participant of participants.tsv has no series in this analysis: 03."]


def test_leading_zeros_that_a_spreadsheet_lost() -> None:
    series = [f"{number:03d}" for number in range(1, 131)]
    found = pair(series, [str(number) for number in range(1, 131)])
    assert found.partner == {name: str(int(name)) for name in series}
    assert len(found.respelled) == 99
    (note,) = found.notes("participants.tsv")
    assert note.startswith("99 participants are spelled differently in the series and in participants.tsv")
    assert "001 = 1, 002 = 2, 003 = 3, 004 = 4, 005 = 5 ... (99 in all)" in note


def test_case_and_prefix() -> None:
    assert pair(["CON01", "pat02"], ["SUB-con01", "Pat02"]).partner == {"CON01": "SUB-con01", "pat02": "Pat02"}


def test_both_sides_without_a_partner_are_reported() -> None:
    found = pair(["01", "02", "x"], ["01", "02", "y", "z"])
    assert found.partner == {"01": "01", "02": "02"}
    assert found.notes("p.tsv") == [
        "1 participant of the series is not in p.tsv: x.",
        "2 participants of p.tsv have no series in this analysis: y, z.",
    ]


@pytest.mark.parametrize(
    ("series", "table"),
    [
        (["01", "1"], ["1"]),
        (["1", "01"], ["01"]),
        (["001", "002"], ["1", "01", "2"]),
        (["A1", "a1"], ["A1"]),
        (["001", "2", "02"], ["1", "2", "02"]),  # 001 would need a rule that makes one person of 2 and 02
    ],
)
def test_two_people_are_never_made_one(series: list[str], table: list[str]) -> None:
    with pytest.raises(LabelError, match=r"has both .* and ") as caught:
        pair(series, table)
    assert "--exact-ids" in str(caught.value)
    exact = pair(series, table, exact=True)
    assert all(mine == theirs for mine, theirs in exact.partner.items())


def test_different_spellings_that_all_have_exact_partners_are_different_people() -> None:
    assert pair(["1", "01"], ["01", "1"]).partner == {"1": "1", "01": "01"}


def test_people_who_were_not_asked_for_count_too() -> None:
    assert pair(["01"], ["1"]).partner == {"01": "1"}
    with pytest.raises(LabelError, match="the series has both 01 and 1"):
        pair(["01"], ["1"], others=["01", "1"])


def test_who_has_no_partner_under_any_spelling_does_not_stop_the_others() -> None:
    assert pair(["1", "01", "x"], ["1", "01"]).only_series == ("x",)


def test_a_table_with_one_person_under_two_spellings_is_refused() -> None:
    with pytest.raises(LabelError, match="lists both sub-01 and 01"):
        pair(["01"], ["sub-01", "01"])


def test_sessions_are_paired_like_participants() -> None:
    assert pair(["01", "02"], ["ses-1", "2"], prefix="ses-").partner == {"01": "ses-1", "02": "2"}


PREFIXES, ZEROS, STEMS = ("", "sub-"), ("", "0", "00"), ("1", "2", "10", "A1", "a1", "b", "B", "0")


def random_ids(chance: random.Random) -> list[str]:
    spelled = [
        chance.choice(PREFIXES) + chance.choice(ZEROS) + chance.choice(STEMS) for _ in range(chance.randint(1, 8))
    ]
    return list({name.removeprefix("sub-"): name for name in spelled}.values())


@pytest.mark.parametrize("start", [0, pytest.param(1_000, marks=pytest.mark.exhaustive)])
def test_no_label_ever_moves(start: int) -> None:
    refused = paired = 0
    for seed in range(start, start + (1_000 if start == 0 else 9_000)):
        chance = random.Random(seed)
        series, table = random_ids(chance), random_ids(chance)
        try:
            found = pair(series, table)
        except LabelError:
            refused += 1
            keys = [[normalised(name) for name in side] for side in (series, table)]
            assert any(len(set(side)) < len(side) for side in keys)
            continue
        paired += len(found.partner)
        bare = {name.removeprefix("sub-") for name in table}
        for mine, theirs in found.partner.items():
            assert normalised(mine) == normalised(theirs)
            # Who has an exact partner gets that one, and nobody else.
            if mine.removeprefix("sub-") in bare:
                assert theirs.removeprefix("sub-") == mine.removeprefix("sub-")
        assert len(set(found.partner.values())) == len(found.partner)
        assert set(found.partner) | set(found.only_series) == set(series)
        assert set(found.partner.values()) | set(found.only_table) == set(table)
    assert refused > 50
    assert paired > 200
