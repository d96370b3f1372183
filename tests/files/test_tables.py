"""The one reader of delimited text: what labs write is read as it was meant, or refused with the line."""

from __future__ import annotations

import gzip
import random
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.errors import LabelError, RunError
from bids_neurossm.files.safe_reading import read_gzip
from bids_neurossm.files.tables import read_delimited, read_first_rows, read_output, read_table
from bids_neurossm.files.write import write_tsv


def rows(folder: Path, text: str | bytes, name: str = "a.tsv") -> list[list[str]]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    table = read_table(path, LabelError)
    whole = read_delimited(path, LabelError)
    assert read_first_rows(path, LabelError) == [whole.first, *whole.rows][:2]
    return [list(table.columns), *table.to_numpy().tolist()]


PLAIN = [["participant_id", "dx"], ["sub-01", "PD"], ["sub-02", "HC"]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "participant_id\tdx\nsub-01\tPD\nsub-02\tHC\n"),
        ("a.tsv", "participant_id\tdx\nsub-01\tPD\nsub-02\tHC"),
        ("a.tsv", "participant_id\tdx\r\nsub-01\tPD\r\nsub-02\tHC\r\n"),
        ("a.tsv", "participant_id\tdx\rsub-01\tPD\rsub-02\tHC\r"),
        ("a.tsv", "\ufeffparticipant_id\tdx\nsub-01\tPD\nsub-02\tHC\n"),
        ("a.tsv", "\nparticipant_id\tdx\n\nsub-01\tPD\n \t \nsub-02\tHC\n\n"),
        ("a.tsv", "participant_id\tdx\t\t\nsub-01\tPD\t\t\nsub-02\tHC\n"),
        ("a.tsv", '"participant_id"\t"dx"\n"sub-01"\t"PD"\n"sub-02"\t"HC"\n'),  # R's write.table
        ("a.csv", "participant_id,dx\nsub-01,PD\nsub-02,HC\n"),
        ("a.csv", '"participant_id","dx"\r\n"sub-01","PD"\r\n"sub-02","HC"\r\n'),
        ("a.csv", '"","participant_id","dx"\n"1","sub-01","PD"\n"2","sub-02","HC"\n'),  # R's write.csv
        ("a.csv", "participant_id;dx\nsub-01;PD\nsub-02;HC\n"),  # spreadsheets with a decimal comma
        ("a.csv", "sep=;\r\nparticipant_id;dx\r\nsub-01;PD\r\nsub-02;HC\r\n"),
        ("a.csv", "participant_id\tdx\nsub-01\tPD\nsub-02\tHC\n"),
    ],
)
def test_one_table_in_many_hands(tmp_path: Path, name: str, text: str) -> None:
    assert rows(tmp_path, text, name) == PLAIN


def test_a_stray_quote_is_a_character_and_swallows_no_row(tmp_path: Path) -> None:
    text = 'participant_id\tnote\tdx\nsub-01\t"early onset\tAD\nsub-02\t5" scar\tHC\nsub-03\tfell"\tHC\n'
    assert rows(tmp_path, text)[1:] == [
        ["sub-01", '"early onset', "AD"],
        ["sub-02", '5" scar', "HC"],
        ["sub-03", 'fell"', "HC"],
    ]


def test_a_cell_in_quotes_may_hold_a_tab_and_doubled_quotes(tmp_path: Path) -> None:
    text = 'participant_id\tnote\tdx\nsub-01\t"a\tb"\tAD\nsub-02\t"says ""no"""\tHC\nsub-03\t""\tHC\n'
    assert [row[1] for row in rows(tmp_path, text)[1:]] == ["a\tb", 'says "no"', ""]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"a\tb\n1\t2\n3\n", "line 3, which begins with '3', has 1 cells, the first line has 2"),
        ("a.tsv", b"a\tb\n\n1\t2\t3\t4\n", "line 3, which begins with '1', has 4 cells, the first line has 2"),
        ("a.tsv", b"a\tb\n1\t1\t2\n", "use row.names = FALSE"),
        ("a.tsv", b'a\tb\tc\n1\t"x\ty"\n', "line 2, which begins with '1', has 2 cells"),
        ("a.tsv", b"a,b\n1\t2\n", "separated by commas"),
        ("a.csv", b"a,b\n1,2,3\n", "line 2, which begins with '1', has 3 cells"),
        ("a.csv", b'a,b\n1,"2\n3,4\n', "line 2 is not comma-separated text"),
        ("a.tsv", b"a\ta\n1\t2\n", "two columns called 'a'"),
        ("a.tsv", b"", "is empty"),
        ("a.tsv", b"\n \n", "is blank"),
        ("a.tsv", "a\tb\n1\t2\n".encode("utf-16"), "UTF-16 text.*save it as UTF-8"),
        ("a.tsv", "a\tb\n1\té\n".encode("latin-1"), "line 2 is not UTF-8.*save it as UTF-8"),
        ("a.tsv", b"a\tb\n1\t\0\n", "zero bytes.*save it as UTF-8"),
        ("a.tsv", b"PK\x03\x04...", "is a spreadsheet.*save it as UTF-8"),
        ("a.tsv", b"version https://git-lfs.x/spec/v1\noid sha256:0\n", "pointer of Git LFS.*git lfs pull"),
        ("a.tsv", b"/annex/objects/MD5E-s12--abc.tsv\n", "pointer of git-annex.*datalad get"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LabelError, match=message) as caught:
        read_table(path, LabelError)
    assert str(path) in str(caught.value)


