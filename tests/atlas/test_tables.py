"""Label tables as they are met in the wild."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_neurossm.atlas.tables import LabelTable, network_of, read_label_table
from bids_neurossm.errors import ResourceMissingError, UsageError

PLAIN = LabelTable((1, 2), ("7Networks_LH_Vis_1", "Caudate"), ("Vis", "n/a"))


def test_a_byte_order_mark_and_windows_line_ends_read_the_same(shared_data: Path, tmp_path: Path) -> None:
    kept = shared_data / "atlases" / "schaefer400_labels_with_bom_and_crlf.tsv"
    raw = kept.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    assert b"\r\n" in raw
    plain = tmp_path / "plain.tsv"
    plain.write_bytes(raw[3:].replace(b"\r\n", b"\n"))
    table = read_label_table(kept)
    assert table == read_label_table(plain)
    assert table == read_label_table(shared_data / "atlases" / "Schaefer2018_400Parcels_7Networks_order.txt")
    assert table.names[0] == "7Networks_LH_Vis_1"


def test_the_tables_of_both_templateflow_spaces_are_one(templateflow_home: Path) -> None:
    first, second = (read_label_table(path) for path in sorted(templateflow_home.glob("*/*_dseg.tsv")))
    assert first == second
    assert first.labels == tuple(range(1, 401))
    assert set(first.networks) == {"Vis", "SomMot", "DorsAttn", "SalVentAttn", "Limbic", "Cont", "Default"}


@pytest.mark.parametrize("parcels", [100, 400])
def test_the_order_files_of_cbig_have_one_name_per_parcel(shared_data: Path, parcels: int) -> None:
    table = read_label_table(shared_data / "atlases" / f"Schaefer2018_{parcels}Parcels_7Networks_order.txt")
    assert table.labels == tuple(range(1, parcels + 1))
    assert len(set(table.names)) == parcels
    assert sum("_LH_" in name for name in table.names) == parcels // 2


def test_aal3_has_166_regions_with_gaps(shared_data: Path) -> None:
    table = read_label_table(shared_data / "atlases" / "aal3" / "AAL3v1.xml")
    assert len(table.labels) == len(set(table.names)) == 166
    assert sorted(set(range(1, 171)) - set(table.labels)) == [35, 36, 81, 82]
    assert table.names[table.labels.index(1)] == "Precentral_L"
    assert set(table.networks) == {"n/a"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "index\tname\tcolor\n1\t7Networks_LH_Vis_1\t#fff\n2\tCaudate\t#000\n"),
        ("a.tsv", "index\tname\n2\tCaudate\n0\tBackground\n1.0\t 7Networks_LH_Vis_1 \n\n"),
        ("a.tsv", "Name\tIndex\n7Networks_LH_Vis_1\t1\nCaudate\t2\n"),
        ("a.tsv", "index\tlabel\n1\t7Networks_LH_Vis_1\n2\tCaudate\n"),
        ("a.csv", "value,region\r\n1,7Networks_LH_Vis_1\r\n2,Caudate\r\n"),
        ("a.txt", "1\t7Networks_LH_Vis_1\t120\t18\t131\t0\n2 Caudate 1 2 3 0\n"),
        (
            "a.xml",
            "<atlas><data><label><index>1</index><name>7Networks_LH_Vis_1</name></label>"
            "<label><index>2</index><name>Caudate</name></label></data></atlas>",
        ),
    ],
)
def test_forms_of_one_table_read_alike(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    assert read_label_table(tmp_path / name) == PLAIN


def test_a_network_column_wins_over_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("index\tname\tnetwork\n1\t7Networks_LH_Vis_1\tVisual\n2\tCaudate\t\n")
    assert read_label_table(tmp_path / "a.tsv").networks == ("Visual", "n/a")


@pytest.mark.parametrize(
    ("name", "network"),
    [("7Networks_LH_SalVentAttn_Med_1", "SalVentAttn"), ("17Networks_RH_ContA_Cingm_1", "ContA"), ("Caudate", "n/a")],
)
def test_networks_are_read_from_names_of_schaefer(name: str, network: str) -> None:
    assert network_of(name) == network


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "index\tcolor\n1\t#fff\n", "has the columns index, color; index and name are expected"),
        ("a.tsv", "index\tname\n1\tA\n1\tB\n", "has the label 1 more than once"),
        ("a.tsv", "index\tname\n1\tA\n2\tA\n", "has the name A more than once"),
        ("a.tsv", "index\tname\none\tA\n", "'one' is not a label"),
        ("a.tsv", "index\tname\n1.5\tA\n", "'1.5' is not a label"),
        ("a.tsv", "index\tname\n-1\tA\n", "'-1' is not a label"),
        ("a.tsv", "index\tname\n1\n", "has 1 cells, the first line has 2"),
        ("a.tsv", "index\tname\n", "names no region"),
        ("a.tsv", "index\tname\n0\tBackground\n", "names no region"),
        ("a.txt", "1\n", "has no name"),
        ("a.xml", "<atlas>", "is not valid XML"),
        ("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><atlas/>', "declares XML entities"),
    ],
)
def test_tables_that_can_not_be_understood_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read_label_table(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes("index\tname\n1\tNoyau caudé\n".encode("latin-1"))
    with pytest.raises(UsageError, match="is not UTF-8"):
        read_label_table(tmp_path / "a.tsv")


@pytest.mark.parametrize("content", [None, b""])
def test_an_absent_or_empty_table_is_a_missing_resource(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.tsv").write_bytes(content)
    with pytest.raises(ResourceMissingError, match=r"is missing|is empty"):
        read_label_table(tmp_path / "a.tsv")
