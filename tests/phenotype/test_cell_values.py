"""What a cell means: missing or a value, one class or two."""

from __future__ import annotations

import itertools
import random
import re
from decimal import Decimal

import pandas as pd
import pytest

from bids_neurossm.phenotype.cell_values import as_classes, read_ages, read_numbers, without_missing


def cells(*values: str | None) -> pd.Series:
    return pd.Series(list(values), dtype=object)


@pytest.mark.parametrize(
    "spelling",
    ["", " ", "n/a", "N/A", "na", "NaN", "nan", "-nan", "-9999", "-9999.0", "-9999,00", "#N/A", "#VALUE!", "#DIV/0!",
     "#NULL!", "#REF!", "#NAME?", "#NV", "#WERT!", "########", "#N/D", "#I/T", "-1.797693134862316E+308"],
)  # fmt: skip
def test_missing_without_a_word(spelling: str) -> None:
    values, notes = without_missing(cells("PD", spelling, "HC"))
    assert [value is None for value in values] == [False, True, False]
    assert notes == []


@pytest.mark.parametrize("word", ["NA", "None", "NULL", "null"])
def test_words_that_may_be_names_are_missing_with_a_line(word: str) -> None:
    values, notes = without_missing(cells(word, "PD", word))
    assert [value is None for value in values] == [True, False, True]
    assert notes == [f"2 cells `{word}` read as missing"]


@pytest.mark.parametrize("word", ["NA", "None", "NULL", "na", "-9999", "#N/A"])
def test_a_level_that_the_sidecar_declares_is_a_value(word: str) -> None:
    values, notes = without_missing(cells(word, "PD"), levels={word, "PD"})
    assert values.tolist() == [word, "PD"]
    assert notes == []


def test_the_list_of_the_user_replaces_all_but_what_bids_calls_missing() -> None:
    values, notes = without_missing(cells("None", "unknown", "", "n/a", "-9999", "x"), given=["unknown"])
    assert values.tolist() == ["None", None, None, None, "-9999", "x"]
    assert notes == ["1 cell `None` kept as a value", "1 cell `-9999` kept as a value"]
    # Statistics programs write 999 as 999.00.
    assert without_missing(cells("999.00", "99.9", "x999"), given=["999"])[0].tolist() == [None, "99.9", "x999"]


@pytest.mark.parametrize("word", ["unknown", "-", "—", "999", ".", "?", "-99", "n.a.", "(null)", "\\N"])
def test_what_often_means_missing_is_kept_with_a_warning(word: str) -> None:
    values, notes = without_missing(cells(word, "PD", word))
    assert values.tolist() == [word, "PD", word]
    assert notes == [f"2 cells `{word}` kept as a value (if it means missing: --missing-values '{word}')"]


def test_ordinary_values_are_left_alone() -> None:
    plain = ["99", "#1", "none", "Nan Li", "0", "nap", "null hypothesis", "N", "n/a?"]
    values, notes = without_missing(cells(*plain))
    assert values.tolist() == plain
    assert notes == []


def test_numbers_are_plain_decimals() -> None:
    column = read_numbers(cells("1", "-2.5", "+3e2", ".5", "4.", None, "1_000", "0x10", "12a", "1 2", "٣"))
    assert column.numbers.dropna().tolist() == [1, -2.5, 300, 0.5, 4]
    assert column.odd.tolist() == ["1_000", "0x10", "12a", "1 2", "٣"]


def test_ages() -> None:
    column, notes = read_ages(cells("30", "89+", ">89", "045Y", "45,5", "30-40", None, "6M"))
    assert column.numbers.dropna().tolist() == [30, 89, 89, 45, 45.5]
    assert column.odd.tolist() == ["30-40", "6M"]
    assert notes == ["4 cells read as ages in years, `89+` as 89, `>89` as 89, `045Y` as 45 ..."]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["1", "1.0", "2"], ["1", "1", "2"]),
        (["1.0", "2.0"], ["1.0", "2.0"]),
        (["370143000", "370143009"], ["370143000", "370143009"]),
        (["12345678901234567890", "12345678901234567891"], ["12345678901234567890", "12345678901234567891"]),
        (["0.1", "0.10"], ["0.1", "0.1"]),
        (["1e3", "1000"], ["1e3", "1e3"]),
        (["01", "1"], ["01", "1"]),
        (["007", "07", "7", "7.0"], ["007", "07", "7", "7"]),
        (["0", "0.0", "00"], ["0", "0", "00"]),
        (["1", "1.0", "x"], ["1", "1.0", "x"]),  # not all are numbers: text is compared exactly
        (["AD", "ad"], ["AD", "ad"]),
        (["inf", "1"], ["inf", "1"]),
    ],
)
def test_labels_are_one_class_only_as_the_same_decimal(labels: list[str], expected: list[str]) -> None:
    assert as_classes(cells(*labels, None)).tolist()[:-1] == expected


PIECES = ("", "0", "00", "1", "10", ".", ".0", ".50", "e1", "-", "+", "a", "A")


@pytest.mark.parametrize("start", [0, pytest.param(1_000, marks=pytest.mark.exhaustive)])
def test_two_labels_merge_only_as_the_same_decimal(start: int) -> None:
    merged = kept = 0
    for seed in range(start, start + (1_000 if start == 0 else 9_000)):
        chance = random.Random(seed)
        numeric = chance.random() < 0.7
        pieces = PIECES[:-2] if numeric else PIECES
        labels = ["".join(chance.choices(pieces, k=chance.randint(1, 3))) or "x" for _ in range(6)]
        named = dict(zip(labels, as_classes(cells(*labels)), strict=True))
        for one, other in itertools.combinations(dict.fromkeys(labels), 2):
            if named[one] != named[other]:
                kept += 1
                continue
            merged += 1
            assert all(re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[0-9]+)?", label) for label in labels), labels
            assert Decimal(one) == Decimal(other)
            assert not any(re.match(r"[+-]?0[0-9]", label) for label in (one, other))
        assert set(named.values()) <= set(labels)
    assert merged > 5
    assert kept > 1_000