def test_a_link_without_content_and_an_absent_file_are_two_things(tmp_path: Path) -> None:
    link = tmp_path / "link.tsv"
    link.symlink_to(".git/annex/objects/x/key")
    with pytest.raises(LabelError, match=r"content was not fetched; run `datalad get .*link\.tsv`"):
        read_table(link, LabelError)
    with pytest.raises(LabelError, match=r"absent\.tsv cannot be read: No such file"):
        read_table(tmp_path / "absent.tsv", LabelError)


def test_typed_columns_are_numbers_only_where_every_cell_is(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("x\ty\tz\n1.5\t1\tn/a\nn/a\ttwo\t3\n\t3\t4\n")
    table = read_delimited(tmp_path / "a.tsv", LabelError).typed()
    assert table["x"].dtype == float
    assert table["x"].fillna(-1).tolist() == [1.5, -1, -1]
    assert table["y"].tolist() == ["1", "two", "3"]
    assert table["z"].fillna(-1).tolist() == [-1, 3, 4]


def test_our_own_tables_keep_names_that_look_like_something_else(tmp_path: Path) -> None:
    table = pd.DataFrame({"label": ["None", "NA", "01", None], "value": [0.25, np.nan, 1.0, 2.0]})
    write_tsv(tmp_path / "a.tsv", table)
    again = read_output(tmp_path / "a.tsv", LabelError)
    assert again["label"].tolist()[:3] == ["None", "NA", "01"]
    assert pd.isna(again["label"].iloc[3])
    assert again["value"].fillna(-1).tolist() == [0.25, -1, 1, 2]


ALPHABET = [
    '"',
    '""',
    "\t",
    " ",
    "'",
    ",",
    ";",
    "a",
    "0",
    "-",
    "é",
    "ß",
    "中",
    "\u2028",
    "\x0b",
    "\xa0",
    "n/a",
    "#",
    "\\",
    "|",
]


def random_table(seed: int) -> pd.DataFrame:
    chance = random.Random(seed)
    names = [f"c{index}" for index in range(chance.randint(1, 6))]
    cell = lambda: "".join(chance.choices(ALPHABET, k=chance.randint(0, 6)))  # noqa: E731
    table = [[cell() for _ in names] for _ in range(chance.randint(1, 8))]
    # The first column is never blank: a blank line is no row.
    return pd.DataFrame([[f"sub-{index}{row[0].strip()}", *row[1:]] for index, row in enumerate(table)], columns=names)


@pytest.mark.parametrize("start", [0, pytest.param(1_000, marks=pytest.mark.exhaustive)])
def test_what_is_written_is_read_back_to_the_character(tmp_path: Path, start: int) -> None:
    path = tmp_path / "a.tsv"
    for seed in range(start, start + (1_000 if start == 0 else 9_000)):
        table = random_table(seed)
        write_tsv(path, table)
        again = read_table(path, LabelError)
        assert again.to_numpy().tolist() == table.to_numpy().tolist(), seed
        assert list(again.columns) == list(table.columns)


@pytest.mark.parametrize("start", [0, pytest.param(1_000, marks=pytest.mark.exhaustive)])
def test_text_of_others_is_read_row_by_row_or_refused(tmp_path: Path, start: int) -> None:
    """Raw cells with quotes anywhere: a row either keeps its own cells, or the table is refused; none moves."""
    path = tmp_path / "a.tsv"
    refused = 0
    total = 1_000 if start == 0 else 9_000
    for seed in range(start, start + total):
        chance = random.Random(seed)
        cells = [
            [
                f"sub-{row:02d}",
                *("".join(chance.choices(['"', "a", " ", "b"], k=chance.randint(0, 4))) for _ in range(2)),
                f"L{row}",
            ]
            for row in range(6)
        ]
        path.write_text("id\tx\ty\tlabel\n" + "".join("\t".join(row) + "\n" for row in cells))
        try:
            table = read_table(path, LabelError)
        except LabelError as error:
            refused += 1
            named = "line " in str(error)
            if not named:
                raise
            continue
        assert table["id"].tolist() == [row[0] for row in cells]
        assert table["label"].tolist() == [row[3] for row in cells]
    assert 0 < refused < total


def test_a_table_of_very_many_columns_is_a_sentence(tmp_path):
    (tmp_path / "x.tsv").write_text("\t".join(f"c{number}" for number in range(100_001)) + "\n")
    with pytest.raises(RunError, match="has 100001 columns; at most 100000 are read"):
        read_table(tmp_path / "x.tsv", RunError)


def test_names_of_very_many_columns_are_compared_in_seconds(tmp_path):
    header = "\t".join(f"c{number}" for number in range(100_000))
    (tmp_path / "x.tsv").write_text(f"{header}\n{header}\n")
    began = time.process_time()
    assert read_table(tmp_path / "x.tsv", RunError).shape == (1, 100_000)
    assert time.process_time() - began < 20


def test_a_gzipped_table_is_read_as_far_as_it_may_unpack(tmp_path):
    path = tmp_path / "x.tsv.gz"
    path.write_bytes(gzip.compress(b"x" * 2 * 1024**2))
    assert len(read_gzip(path, RunError, 2 * 1024**2)) == 2 * 1024**2
    with pytest.raises(RunError, match="unpacks to more than 1 MiB"):
        read_gzip(path, RunError, 1024**2)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RunError, match="the file is damaged"):
        read_gzip(path, RunError, 2 * 1024**2)
