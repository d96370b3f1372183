"""Series as text: every number comes back exactly."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.errors import UsageError
from bids_neurossm.files.series_text import series_text


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_number_comes_back_to_the_last_digit(dtype: str) -> None:
    random = np.random.default_rng(0)
    series = (random.standard_normal((200, 3)) * 10.0 ** random.integers(-30, 30, (200, 3))).astype(dtype).astype(float)
    series[5, 1] = np.nan
    text = series_text(series, ["a", "b", "c"])
    back = pd.read_csv(io.StringIO(text), sep="\t", na_values="n/a", float_precision="round_trip")
    assert list(back.columns) == ["a", "b", "c"]
    np.testing.assert_array_equal(back.to_numpy().astype(dtype), series.astype(dtype))


def test_numbers_that_are_float32_take_nine_digits_and_others_seventeen() -> None:
    tenth = float(np.float32(0.1))
    assert series_text(np.array([[tenth]]), ["a"]) == "a\n0.100000001\n"
    assert series_text(np.array([[tenth], [0.1]]), ["a"]) == "a\n0.10000000149011612\n0.10000000000000001\n"


@pytest.mark.parametrize("name", ["", "a\tb", "a\nb", 'a"b', "a\rb"])
def test_a_name_that_would_break_the_table_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be in a table"):
        series_text(np.zeros((1, 2)), ["a", name])
