"""Parts of the reports: counts, verdicts, methods, what the viewer is fed with, the cortex, failures of the past."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from bids_neurossm.evaluation.calibration import temperatures
from bids_neurossm.evaluation.comparison import compare
from bids_neurossm.evaluation.metric_tables import metric_table
from bids_neurossm.reports.bibliography import cited_in, references
from bids_neurossm.reports.figures import surface
from bids_neurossm.reports.figures.canvas import CATEGORIES
from bids_neurossm.reports.figures.display import ORIGIN, SHAPE, STEP, background
from bids_neurossm.reports.figures.predictions import calibration_curve
from bids_neurossm.reports.group_cohort import cohort_tables, fold_table, site_table
from bids_neurossm.reports.group_tables import checks_table, comparison_table, region_tables
from bids_neurossm.reports.group_text import headline
from bids_neurossm.reports.methods import group_methods, series_text
from bids_neurossm.reports.run_files import find_runs, past_failures
from bids_neurossm.reports.series import explorer_data
from bids_neurossm.reports.tables import read_json, read_table
from bids_neurossm.reports.viewer import find_labels, viewer_data


def test_runs_of_two_labels_are_counted_under_both_and_people_once() -> None:
    splits = pd.DataFrame(
        {"participant_id": ["1", "2", "3"], "label": ["flanker, nback", "flanker", "flanker, nback"]}
    ).assign(set=["development", "development", "holdout"])
    summary = {"classes": ["flanker", "nback"], "class_counts": {"flanker": 4, "nback": 2}, "scored": "run"}
    table = cohort_tables(summary, splits, None, None)["sets"]
    assert table.header == ("Label", "Out-of-fold", "Holdout", "Runs")
    assert table.rows == (("flanker", "2", "1", "4"), ("nback", "1", "1", "2"), ("all", "2", "1", "6"))


def test_scores_are_told_by_fold_and_by_site() -> None:
    rows = [(model, "development", fold, "auc", value, 10) for model, value in (("neurossm", 0.8), ("majority", 0.5))
            for fold in ("1", "2", "10")]  # fmt: skip
    metrics = pd.DataFrame(rows, columns=["model", "set", "fold", "metric", "value", "n"])
    table = fold_table(metrics, "neurossm", "development", ["auc"])
    assert table is not None
    assert [row[0] for row in table.rows] == ["1", "2", "10"]
    assert table.rows[0] == ("1", "10", "0.80", "0.50")
    units = pd.DataFrame(
        {"site": ["A", "A", "B", "B"], "label": ["x", "y", "x", "x"], "predicted": ["x", "x", "x", "y"]}
    )
    sites = site_table(units, ["x", "y"])
    assert sites is not None
    # Site B has one class only, so balanced accuracy is not defined there.
    assert sites.rows == (("A", "2", "0.50", "0.50"), ("B", "2", "0.50", "–"))


def test_the_headline_says_what_is_shown_and_what_is_not() -> None:
    overall = pd.DataFrame([("neurossm", "development", "auc", 0.7, 0.6, 0.8, 60)],
                           columns=["model", "set", "metric", "value", "ci_low", "ci_high", "n"])  # fmt: skip
    comparison = pd.DataFrame(
        [("majority", "auc", 0.2, 0.1, 0.3, 0.001), ("covariates", "auc", 0.1, -0.2, 0.4, 0.4)],
        columns=["baseline", "metric", "difference", "ci_low", "ci_high", "p"],
    )
    controls = pd.DataFrame(
        {"control": ["labels permuted"], "verdict": ["nothing learned: chance does as well (p = 0.3)"]}
    )
    said = headline({"classes": ["a", "b"]}, overall, comparison, controls, "neurossm", "auc")
    assert said == (
        "NeuroSSM tells a from b with AUC 0.700 [0.600, 0.800] (out-of-fold, n = 60 participants). It beats guessing "
        "(majority class) (difference 0.20 [0.10, 0.30]); it can not be told apart from covariates only (difference "
        "0.10 [−0.20, 0.40]). Permutation: nothing learned: chance does as well (p = 0.3)."
    )


def test_headline_table_and_sentence_agree_where_folds_that_are_all_alike_allow_no_test() -> None:
    """Every fold told apart without an error: no spread, so no interval and no test, and nobody says "beats"."""
    people = pd.DataFrame({"unit": [f"sub-{i:02d}" for i in range(20)], "label": ["a", "b"] * 10})
    people = people.assign(set="development", split=1, fold=people.index // 4 + 1, group=people["unit"], site="")
    logits = {"neurossm": (people["label"] == "b") * 2.0 - 1, "majority": 0.0}
    units = pd.concat([people.assign(model=name, logit_0=0.0, logit_1=value) for name, value in logits.items()])
    comparison = compare(units, "neurossm", ["a", "b"], ["auc"]).rename(
        columns={"low": "ci_low", "high": "ci_high", "verdict": "sentence"}
    )
    overall = metric_table(units, temperatures(units, ["a", "b"]), ["a", "b"], resamples=20)
    overall = overall[overall["fold"] == "all"]
    said = headline({"classes": ["a", "b"]}, overall, comparison, None, "neurossm", "auc")
    assert said == (
        "NeuroSSM tells a from b with AUC 1.000 (out-of-fold, n = 20 participants). It is ahead of guessing (majority "
        "class) (difference 0.50, no test)."
    )
    table = comparison_table(comparison, "neurossm")
    assert table is not None
    assert dict(zip(table.header, table.rows[0], strict=True))["The model"] == "is ahead of"
    assert comparison["sentence"].item() == (
        "neurossm is ahead of majority, by 0.500 in each of 5 folds (AUC 1.000 against 0.500): no test, as folds that "
        "are all alike do not say how much the difference would vary."
    )


def test_checks_that_others_added_are_shown_with_their_columns() -> None:
    table = checks_table(
        pd.DataFrame({"check": ["deletion curve"], "value": [0.31], "verdict": ["passed"], "by": ["me"]})
    )
    assert table is not None
    assert table.header == ("Check", "Value", "Verdict", "By")
    assert table.rows == (("deletion curve", "0.31", "passed", "me"),)


def test_the_region_table_holds_every_region_and_sorts_by_unrounded_values() -> None:
    regions = pd.DataFrame({"label": "x", "name": ["a", "b"], "network": ["N", "M"], "importance": [0.12341, 0.12342]})
    (table,) = region_tables(regions)
    assert [row[0] for row in table.rows] == ["b", "a"]
    assert [row[2] for row in table.rows] == ["0.123", "0.123"]
    assert [row[2] for row in table.raw] == ["0.12342", "0.12341"]
    assert table.filters == (1,)


def test_probabilities_that_can_be_taken_at_their_word_lie_on_the_diagonal() -> None:
    stated = np.repeat([0.1, 0.5, 0.9], 100)
    right = np.concatenate([np.arange(100) < share for share in (10, 50, 90)])
    rows = pd.DataFrame({"label": np.where(right, "b", "a"), "probability_a": 1 - stated, "probability_b": stated})
    picture = calibration_curve(rows, ["a", "b"], "participants")
    assert picture is not None
    assert picture.caption.startswith("Calibration, n = 300 participants in 10 bins")
    assert calibration_curve(rows.head(19), ["a", "b"], "participants") is None


def test_the_methods_cite_what_was_used_and_only_that() -> None:
    summary = {"methods": "neurossm predicts sex_at_birth in 5 % of cases.", "versions": {"torch": "2.6.0"}}
    terms = pd.DataFrame({"class": ["wm"], "term": ["n back"], "used": ["True"]})
    reference = pd.DataFrame({"rho": [0.4], "n_regions": [48], "n_surrogates": [1000]})
    methods = group_methods(summary, reference, terms, "Series of HarvardOxford48.")
    keys = [source.key for source in methods.sources]
    assert {"genc2026", "desikan2006", "salo2023", "freedman1983", "paszke2019"} <= set(keys)
    assert not {"schaefer2018", "nadeau2003", "fortin2018"} & set(keys)
    assert "sex\\_at\\_birth in 5 \\% of cases" in methods.latex()
    assert "\\cite{" in methods.latex()
    assert "[@desikan2006]" in methods.markdown()
    assert "terms of wm: n back" in methods.markdown()
    assert methods.bibtex().count("@") == len(keys)


def test_every_source_can_be_written_down() -> None:
    assert len({source.key for source in references()}) == len(references())
    for source in references():
        assert source.words
        assert source.text().count("(") >= 1
        assert not set("{}\\") & set(source.text())
    (mamba,) = [source for source in cited_in("a state-space model") if source.key == "gu2023"]
    assert mamba.text().startswith("Gu A, Dao T (2023). Mamba: Linear-Time Sequence Modeling")


def test_what_is_not_known_of_a_series_is_not_said() -> None:
    facts = {"HighPass": "n/a", "LowPass": 0.1, "FramewiseDisplacementThreshold": "n/a", "ConfoundColumns": ["csf"]}
    text = series_text(facts | {"DenoisingStrategy": "mine"}, "mine", 48)
    assert "n/a" not in text
    assert "below 0.1 Hz" in text
    assert "censored" not in text


def unpacked(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(gzip.decompress(base64.b64decode(text)), dtype=dtype)


def test_the_viewer_gets_the_regions_where_they_are() -> None:
    labels = np.zeros(SHAPE, dtype=np.int32)
    labels[20:30, 50:60, 40:50] = 7  # left of the midline
    labels[60:70, 50:60, 40:50] = 3
    regions = pd.DataFrame({"index": [3, 7, 9], "name": ["right", "left", "elsewhere"], "network": ["A", "B", "C"]})
    layer = {"group": "x", "name": "CPA score", "kind": "magnitude", "unit": "", "values": [0.1, 0.9, 0.0]}
    data = viewer_data(labels, regions, [layer])
    assert data is not None
    places = unpacked(data["labels"], "<u2").reshape(SHAPE, order="F")
    assert set(np.unique(places[labels == 7])) == {2}
    assert set(np.unique(places[labels == 3])) == {1}
    assert data["centres"][2] is None
    assert labels[tuple(data["centres"][1])] == 7
    anatomy = unpacked(data["anatomy"], "u1").reshape(SHAPE, order="F")
    np.testing.assert_array_equal(anatomy > 0, np.nan_to_num(background()) * 63 / np.nanmax(background()) >= 0.5)
    assert viewer_data(labels, regions, []) is None


def test_the_atlas_is_found_by_its_entities(tmp_path: Path) -> None:
    folder = tmp_path / "tpl-S"
    folder.mkdir()
    for name in ("atlas-A_scale-400", "atlas-A_seg-7Networks_scale-400_res-02", "atlas-AB_scale-400"):
        (folder / f"tpl-S_{name}_dseg.nii.gz").touch()
    found = find_labels(tmp_path, "sub-01_space-S_atlas-A_seg-7Networks_scale-400")
    assert found is not None
    assert found.name == "tpl-S_atlas-A_seg-7Networks_scale-400_res-02_dseg.nii.gz"
    assert find_labels(tmp_path, "space-S_atlas-A_scale-100_stat-cpa") is None
    assert find_labels(tmp_path, "space-T_atlas-A_scale-400") is None


def test_left_is_left_and_front_is_front_on_the_cortex() -> None:
    grid = np.stack(np.meshgrid(*(ORIGIN[i] + STEP * np.arange(SHAPE[i]) for i in range(3)), indexing="ij"))
    halves = np.where(grid[0] < 0, 1.0, 2.0).astype(np.float32)
    fronts = np.where(grid[1] > -18, 1.0, 2.0).astype(np.float32)
    for view, (side, seen) in zip(surface.views(), surface.VIEWS, strict=True):
        shown = view.look_up(halves)
        inside = ~np.isnan(view.shade)
        assert inside.sum() > 40_000
        # Between the hemispheres the cortex lies within a voxel of the midline, and the mesh a little across it.
        assert (shown[inside] == (1 if side == "left" else 2)).mean() > 0.9
        columns = np.broadcast_to(np.arange(inside.shape[1]), inside.shape)
        front = columns[inside & (view.look_up(fronts) == 1)].mean()
        back = columns[inside & (view.look_up(fronts) == 2)].mean()
        # The left hemisphere from outside looks to the left, as does the right one from between.
        assert (front < back) == ((side == "left") == (seen == "lateral"))


def test_a_map_without_a_value_leaves_the_cortex_grey() -> None:
    view = surface.views()[0]
    nothing = np.full(view.shade.shape, np.nan, dtype=np.float32)
    image = surface.paint(view, np.ones((*view.shade.shape, 4)), nothing)
    inside = image[..., 3] == 255
    assert (image[inside][:, 0] == image[inside][:, 2]).all()
    assert set(np.unique(image[..., 3])) == {0, 255}


def test_the_explorer_keeps_what_has_no_signal_apart_from_zero() -> None:
    series = np.array([[1.0, 5.0], [3.0, 5.0], [1.0, 5.0], [3.0, 5.0]])
    data = explorer_data(series, ["a", "b"], ["N", "N"], 2.0, [])
    assert data is not None
    codes = unpacked(data["series"], "i1").reshape(4, 2, order="F")
    np.testing.assert_allclose(codes[:, 0] * data["scale"], [-1, 1, -1, 1], atol=data["scale"])
    assert codes[:, 1].tolist() == [-128] * 4
    assert data["used"] == [True, False]
    assert explorer_data(series[:, 1:], ["b"], ["N"], 2.0, []) is None


def test_runs_that_failed_earlier_are_found_in_the_logs_until_they_have_series(tmp_path: Path) -> None:
    unit = "sub-01_task-nback_space-S"
    events = [
        {"event": "error", "unit": unit, "step": "parcels", "message": f"failed: {unit}: it ends early."},
        {"event": "error", "unit": "sub-012_task-nback_space-S", "step": "parcels", "message": "of another"},
    ]
    for day in ("1", "2"):
        log = tmp_path / "logs" / f"2026110{day}T000000Z_participant_ab" / "run.jsonl"
        log.parent.mkdir(parents=True)
        log.write_text("\n".join(json.dumps(event) for event in events) + '\n{"event": "error", "unit": "sub-01_')
    assert past_failures(tmp_path, "01", []) == [{"run": unit, "step": "parcels", "message": "it ends early."}]
    folder = tmp_path / "sub-01" / "func"
    folder.mkdir(parents=True)
    (folder / f"{unit}_atlas-A_stat-mean_desc-simple_timeseries.tsv").write_text("a\n1\n")
    assert past_failures(tmp_path, "01", find_runs(tmp_path, "01")) == []


def test_the_shades_are_told_apart_by_those_who_do_not_see_red_and_green() -> None:
    # Viénot, Brettel and Mollon (1999): what is left of a colour without the red cones.
    simulate = np.array([[0.1121, 0.8853, -0.0005], [0.1127, 0.8897, -0.0001], [0.0045, 0.0000, 1.0019]])
    colours = np.array([[int(tone[i : i + 2], 16) / 255 for i in (1, 3, 5)] for tone in CATEGORIES[:6]])
    seen = (np.where(colours > 0.04045, ((colours + 0.055) / 1.055) ** 2.4, colours / 12.92) @ simulate.T) ** (1 / 2.4)
    gaps = [np.abs(seen[i] - seen[j]).sum() for i in range(6) for j in range(i)]
    assert min(gaps) > 0.12


def test_the_display_grid_takes_any_orientation(tmp_path: Path) -> None:
    from bids_neurossm.reports.figures.display import on_display_grid

    generator = np.random.default_rng(0)
    data = generator.random((20, 22, 24)).astype(np.float32)
    affine = np.array([[-4.0, 0, 0, 40], [0, 4, 0, -44], [0, 0, 4, -48], [0, 0, 0, 1]])
    turned = np.array([[0.0, 4, 0, -44], [4, 0, 0, -40], [0, 0, -4, 44], [0, 0, 0, 1]])
    slanted = affine.copy()
    slanted[0, 1] = 1e-9  # no voxel moves by this, yet the axes are no longer told apart exactly
    found = []
    for name, matrix in (("a", affine), ("b", slanted), ("c", turned)):
        nib.save(nib.Nifti1Image(data, matrix), tmp_path / f"{name}.nii.gz")
        found.append(on_display_grid(tmp_path / f"{name}.nii.gz"))
    np.testing.assert_array_equal(found[0], found[1])
    # Voxel (i, j, k) of the turned image lies at x = 4 j - 44, y = 4 i - 40, z = 44 - 4 k.
    inside = np.argwhere(np.isfinite(found[2]))
    x, y, z = (ORIGIN + STEP * inside[len(inside) // 2]).astype(int)
    expected = data[round((y + 40) / 4 - 1e-6), round((x + 44) / 4 - 1e-6), round((44 - z) / 4 - 1e-6)]
    assert found[2][tuple(inside[len(inside) // 2])] == expected


def test_what_a_page_shows_of_tables_and_facts_has_no_control_characters(tmp_path: Path) -> None:
    (tmp_path / "metrics.tsv").write_text("label\tvalue\na\x1b[31m\t1.5\n", encoding="utf-8")
    table = read_table(tmp_path / "metrics.tsv")
    assert table is not None
    assert table["label"].to_list() == ["a\\u001b[31m"]
    assert table["value"].to_list() == [1.5]
    (tmp_path / "summary.json").write_text('{"classes": ["b\\u202e"]}', encoding="utf-8")
    assert read_json(tmp_path / "summary.json") == {"classes": ["b\\u202e"]}
