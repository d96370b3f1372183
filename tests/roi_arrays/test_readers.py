"""ROI arrays in every format that is read: which runs a source has, what they hold, which side is time."""

from __future__ import annotations

import io
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from bids_neurossm.errors import LabelError, NoInputError, UsageError
from bids_neurossm.roi_arrays.discovery import find_arrays, orientations
from bids_neurossm.roi_arrays.matching import match_participants, stated_entities
from bids_neurossm.roi_arrays.published import published_by_name
from bids_neurossm.roi_arrays.readers import ArrayRun, runs_of_mat

HCP_TASK_LENGTHS = published_by_name(Path("dataset_hcpTask_schaefer.npy")).volumes
SERIES = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)


def _run(rows: int, columns: int, key: str = "a") -> ArrayRun:
    return ArrayRun(key, Path("x.npz"), (rows, columns), lambda: np.zeros((rows, columns)))


def test_every_key_of_every_archive_is_a_run(shared_data):
    found = find_arrays(shared_data / "abide")
    assert len(found.runs) == 754
    assert (found.notes, found.failures) == ([], [])
    first = found.runs[0]
    assert (first.key, first.shape) == ("Caltech_0051456", (146, 200))
    assert first.load().dtype == np.float16
    assert {run.shape[1] for run in found.runs} == {200}
    assert (min(run.shape[0] for run in found.runs), max(run.shape[0] for run in found.runs)) == (78, 316)


def test_stacks_are_taken_layer_by_layer(tmp_path):
    stack = np.stack([SERIES, SERIES + 1])
    np.save(tmp_path / "cohort.npy", stack)
    np.savez_compressed(tmp_path / "other.npz", x=stack, labels=np.array([0, 1]))
    found = find_arrays(tmp_path)
    assert [run.key for run in found.runs] == ["cohort-1", "cohort-2", "x-1", "x-2"]
    assert all(run.positional for run in found.runs)
    for run, expected in zip(found.runs, [*stack, *stack], strict=True):
        np.testing.assert_array_equal(run.load(), expected)
    assert found.notes == [f"{tmp_path / 'other.npz'}[labels] has 1 dimension(s) and is no series: left out."]


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("sub-1.csv", "a,b\n1,2\n3,4.5\n", ("a", "b")),
        ("sub-1.csv", ",a,b\n0,1,2\n1,3,4.5\n", ("a", "b")),
        ("sub-1.csv", "\ufeff1;2\r\n3;4.5\r\n", ()),
        ("sub-1.tsv", "a\tb\n1\t2\n3\t4.5\n", ("a", "b")),
        ("sub-1.1D", "# 3dmaskave\n  1   2\n  3   4.5\n", ()),
    ],
)
def test_text_tables_are_read_with_and_without_names(tmp_path, name, text, columns):
    (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "participants.tsv").write_text("participant_id\nsub-1\n")
    (run,) = find_arrays(tmp_path).runs
    assert (run.key, run.columns, run.shape) == ("sub-1", columns, (2, 2))
    np.testing.assert_array_equal(run.load(), [[1, 2], [3, 4.5]])


def test_missing_numbers_are_nan(tmp_path):
    (tmp_path / "a.csv").write_text("1,n/a\n3,\n")
    (run,) = find_arrays(tmp_path / "a.csv").runs
    assert np.isnan(run.load()[:, 1]).all()


def test_matlab_matrices_and_cells_are_read(tmp_path):
    scipy.io.savemat(tmp_path / "subject7.mat", {"ts": SERIES, "TR": 2.0, "labels": np.arange(3)})
    cells = np.empty((1, 2), dtype=object)
    cells[0, 0], cells[0, 1] = SERIES, SERIES[:9]
    scipy.io.savemat(tmp_path / "cohort.mat", {"all": cells})
    found = find_arrays(tmp_path)
    assert [(run.key, run.shape) for run in found.runs] == [
        ("cohort-1", (12, 5)),
        ("cohort-2", (9, 5)),
        ("subject7", (12, 5)),
    ]
    np.testing.assert_array_equal(found.runs[1].load(), SERIES[:9])


def test_a_matlab_file_of_version_7_3_needs_h5py(tmp_path, monkeypatch):
    path = tmp_path / "x.mat"
    # The header that MATLAB writes before the HDF5 content: version 2.0, little-endian.
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x00" * 512)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match=r"version 7\.3; install h5py"):
        runs_of_mat(path)

    class File(dict):
        def __init__(self, *_):
            super().__init__(ts=SERIES.T)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    monkeypatch.setitem(sys.modules, "h5py", types.SimpleNamespace(File=File))
    (run,) = runs_of_mat(path)
    np.testing.assert_array_equal(run.load(), SERIES)  # HDF5 holds MATLAB's matrices transposed


