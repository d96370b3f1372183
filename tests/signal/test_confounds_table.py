"""The table of confounds and its sidecar: as many rows as volumes, and numbers where numbers are wanted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.errors import RunError
from bids_neurossm.signal.confounds_table import (
    column,
    first_steady_volume,
    listed,
    numbers,
    read_metadata,
    read_table,
    steady_state_columns,
)

V21 = "test-v21_desc-confounds_timeseries.tsv"


def test_a_real_table_has_a_row_for_each_volume(shared_data: Path) -> None:
    content = read_table(shared_data / "confounds" / V21, 30)
    assert len(content) == 30
    assert steady_state_columns(content) == [f"non_steady_state_outlier{number:02d}" for number in range(3)]
    assert first_steady_volume(content, None) == 3
    with pytest.raises(RunError, match=r"has 30 rows, the image has 31 volumes; both must come from one run"):
        read_table(shared_data / "confounds" / V21, 31)


def test_missing_numbers_are_nan_and_text_is_refused() -> None:
    content = pd.DataFrame({"csf": [1, None, 3], "remark": ["calm", "calm", "asleep"]})
    np.testing.assert_array_equal(numbers(content, ["csf"], None), [[1.0], [np.nan], [3.0]])
    np.testing.assert_array_equal(column(content, "csf", None), [1.0, np.nan, 3.0])
    assert column(content, "trans_x", None) is None
    with pytest.raises(RunError, match=r"a\.tsv holds text where numbers are expected, in csf, remark"):
        numbers(content, ["csf", "remark"], Path("a.tsv"))


@pytest.mark.parametrize(
    ("marked", "first"), [({}, 0), ({"00": [1, 0, 0, 0]}, 1), ({"00": [1, 0, 0, 0], "01": [0, 0, 1, 0]}, 3)]
)
def test_the_steady_state_begins_after_the_last_volume_that_is_marked(marked: dict[str, list[int]], first: int) -> None:
    columns = {f"non_steady_state_outlier{name}": values for name, values in marked.items()}
    assert first_steady_volume(pd.DataFrame({"csf": [0.0] * 4, **columns}), None) == first


def test_a_sidecar_is_needed_to_tell_compcor_components_apart(tmp_path: Path) -> None:
    table = tmp_path / "a_timeseries.tsv"
    with pytest.raises(RunError, match=r"a_timeseries\.json is missing, and --denoise compcor needs it"):
        read_metadata(table, "compcor")
    table.with_suffix(".json").write_text('{"a_comp_cor_00": {"Mask": "CSF"}}')
    assert read_metadata(table, "compcor") == {"a_comp_cor_00": {"Mask": "CSF"}}
    table.with_suffix(".json").write_text("[]")
    with pytest.raises(RunError, match=r"must hold a JSON object"):
        read_metadata(table, "compcor")


def test_a_message_names_some_columns_and_their_number() -> None:
    assert listed(pd.DataFrame(columns=list("abc"))) == "a, b, c"
    assert listed(pd.DataFrame(columns=list("abcd")), most=2) == "a, b ... (4 in all)"
