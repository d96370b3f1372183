"""Tables of pandas in a pickle come back as columns and rows, and as nothing else."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from helpers.roi_sources import written

from bids_neurossm.errors import UsageError
from bids_neurossm.roi_arrays.pickled_tables import Frame
from bids_neurossm.roi_arrays.restricted_pickle import load_restricted


@pytest.mark.parametrize("protocol", range(6))
def test_tables_of_pandas_come_back_as_columns_and_rows(tmp_path, protocol):
    frame = pd.DataFrame(
        {
            "name": ["a", "bé", None],
            "count": [1, 2, 3],
            "score": [0.1, np.nan, 3.0],
            "truth": [True, False, True],
            "series": [np.ones((2, 3)), np.zeros((1, 3)), np.ones((3, 3))],
            "text": pd.array(["q", None, "s"], dtype=pd.StringDtype("python")),
            "bytes": pd.Series([b"\xff", b"", b"x"], dtype=object),
        }
    )[["score", "name", "series", "truth", "text", "count", "bytes"]]
    content = {"frame": frame, "part": frame.iloc[1:], "row": frame.loc[1], "column": frame["count"]}
    loaded = load_restricted(written(tmp_path / "x.pickle", pickle.dumps(content, protocol)))
    assert isinstance(loaded["frame"], Frame)
    columns = loaded["frame"].columns
    assert list(columns) == list(frame.columns)
    assert [list(columns[name]) for name in ("name", "count", "truth")] == [["a", "bé", None], [1, 2, 3], [1, 0, 1]]
    assert [np.asarray(columns["score"]).tobytes(), columns["text"]] == [
        frame["score"].to_numpy().tobytes(),
        ["q", None, "s"],
    ]
    assert [each.shape for each in columns["series"]] == [(2, 3), (1, 3), (3, 3)]
    assert list(columns["bytes"]) == [b"\xff", b"", b"x"]
    assert list(loaded["part"].columns["name"]) == ["bé", None]
    assert (loaded["row"]["name"], loaded["row"]["count"]) == ("bé", 2)
    assert loaded["column"] == {"0": 1, "1": 2, "2": 3}


@pytest.mark.parametrize(
    ("column", "refused"),
    [
        (pd.Categorical(["a", "b"]), r"asks for pandas\..*Categorical"),
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), "asks for "),
        (pd.array([1, None], dtype="Int64"), r"asks for pandas\..*Integer"),
    ],
)
def test_columns_of_another_kind_are_refused_by_name(tmp_path, column, refused):
    with pytest.raises(UsageError, match=refused):
        load_restricted(written(tmp_path / "x.pickle", pickle.dumps(pd.DataFrame({"x": column}))))


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        (b"\x80\x02cpandas\nDataFrame\n)\x81}U\x04_mgrK\x01sb.", "a pandas.DataFrame of another layout"),
        (b"cpandas\nDataFrame\n(I1\ntR.", "not a readable pickle"),
        (b"cpandas\nIndex\n(tR.", "a bare object"),
        (b"ccopy_reg\n_reconstructor\n(cnumpy\nndarray\ncbuiltins\nobject\nNtR.", "call of numpy.ndarray"),
        (b"cbuiltins\nslice\n(NNN(ltR.", "builtins.slice"),
        (b"cbuiltins\nbytearray\n(I1000000000000\ntR.", "builtins.bytearray"),
        (b"cpyarrow.lib\nchunked_array\n(I1\ntR.", "Arrow array"),
        (b"\x80\x02]Nb.", "a change of list"),
        (b"\x80\x02K\x01)R.", "a call of a int"),
    ],
)
def test_stand_ins_of_tables_can_not_be_misused(tmp_path, content, refused):
    with pytest.raises(UsageError, match=refused):
        load_restricted(written(tmp_path / "x.pickle", content))