def _npz(path: Path, header: bytes, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header + content)
    return path


def _header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def test_an_array_that_claims_more_than_its_file_has_is_not_read(tmp_path):
    _npz(tmp_path / "bomb.npz", _header((10**6, 10**6)), b"12345678")
    (tmp_path / "bomb.npy").write_bytes(_header((10**6, 10**6)) + b"12345678")
    found = find_arrays(tmp_path)
    assert found.runs == []
    assert all("claims 8000000000000 bytes and has 8" in str(failure) for failure in found.failures)
    assert len(found.failures) == 2


def test_an_archive_that_inflates_beyond_the_limit_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("bids_neurossm.roi_arrays.readers.MAX_ARRAY_BYTES", 10_000)
    _npz(tmp_path / "zeros.npz", _header((200, 100)), bytes(160_000))
    (failure,) = find_arrays(tmp_path).failures
    assert "GiB are read" in str(failure)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.npz", b"no archive", "BadZipFile"),
        ("a.npy", b"\x93NUMPY", "cannot be read"),
        ("a.npy", _header((2, 2), "<c16") + bytes(64), "complex128 values"),
        ("a.csv", b"a,b\n1,x\n", "column 'b' holds text"),
        ("a.csv", b"", "is empty (0 bytes)"),
        ("a.mat", b"MATLAB", "MATLAB file"),
    ],
)
def test_a_damaged_file_is_named_and_the_others_are_read(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    good = tmp_path / f"good{Path(name).suffix}"
    if good.suffix == ".csv":
        good.write_text("1,2\n3,4\n")
    elif good.suffix == ".mat":
        scipy.io.savemat(good, {"x": SERIES})
    else:
        np.savez(good, good=SERIES) if good.suffix == ".npz" else np.save(good, SERIES)
    found = find_arrays(tmp_path)
    assert [run.key for run in found.runs] == ["good"]
    (failure,) = found.failures
    assert told in str(failure)
    assert str(tmp_path / name) in str(failure)


def test_objects_in_an_archive_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{}], dtype=object).reshape(1, 1))
    with pytest.raises(UsageError, match="Python objects"):
        find_arrays(tmp_path)


def test_a_source_without_arrays_is_no_input(tmp_path):
    with pytest.raises(NoInputError, match="no ROI arrays"):
        find_arrays(tmp_path)
    with pytest.raises(NoInputError, match="does not exist"):
        find_arrays(tmp_path / "nowhere")


# --- which side is time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shapes", "sizes", "expected"),
    [
        ([(419, 234)], {419}, ["roi-time"]),
        ([(146, 200), (200, 146)], {200}, ["time-roi", "roi-time"]),
        ([(146, 200), (78, 200)], (), ["time-roi", "time-roi"]),
        ([(200, 146), (200, 78)], (), ["roi-time", "roi-time"]),
        ([(1200, 400)], (), ["time-roi"]),
        ([(400, 1200)], (), ["roi-time"]),
        ([(166, 210)], (), ["roi-time"]),
        ([(400, 405)], (), ["roi-time"]),
        ([(405, 400)], (), ["time-roi"]),
        *[([(length, 300)], (), ["time-roi"]) for length in HCP_TASK_LENGTHS.values()],
    ],
)
def test_the_side_that_is_time_is_told_where_it_can_be(shapes, sizes, expected):
    assert orientations([_run(*shape) for shape in shapes], "auto", sizes)[0] == expected


@pytest.mark.parametrize(
    ("shapes", "sizes"),
    [([(400, 400)], {400}), ([(100, 90)], ()), ([(1200, 284)], ()), ([(166, 400)], ()), ([(100, 90)], {200})],
)
def test_an_array_that_could_be_either_needs_the_users_word(shapes, sizes):
    with pytest.raises(UsageError, match="give --orientation time-roi"):
        orientations([_run(*shape) for shape in shapes], "auto", sizes)
    assert orientations([_run(*shape) for shape in shapes], "roi-time", sizes)[0] == ["roi-time"]


# --- participants -------------------------------------------------------------------------------------------------


def test_runs_are_matched_by_the_column_that_the_user_names_and_keep_the_declared_identifier(shared_data):
    runs = find_arrays(shared_data / "abide").runs
    table = shared_data / "abide" / "participants.tsv"
    with pytest.raises(LabelError, match=r"participant_id of .* holds none of the identifiers.*--id-column file_id"):
        match_participants(runs, table)
    matched = match_participants(runs, table, "file_id")
    assert matched.entities[0] == {"sub": "0051456"}
    assert matched.motion[0] == 0.1862015944
    assert matched.unmatched == []
    assert matched.table is not None
    assert list(matched.table.columns)[:2] == ["participant_id", "file_id"]
    assert matched.notes[0] == f"754 participants were matched by the column file_id of {table}."


