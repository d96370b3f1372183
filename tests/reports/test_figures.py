"""What the figures are made of: orders, scales, curves and maps with a known answer."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_neurossm.errors import RunError
from bids_neurossm.reports.figures.display import on_display_grid
from bids_neurossm.reports.figures.explanations import reference_matrix
from bids_neurossm.reports.figures.predictions import confusion_matrix, roc_curves
from bids_neurossm.reports.figures.runs import carpet, network_order, segment_starts, z_scored
from bids_neurossm.reports.group_maps import find_maps
from bids_neurossm.reports.tables import number, read_matrix, read_table, with_interval


def test_networks_are_sorted_by_first_appearance_and_regions_keep_their_order() -> None:
    order, blocks = network_order(["Vis", "Default", "Vis", ""])
    assert order.tolist() == [0, 2, 1, 3]
    assert blocks == [("Vis", 0, 2), ("Default", 2, 3), ("no network", 3, 4)]


def test_a_dead_region_is_blank_in_the_carpet_and_not_zero() -> None:
    series = np.array([[1.0, 5.0, np.nan], [3.0, 5.0, np.nan]])
    scored = z_scored(series)
    assert scored[:, 0].tolist() == [-1.0, 1.0]
    assert np.isnan(scored[:, 1:]).all()


@pytest.mark.parametrize(
    ("segments", "rows", "starts"),
    [([[4, 100], [102, 240]], 234, [96]), ([[0, 10]], 10, []), ([[0, 10], [12, 20]], 99, []), ([], 10, [])],
)
def test_segments_are_marked_only_where_they_add_up_to_the_rows(
    segments: list[list[int]], rows: int, starts: list[int]
) -> None:
    assert segment_starts(segments, rows) == starts


def test_the_area_under_the_curve_is_taken_per_fold_and_then_averaged() -> None:
    # Each fold is told apart perfectly, on scales so different that the pooled scores would mix the classes.
    predictions = pd.DataFrame(
        {
            "fold": ["1", "1", "2", "2"],
            "label": ["a", "b", "a", "b"],
            "probability_b": [0.10, 0.20, 0.80, 0.90],
        }
    )
    picture = roc_curves(predictions, ["a", "b"], "participants")
    assert picture is not None
    assert picture.alt == "ROC curves; area under the curve: b 1.00."
    assert "n = 4 participants, mean of 2 folds" in picture.caption


def test_a_fold_with_one_class_has_no_curve() -> None:
    predictions = pd.DataFrame({"fold": ["1", "1"], "label": ["a", "a"], "probability_b": [0.1, 0.2]})
    assert roc_curves(predictions, ["a", "b"], "participants") is None


def test_the_confusion_matrix_counts_every_class_even_one_never_predicted() -> None:
    predictions = pd.DataFrame({"label": ["a", "b", "b", "c"], "predicted": ["a", "a", "b", "b"]})
    picture = confusion_matrix(predictions, ["a", "b", "c"], "runs")
    assert picture is not None
    assert picture.alt == "Confusion matrix of 3 classes, 2 of 4 right."


def test_the_reference_matrix_marks_what_survives_holm() -> None:
    rows = [(a, b, 0.5 if a == b else -0.1, 0.01 if a == b else 0.9) for a in "xyz" for b in "xyz"]
    picture = reference_matrix(pd.DataFrame(rows, columns=["row_class", "column_class", "rho", "p_holm"]))
    assert picture is not None
    svg = unquote(picture.source)
    assert svg.count("0.50*") == 3
    assert svg.count("−0.10<") == 6


def test_a_dollar_sign_in_a_name_is_no_mathematics() -> None:
    series = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 2)), columns=["a", "b"])
    picture = carpet(series, ["$x_1$ <b>", "other"], 2.0, [], None)
    assert "$x_1$ &lt;b&gt;" in unquote(picture.source)


def test_left_stays_left_whichever_way_the_image_is_stored(tmp_path: Path) -> None:
    affine = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
    data = np.full((91, 109, 91), np.nan, dtype=np.float32)
    # Stored right to left: voxel 65 lies at 90 - 2 x 65 = -40 mm, left of the midline.
    data[65, 60, 45] = 7
    path = tmp_path / "map.nii.gz"
    nib.save(nib.Nifti1Image(data, affine), path)
    values = on_display_grid(path)
    assert np.argwhere(values == 7).tolist() == [[25, 60, 45]]
    assert np.isfinite(values).sum() == 1


def test_an_image_of_four_dimensions_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "map.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2, 2), dtype=np.float32), np.eye(4)), path)
    with pytest.raises(RunError, match="4 dimensions"):
        on_display_grid(path)


def test_maps_are_found_by_class_and_other_files_are_left_alone(tmp_path: Path) -> None:
    start = "space-S_atlas-A_seg-7Networks_scale-400"
    for name in (
        f"{start}_stat-cpa_boldmap.nii.gz",
        f"{start}_label-Control_stat-cpa_boldmap.nii.gz",
        f"{start}_label-Control_stat-cpa_desc-top25_mask.nii.gz",
        f"{start}_label-Control_stat-neurosynth_boldmap.nii.gz",
        f"{start}_stat-cpa_regions.tsv",
        f".{start}_stat-cpa_boldmap.nii.gz.12.tmp",
    ):
        (tmp_path / name).touch()
    found = {maps.label: sorted(maps.files) for maps in find_maps(tmp_path)}
    assert found == {"": ["cpa"], "Control": ["cpa", "cpa-top25", "neurosynth"]}


def test_labels_stay_text_and_only_na_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "predictions.tsv"
    path.write_text("participant_id\tlabel\tfold\tvalue\n001\tNA\t1\tn/a\n002\tNone\tall\t0.5\n")
    table = read_table(path)
    assert table is not None
    assert table["participant_id"].tolist() == ["001", "002"]
    assert table["label"].tolist() == ["NA", "None"]
    assert table["fold"].tolist() == ["1", "all"]
    assert np.isnan(table["value"][0])


def test_a_matrix_is_read_with_or_without_a_column_of_names_and_must_be_square(tmp_path: Path) -> None:
    path = tmp_path / "relmat.tsv"
    for text in ("a\tb\n1\t0.5\n0.5\tn/a\n", "name\ta\tb\na\t1\t0.5\nb\t0.5\tn/a\n"):
        path.write_text(text)
        found = read_matrix(path)
        assert found is not None
        names, matrix = found
        assert names == ["a", "b"]
        np.testing.assert_array_equal(matrix.to_numpy(), [[1, 0.5], [0.5, np.nan]])
    path.write_text("a\tb\n1\t0.5\n")
    with pytest.raises(RunError, match="square"):
        read_matrix(path)


def test_numbers_are_laid_out_for_reading() -> None:
    assert [number(value) for value in (1234, -0.25, np.float64(0.001), True, "text", np.nan)] == [
        "1,234", "−0.25", "<0.01", "yes", "text", "–",
    ]  # fmt: skip
    assert with_interval(0.71234, 0.65, 0.77) == "0.712 [0.650, 0.770]"
    assert with_interval(0.71234, None, None) == "0.712"
