"""The group level through the real command line: what is planted is found, and every file is there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.described import absent, undescribed
from helpers.published import places

from bids_neurossm.simulation import read_truth

TABLES = (
    *("splits", "predictions", "metrics", "comparison", "exclusions", "controls", "cpa_checks", "reference"),
    "qc_fc",
)
IMAGES = (
    *("stat-cpa_boldmap", "stat-cpa_desc-top25_mask", "stat-cpa_desc-dominantpathway_dseg"),
    *("stat-neurosynth_boldmap", "stat-neurosynth_desc-top25_mask"),
)


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", na_values="n/a")


@pytest.fixture(scope="module")
def folder(group_results: Path) -> Path:
    return group_results / "group" / "tasks"


def test_every_file_of_the_group_tree_is_written(group_results: Path, folder: Path) -> None:
    for name in TABLES:
        assert (folder / f"{name}.tsv").stat().st_size > 0, name
    for label in ("nback", "flanker"):
        for image in IMAGES:
            assert (
                folder / f"space-MNI152NLin6Asym_atlas-HarvardOxford_scale-48_label-{label}_{image}.nii.gz"
            ).exists()
            for hemisphere in "LR":
                stem = f"hemi-{hemisphere}_space-fsaverage_atlas-HarvardOxford_scale-48_den-10k_label-{label}_{image}"
                assert len(list(folder.glob(f"{stem}.*.gii"))) == 1
    models = group_results / "models" / "tasks"
    assert {path.name for path in models.glob("*.safetensors")} == {
        "final.safetensors",
        *(f"fold-{fold}_seed-{seed}.safetensors" for fold in range(1, 5) for seed in range(1, 4)),
    }
    assert (models / "final.toml").is_file()
    assert list(models.glob(".*")) == []  # the state of a training goes when it has ended
    assert "independent implementation" in (models / "card.md").read_text()
    assert (group_results / "group_tasks.html").stat().st_size > 50_000


def test_no_output_names_a_place(group_results: Path) -> None:
    assert places(group_results, [str(group_results.parents[1]), str(Path.home()) + "/"]) == []


def test_no_participant_is_on_both_sides_of_a_split(folder: Path) -> None:
    splits = read(folder / "splits.tsv")
    predictions = read(folder / "predictions.tsv")
    assert splits["participant_id"].is_unique
    fold_of = dict(zip(splits["participant_id"].astype(str), splits["fold"], strict=True))
    mine = predictions[predictions["model"] == "neurossm"]
    assert mine["unit"].is_unique
    assert all(fold_of[str(row.participant_id)] == row.fold for row in mine.itertuples())
    # The run that is too short is not predicted, and said to be left out.
    assert len(mine) == 15
    assert read(folder / "exclusions.tsv")["run"].tolist() == ["sub-03_task-nback"]


def test_baselines_ride_along_on_the_same_units(folder: Path) -> None:
    predictions = read(folder / "predictions.tsv")
    units = {model: sorted(part["unit"]) for model, part in predictions.groupby("model")}
    assert set(units) == {"neurossm", "majority", "covariates", "pearson-connectivity", "tangent-connectivity"}
    assert all(each == units["neurossm"] for each in units.values())
    comparison = read(folder / "comparison.tsv")
    assert set(comparison["baseline"]) == set(units) - {"neurossm"}
    assert comparison["sentence"].str.contains(" beats | is worse than | not shown to | ahead of | behind ").all()


def test_the_planted_regions_are_found(folder: Path, simulated: Path) -> None:
    from sklearn.metrics import roc_auc_score

    truth = read_truth(simulated)
    regions = read(next(folder.glob("*stat-cpa_regions.tsv")))
    table = regions[regions["label"] == "discriminative"]
    planted = [name for names in truth.regions.values() for name in names]
    # Eight participants: .78 to .92 over random seeds, .59 to .70 with one model per fold instead of three. The demo
    # itself, with 24 participants, reaches 1.0.
    assert roc_auc_score(table["name"].isin(planted), table["importance"]) > 0.7
    checks = read(folder / "cpa_checks.tsv")
    assert checks.loc[checks["check"] == "completeness over pathways", "value"].tolist()[0] <= 1e-5
    # Each map has its checks and a verdict; few participants are no reason to say more than was shown.
    assert set(checks["label"]) == {"all maps", "discriminative", "nback", "flanker"}
    assert checks.groupby("label").size().loc[["discriminative", "nback", "flanker"]].tolist() == [5, 5, 5]
    assert checks["verdict"].str.match("(passed|failed|can not be told): ").all()
    assert set(read(folder / "cpa_deletion.tsv")["label"]) == {"discriminative", "nback", "flanker"}


def test_every_number_of_the_maps_can_be_traced_through_the_tables(folder: Path) -> None:
    """From shares and weights to the five images of each class, and to those of the discriminative map."""
    regions = read(next(folder.glob("*stat-cpa_regions.tsv"))).set_index("index")
    pathways = read(next(folder.glob("*stat-cpa_pathways.tsv"))).set_index("pathway")
    assert set(regions["label"]) == {"discriminative", "nback", "flanker"}
    for label, table in regions.groupby("label"):
        weights = pathways.loc[pathways["label"] == label, "weight"].dropna()
        assert weights.sum() == pytest.approx(1)
        parts = table[list(weights.index)] * weights
        np.testing.assert_allclose(parts.sum(axis=1), table["importance"], rtol=1e-6)
        assert set(table["top25"][table["top25"] == 1].index) == set(table["importance"].nlargest(12).index)
        stable = table["dominant_stability"] >= 0.9
        assert (table["dominant_pathway"] == parts.idxmax(axis=1).where(stable, "none stable")).all()
        if label == "discriminative":
            assert table[["reference", "reference_top25", "product"]].isna().all(axis=None)
            continue
        top = set(table["reference"].nlargest(12).index)
        assert set(table["reference_top25"][table["reference_top25"] == 1].index) == top
    # Two classes are one contrast, and the mean of its product is the score that is tested.
    rho = read(folder / "reference.tsv")["rho"].item()
    for label in ("nback", "flanker"):
        assert regions.loc[regions["label"] == label, "product"].mean() == pytest.approx(rho, rel=1e-5)


@pytest.mark.parametrize("label", ["nback", "flanker", "discriminative"])
def test_the_images_are_the_region_table_painted_on_the_atlas(folder: Path, label: str) -> None:
    import nibabel as nib

    regions = read(next(folder.glob("*stat-cpa_regions.tsv")))
    table = regions[regions["label"] == label].set_index("index")
    atlas = nib.load(next((folder.parents[1] / "tpl-MNI152NLin6Asym").glob("*dseg.nii.gz")))
    labels = np.asanyarray(atlas.dataobj).astype(int)
    stem = "space-MNI152NLin6Asym_atlas-HarvardOxford_scale-48" + (
        f"_label-{label}" if label != "discriminative" else ""
    )
    codes = read(folder / f"{stem}_stat-cpa_desc-dominantpathway_dseg.tsv").set_index("name")["index"]
    painted = {
        "stat-cpa_boldmap": (table["importance"], np.float32),
        "stat-cpa_desc-top25_mask": (table["top25"], np.uint8),
        "stat-cpa_desc-dominantpathway_dseg": (table["dominant_pathway"].map(codes), np.int16),
    }
    if label != "discriminative":
        painted["stat-neurosynth_boldmap"] = (table["reference"], np.float32)
        painted["stat-neurosynth_desc-top25_mask"] = (table["reference_top25"], np.uint8)
    for name, (values, dtype) in painted.items():
        image = nib.load(folder / f"{stem}_{name}.nii.gz")
        of_label = np.full(labels.max() + 1, np.nan if dtype == np.float32 else 0)
        of_label[values.index] = values
        assert image.get_data_dtype() == dtype
        np.testing.assert_allclose(np.asanyarray(image.dataobj), of_label[labels], rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(image.affine, atlas.affine)


def test_the_reference_is_the_real_literature(folder: Path) -> None:
    reference = read(folder / "reference.tsv")
    assert len(reference) == 1
    row = reference.iloc[0]
    assert row["row_class"] == "flanker - nback"
    assert row["n_studies"] == 906
    assert row["n_surrogates"] == 1000
    assert 0 < row["p"] <= 1
    assert read(folder / "reference_terms.tsv")["n_studies"].tolist() == [406, 500]
    # The file is called after Neurosynth; its sidecar says what the studies are.
    sidecar = json.loads(next(folder.glob("space*_label-nback_stat-neurosynth_boldmap.json")).read_text())
    assert sidecar["Reference"].startswith("NiMARE")


def test_finished_cells_are_kept_and_tables_come_out_the_same(
    command: Any, simulated: Path, group_results: Path, task_arguments: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(group_results, out)
    before = {path.name: path.read_bytes() for path in (out / "group" / "tasks").iterdir()}
    stamps = {path: path.stat().st_mtime_ns for path in (out / "models" / "tasks" / "cells").iterdir()}
    (out / "models" / "tasks" / "cells" / "neurossm_fold-2_seed-1.npz").unlink()
    stamp_of_model = (out / "models" / "tasks" / "fold-2_seed-1.safetensors").stat().st_mtime_ns
    done = command(simulated, out, "group", *task_arguments, "--nprocs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    again = [path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp]
    assert [path.name for path in again] == ["neurossm_fold-2_seed-1.npz"]
    # The model too, to the byte, though it was trained with another --nprocs.
    trained = Path("models", "tasks", "fold-2_seed-1.safetensors")
    assert (out / trained).stat().st_mtime_ns != stamp_of_model
    assert (out / trained).read_bytes() == (group_results / trained).read_bytes()
    after = {path.name: path.read_bytes() for path in (out / "group" / "tasks").iterdir()}
    assert [name for name in before if before[name] != after[name]] == []


def test_cells_of_a_job_array_are_gathered_by_a_plain_group(
    command: Any, simulated: Path, participant_results: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(participant_results, out, ignore=shutil.ignore_patterns("group*", "models"))
    arguments = ["--target", "entity:task", "--model", "pearson-connectivity", "--folds", "2", "--analysis-id", "array"]
    arguments += ["--reference", "none", "--baselines", "majority"]
    for fold in ("1", "2"):
        done = command(simulated, out, "group", *arguments, "--only-fold", fold, "--only-seed", "1")
        assert done.returncode == 0, done.stdout + done.stderr
        assert not (out / "group" / "array" / "metrics.tsv").exists()
    cells = {path: path.stat().st_mtime_ns for path in (out / "models" / "array" / "cells").glob("*fold*")}
    assert len(cells) == 4
    done = command(simulated, out, "group", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in cells.items())
    assert (out / "group" / "array" / "metrics.tsv").is_file()


def test_every_file_is_described_and_every_description_has_a_file(group_results: Path) -> None:
    """`docs/outputs.md` against a real output folder."""
    assert undescribed(group_results) == []
    always = ("every command", "every command, where there is an atlas image", "participant", "group")
    assert absent(group_results, *always, "group with maps", "group with a reference") == []


def test_a_checkpoint_predicts_and_explains_new_runs(
    command: Any, simulated: Path, group_results: Path, tmp_path: Path
) -> None:
    checkpoint = group_results / "models" / "tasks" / "final.safetensors"
    done = command(
        *(simulated, tmp_path, "participant", "--atlas", "HarvardOxford", "--participant-label", "01"),
        *("--checkpoint", checkpoint),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for task in ("nback", "flanker"):
        stem = f"sub-01_task-{task}_space-MNI152NLin6Asym_atlas-HarvardOxford_scale-48"
        prediction = read(tmp_path / "sub-01" / "func" / f"{stem}_desc-entitytask_prediction.tsv")
        assert prediction["class"].tolist() == ["flanker", "nback"]
        assert prediction["probability"].sum() == pytest.approx(1)
        # This participant was in the training set of the final model.
        assert prediction.loc[prediction["probability"].idxmax(), "class"] == task
        attributions = read(tmp_path / "sub-01" / "func" / f"{stem}_stat-cpa_desc-entitytask_attributions.tsv")
        assert attributions.shape == (6, 4 + 48)
        np.testing.assert_allclose(attributions.iloc[:, 4:].sum(axis=1), 1, rtol=1e-6)
        assert (tmp_path / "sub-01" / "func" / f"{stem}_stat-cpa_desc-entitytask_boldmap.nii.gz").is_file()
    sidecar = next(tmp_path.glob("sub-01/func/*nback*prediction.json"))
    content = json.loads(sidecar.read_text())
    assert len(content["CheckpointSHA256"]) == 64
    attribution = json.loads(next(tmp_path.glob("sub-01/func/*nback*attributions.json")).read_text())
    assert [each["Check"].partition(" ")[0] for each in attribution["Checks"]] == ["completeness", "deletion"]
    assert attribution["Checks"][0]["Verdict"].startswith("passed: ")
    assert (tmp_path / content["Sources"][0].removeprefix("bids::")).is_file()
    assert undescribed(tmp_path) == absent(tmp_path, "participant with `--checkpoint`") == []


def test_reports_can_be_rebuilt_from_disk(command: Any, simulated: Path, group_results: Path) -> None:
    page = group_results / "group_tasks.html"
    before = page.read_bytes()
    page.unlink()
    done = command(simulated, group_results, "group", "--reports-only")
    assert done.returncode == 0, done.stderr
    assert page.read_bytes() == before