def test_no_other_column_is_ever_tried(tmp_path):
    """Ages that look like identifiers: the zeros that a spreadsheet kept must not hand series to other people."""
    rows = [f"sub-{number:03d}\t{65 - number}\t{'pat' if number % 2 else 'con'}" for number in range(21, 45)]
    (tmp_path / "p.tsv").write_text("participant_id\tage\tdx\n" + "\n".join(rows) + "\n")
    runs = [_run(2, 3, str(number)) for number in range(21, 45)]
    matched = match_participants(runs, tmp_path / "p.tsv")
    assert [each["sub"] for each in matched.entities] == [f"{number:03d}" for number in range(21, 45)]
    assert "24 participants are spelled differently" in matched.notes[1]
    with pytest.raises(LabelError, match="holds none of the identifiers"):
        match_participants(runs, tmp_path / "p.tsv", exact=True)


def test_who_is_not_in_the_table_is_listed_and_kept(tmp_path):
    (tmp_path / "p.tsv").write_text("participant_id\tdx\nsub-a_1\t2\nc\t\n")
    matched = match_participants([_run(2, 3, "a_1"), _run(2, 3, "b 2")], tmp_path / "p.tsv")
    assert [each["sub"] for each in matched.entities] == ["a1", "b2"]
    assert matched.unmatched == ["b 2"]
    assert matched.table is not None
    assert matched.table.values.tolist() == [["sub-a1", "2"], ["sub-c", "n/a"]]


def test_two_identifiers_that_become_one_label_are_refused(tmp_path):
    with pytest.raises(UsageError, match="'a-1' and 'a_1'"):
        match_participants([_run(2, 3, "a-1"), _run(2, 3, "a_1")], None)


def test_a_stack_without_identifiers_follows_the_rows_of_the_table(tmp_path):
    (tmp_path / "p.csv").write_text("participant_id,dx\nx,1\ny,2\n")
    np.save(tmp_path / "stack.npy", np.zeros((2, 4, 3)))
    matched = match_participants(find_arrays(tmp_path / "stack.npy").runs, tmp_path / "p.csv")
    assert [each["sub"] for each in matched.entities] == ["x", "y"]
    assert "in the order of the rows" in matched.notes[0]


def test_a_table_without_participant_id_takes_it_from_the_column_that_is_named(tmp_path):
    (tmp_path / "p.tsv").write_text("dx\tBIDS_ID\n1\tsub-001\n")
    with pytest.raises(LabelError, match=r"a column participant_id is expected.*--id-column BIDS_ID"):
        match_participants([_run(2, 3, "sub-001")], tmp_path / "p.tsv")
    matched = match_participants([_run(2, 3, "sub-001")], tmp_path / "p.tsv", "BIDS_ID")
    assert matched.table is not None
    assert matched.table.to_dict("list") == {"participant_id": ["sub-001"], "dx": ["1"], "BIDS_ID": ["sub-001"]}
    (tmp_path / "p.tsv").write_text("BIDS_ID\tdx\nsub-001\t1\nsub-001\t2\n")
    with pytest.raises(LabelError, match="001 more than once"):
        match_participants([_run(2, 3, "sub-001")], tmp_path / "p.tsv", "BIDS_ID")


def test_rows_without_an_identifier_are_no_participants_and_one_key_is_one_participant(tmp_path):
    (tmp_path / "p.tsv").write_text("participant_id\tdx\n01\ta\n02\tb\n\tx\n\ty\n")
    matched = match_participants([_run(2, 3, "01")], tmp_path / "p.tsv")
    assert matched.table is not None
    assert matched.table["participant_id"].tolist() == ["sub-01", "sub-02"]
    assert matched.notes[0] == "p.tsv: 2 rows without a participant_id were ignored."
    (tmp_path / "p.tsv").write_text("participant_id\tFILE_ID\ns1\t01\ns2\t01\ns3\t02\n")
    with pytest.raises(LabelError, match="FILE_ID 01 is of s1 and of s2; one participant is expected"):
        match_participants([_run(2, 3, "01")], tmp_path / "p.tsv", "FILE_ID")


def test_a_key_with_an_underscore_that_is_no_bids_name_is_the_participant_as_a_whole():
    assert stated_entities(_run(2, 3, "sub-NYU_0051036")) == {"sub": "NYU_0051036"}
    assert stated_entities(_run(2, 3, "sub-A1_bold")) == {"sub": "A1"}


def test_a_key_that_is_a_bids_name_states_its_entities():
    assert stated_entities(_run(2, 3, "sub-01_task-rest_run-2_space-T1w_timeseries")) == {
        "sub": "01",
        "task": "rest",
        "run": "2",
    }
