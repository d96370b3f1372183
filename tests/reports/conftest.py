"""Small output folders whose content is known, on a real brain."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from helpers.reported import CLASSES, FAILURES, HOSTILE, Page

from bids_neurossm.reports.group import write_group_report
from bids_neurossm.reports.participant import write_participant_report

PATHWAYS = [(stream, scale) for stream in ("raw", "difference") for scale in (1, 2, 4)]


def write_tsv(path: Path, table: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")


def harvard_oxford() -> tuple[np.ndarray, np.ndarray]:
    """Labels and affine of the cortical atlas that NiMARE ships; found without importing NiMARE, which is slow."""
    spec = importlib.util.find_spec("nimare")
    assert spec is not None
    assert spec.submodule_search_locations
    resources = Path(spec.submodule_search_locations[0]) / "resources"
    image = nib.load(resources / "atlases" / "HarvardOxford-cort-maxprob-thr25-2mm.nii.gz")
    return np.asarray(image.dataobj).astype(int), image.affine


def paint(path: Path, labels: np.ndarray, affine: np.ndarray, values: np.ndarray, dtype: str = "float32") -> None:
    """Write a map: value r in region r + 1, NaN (0 for integers) outside the atlas."""
    outside = np.nan if dtype == "float32" else 0
    data = np.concatenate([[outside], values])[labels].astype(dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)


@pytest.fixture(scope="session")
def participant_folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of real series (a patient of the psychosis data) in the 400 regions of Schaefer."""
    out_dir = tmp_path_factory.mktemp("participant")
    series = np.load(shared_data / "psychosis" / "dt_AROMA_8Phys_bpf_419_ses-1.npz")
    order = pd.read_csv(shared_data / "atlases" / "Schaefer2018_400Parcels_7Networks_order.txt", sep="\t", header=None)
    names = list(order[1])
    networks = [name.split("_")[2] for name in names]
    image = nib.load(shared_data / "atlases" / "Schaefer2018_400Parcels_7Networks_order_FSLMNI152_2mm.nii.gz")
    labels = np.asarray(image.dataobj).astype(int)
    # The file is float, as CBIG ships it; what this package writes is int16.
    atlas = out_dir / "tpl-MNI152NLin6Asym"
    atlas.mkdir()
    name = "tpl-MNI152NLin6Asym_atlas-Schaefer2018_seg-7Networks_scale-400_res-02_dseg.nii.gz"
    nib.save(nib.Nifti1Image(labels.astype(np.int16), image.affine), atlas / name)
    generator = np.random.default_rng(0)
    for run, subject in ((1, "sub-001"), (2, "sub-002")):
        values = series[subject][:400].T.astype(float)
        values[:, [10, 200]] = np.nan
        prefix = f"sub-01_task-rest_run-{run}_space-MNI152NLin6Asym_atlas-Schaefer2018_seg-7Networks_scale-400"
        folder = out_dir / "sub-01" / "func"
        stem = f"{prefix}_stat-mean_desc-simple_timeseries"
        write_tsv(folder / f"{stem}.tsv", pd.DataFrame(values, columns=names))
        sidecar = {
            "RepetitionTime": 2.0, "SamplingFrequency": 0.5, "NumberOfVolumes": 240, "NumberOfVolumesDropped": 4,
            "NumberOfVolumesCensored": 2, "Segments": [[4, 100], [102, 240]], "DenoisingStrategy": "simple",
            "ConfoundColumns": ["trans_x", "trans_y", "csf", "white_matter"], "MeanFramewiseDisplacement": 0.141,
            "MaxFramewiseDisplacement": 0.92, "Atlas": {"Name": "Schaefer2018", "SHA256": "ab" * 32},
            "Warnings": ["2 regions have no signal: 7Networks_LH_Vis_11, 7Networks_RH_Vis_1."] if run == 1 else [],
            "Sources": [f"bids:fmriprep:sub-01/func/sub-01_task-rest_run-{run}_desc-preproc_bold.nii.gz"],
            "Exclusion": {"Reason": "too few volumes", "Detail": "234 are kept, 300 needed"} if run == 2 else None,
            "InputHash": "c" * 64, "SoftwareVersions": {"bids-neurossm": "0.1.0", "nilearn": "0.13.1"},
        }  # fmt: skip
        (folder / f"{stem}.json").write_text(json.dumps(sidecar))
        coverage = np.clip(generator.normal(0.97, 0.05, 400), 0, 1)
        coverage[[10, 200]] = [0.0, 0.21]
        table = {
            "index": np.arange(1, 401), "name": names, "network": networks, "n_voxels": 350,
            "n_covered": (coverage * 350).astype(int), "coverage": coverage, "mean": 800.0, "tsnr": 60.0,
            "used": coverage > 0.5,
        }  # fmt: skip
        write_tsv(folder / f"{prefix}_stat-coverage_bold.tsv", pd.DataFrame(table))
        matrix = pd.DataFrame(values, columns=names).corr()
        write_tsv(folder / f"{prefix}_stat-pearsoncorrelation_desc-simple_relmat.tsv", matrix)
    displacement = np.concatenate([[np.nan], np.abs(generator.normal(0.1, 0.08, 239))])
    kept = ~np.isin(np.arange(240), [0, 1, 2, 3, 100, 101])
    outliers = pd.DataFrame({"framewise_displacement": displacement, "kept": kept.astype(int)})
    write_tsv(folder / "sub-01_task-rest_run-2_space-MNI152NLin6Asym_desc-simple_outliers.tsv", outliers)
    prediction = {"class": ["Control", "Patient"], "logit": [-0.4, 0.4], "probability": [0.31, 0.69]}
    write_tsv(folder / f"{prefix}_desc-dx_prediction.tsv", pd.DataFrame(prediction))
    paint(folder / f"{prefix}_stat-cpa_desc-dx_boldmap.nii.gz", labels, image.affine, generator.dirichlet([0.6] * 400))
    return out_dir


def _predictions(classes: list[str], generator: np.random.Generator, n: int) -> pd.DataFrame:
    rows = []
    for model, skill in (("neurossm", 1.4), ("tangent", 1.2), ("majority", 0.0)):
        for person in range(n):
            truth = person % len(classes)
            logits = generator.normal(0, 1, len(classes))
            logits[truth] += skill
            probability = np.exp(logits) / np.exp(logits).sum()
            row = {
                "model": model, "set": "development", "fold": str(person % 5 + 1),
                "participant_id": f"sub-{person:03d}", "unit": "participant", "site": "NYU" if person % 3 else "UM",
                "label": classes[truth], "predicted": classes[int(probability.argmax())],
            }  # fmt: skip
            rows.append(row | {f"probability_{name}": value for name, value in zip(classes, probability, strict=True)})
    return pd.DataFrame(rows)


def _metrics() -> pd.DataFrame:
    models = (("neurossm", 0.81), ("tangent", 0.79), ("covariates", 0.58), ("majority", 0.5))
    rows = [
        (model, "development", fold, metric, value + shift, value + shift - 0.05, value + shift + 0.05)
        for model, value in models
        for metric, shift in (("auc", 0.0), ("balanced_accuracy", -0.08), ("log_loss", -0.2))
        for fold in ("1", "2", "all")
    ]
    table = pd.DataFrame(rows, columns=["model", "set", "fold", "metric", "value", "ci_low", "ci_high"])
    return table.assign(interval="given these models", n=120)


@pytest.fixture(scope="session")
def make_group(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], Path]:
    """Give a function that writes a whole analysis called ``task`` for the classes it is told."""

    def make(classes: list[str], hostile: bool = False) -> Path:
        out_dir = tmp_path_factory.mktemp("group")
        folder = out_dir / "group" / "task"
        generator = np.random.default_rng(1)
        predictions = _predictions(classes, generator, 120)
        write_tsv(folder / "predictions.tsv", predictions)
        splits = predictions[predictions["model"] == "neurossm"][["participant_id", "label", "fold"]]
        if hostile:
            splits = splits.assign(participant_id=HOSTILE + splits["participant_id"])
        write_tsv(folder / "splits.tsv", splits.assign(set="train", group=splits["participant_id"]))
        write_tsv(folder / "metrics.tsv", _metrics())
        comparison = {
            "model": "neurossm", "baseline": ["tangent", "majority"], "metric": "auc", "difference": [0.02, 0.31],
            "ci_low": [-0.03, 0.24], "ci_high": [0.07, 0.38], "p": [0.41, 0.00002], "method": "Nadeau-Bengio", "n": 120,
            "sentence": ["NeuroSSM does not beat tangent connectivity.", "NeuroSSM beats guessing."],
        }  # fmt: skip
        write_tsv(folder / "comparison.tsv", pd.DataFrame(comparison))
        excluded = {"run": ["sub-900_task-rest", "sub-901_task-rest"], "participant_id": ["sub-900", "sub-901"]}
        excluded |= {"reason": "too few volumes", "detail": [HOSTILE if hostile else "31 kept, 50 needed", "12 kept"]}
        write_tsv(folder / "exclusions.tsv", pd.DataFrame(excluded))
        controls = {
            "control": ["labels permuted", "time shuffled", "site from features"], "metric": "auc",
            "observed": [0.81, 0.80, 0.74], "null_mean": [0.5, 0.79, 0.5], "null_q95": [0.57, 0.83, 0.6],
            "p": [0.001, 0.4, 0.001], "n": 120,
            "verdict": ["above chance", "order of time adds nothing that can be shown", "site can be read"],
        }  # fmt: skip
        write_tsv(folder / "controls.tsv", pd.DataFrame(controls))
        checks = {
            "label": ["all maps", "discriminative"], "check": ["completeness over pathways", "verdict (p of labels)"],
            "value": [3e-7, 0.2], "expected": ["< 1e-5", "p < .05"], "verdict": ["pass", "nothing learned"],
        }  # fmt: skip
        write_tsv(folder / "cpa_checks.tsv", pd.DataFrame(checks))
        _extras(out_dir, folder, hostile)
        _attributions(folder, classes, generator, hostile)
        summary = {
            "analysis": "task", "target": "task", "target_type": "class", "classes": classes, "model": "neurossm",
            "atlas": "HarvardOxford", "strategy": "simple", "space": "MNI152NLin6Asym", "n_participants": 120,
            "n_runs": 120, "folds": 5, "seeds": 2, "holdout": 0, "notes": ["Labels were joined on participant_id."],
            "methods": "Models were trained in five folds grouped by participant.",
            "versions": {"bids-neurossm": "0.1.0", "torch": "2.6.0"},
            "headline": "NeuroSSM told the classes apart with AUC 0.81 [0.76, 0.86], "
            "no better than tangent connectivity (difference 0.02 [−0.03, 0.07]).",
        }  # fmt: skip
        (folder / "summary.json").write_text(json.dumps(summary))
        return out_dir

    return make


def _extras(out_dir: Path, folder: Path, hostile: bool) -> None:
    """Write what not every analysis has: learning curve, motion, ledger, a table of the user's own, the card."""
    curve = {"model": ["neurossm"] * 3 + ["tangent"] * 3, "percent": [25, 50, 100] * 2, "n_training": [24, 48, 96] * 2}
    curve |= {"metric": "auc", "value": [0.6, 0.7, 0.81, 0.66, 0.74, 0.79], "ci_low": 0.5, "ci_high": 0.9}
    write_tsv(folder / "learning_curve.tsv", pd.DataFrame(curve))
    write_tsv(
        folder / "qc_fc.tsv", pd.DataFrame({"edges": [1128], "median_absolute_r": [0.08], "strategy": ["simple"]})
    )
    deleted = {"label": "discriminative", "fraction": [0.0, 0.25, 0.75], "map": [2.0, 0.6, 0.1], "n": 20}
    deleted |= {"random_mean": [2.0, 1.5, 0.5], "random_low": [2.0, 1.0, 0.2], "random_high": [2.0, 1.9, 0.9]}
    write_tsv(folder / "cpa_deletion.tsv", pd.DataFrame(deleted))
    write_tsv(folder / "holdout_ledger.tsv", pd.DataFrame({"look": [1, 2], "configuration": ["ab12", "cd34"]}))
    write_tsv(folder / "my_own_scores.tsv", pd.DataFrame({"region": ["a", "b"], "score": [0.25, 0.5]}))
    text = f"# Card\n\ntrained on people {HOSTILE if hostile else ''}\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    text += "\n![out](https://example.org/x.png) [away](javascript:alert(1)) <img src=https://example.org/y.png>\n"
    card = out_dir / "models" / "task" / "card.md"
    card.parent.mkdir(parents=True)
    card.write_text(text)


@pytest.fixture(scope="session")
def participant_file(participant_folder: Path) -> Path:
    return write_participant_report(participant_folder, "sub-01", FAILURES)


@pytest.fixture(scope="session")
def three_classes_file(make_group: Callable[..., Path]) -> Path:
    return write_group_report(make_group(CLASSES), "task")


@pytest.fixture(scope="session")
def hostile_file(make_group: Callable[..., Path]) -> Path:
    return write_group_report(make_group(["Control", HOSTILE], hostile=True), "task")


@pytest.fixture(scope="session")
def participant_page(participant_file: Path) -> Page:
    return Page(participant_file)


@pytest.fixture(scope="session")
def three_classes(three_classes_file: Path) -> Page:
    return Page(three_classes_file)


@pytest.fixture(scope="session")
def two_hostile_classes(hostile_file: Path) -> Page:
    return Page(hostile_file)


def _attributions(folder: Path, classes: list[str], generator: np.random.Generator, hostile: bool) -> None:
    """Write the maps of each class (one discriminative map for two) and the tables behind them."""
    labels, affine = harvard_oxford()
    count = int(labels.max())
    atlas = folder.parents[1] / "tpl-MNI152NLin6Asym"
    atlas.mkdir()
    dseg = nib.Nifti1Image(labels.astype(np.int16), affine)
    nib.save(dseg, atlas / "tpl-MNI152NLin6Asym_atlas-HarvardOxford_res-02_dseg.nii.gz")
    start = "space-MNI152NLin6Asym_atlas-HarvardOxford"
    pathways = [f"{stream}, scale {scale}" for stream, scale in PATHWAYS]
    maps = classes if len(classes) > 2 else [""]
    region_rows, pathway_rows = [], []
    for label in maps:
        stem = f"{start}_label-{label}" if label else start
        score = generator.dirichlet([0.5] * count)
        reference = generator.normal(0, 1, count)
        top, reference_top = score > np.quantile(score, 0.75), reference > np.quantile(reference, 0.75)
        dominant = generator.integers(0, len(pathways) + 1, count)
        paint(folder / f"{stem}_stat-cpa_boldmap.nii.gz", labels, affine, score)
        paint(folder / f"{stem}_stat-cpa_desc-top25_mask.nii.gz", labels, affine, top, "uint8")
        paint(folder / f"{stem}_stat-cpa_desc-dominantpathway_dseg.nii.gz", labels, affine, dominant, "int16")
        lookup = pd.DataFrame({"index": range(len(pathways) + 1), "name": ["none", *pathways]})
        write_tsv(folder / f"{stem}_stat-cpa_desc-dominantpathway_dseg.tsv", lookup)
        paint(folder / f"{stem}_stat-neurosynth_boldmap.nii.gz", labels, affine, reference)
        paint(folder / f"{stem}_stat-neurosynth_desc-top25_mask.nii.gz", labels, affine, reference_top, "uint8")
        names = [f"Region {index}" for index in range(1, count + 1)]
        names[int(score.argmax())] = HOSTILE if hostile else "Precentral Gyrus $M_1$"
        region_rows.append(
            pd.DataFrame(
                {
                    "label": label or None, "index": range(1, count + 1), "name": names, "network": "Default",
                    "importance": score, "top25": top, "dominant_pathway": [["none", *pathways][d] for d in dominant],
                    "dominant_stability": generator.random(count), "reference": reference,
                    "reference_top25": reference_top, "product": reference * score,
                }
            )
        )  # fmt: skip
        importance = generator.normal(0.2, 0.15, len(pathways))
        pathway_rows.append(
            pd.DataFrame(
                {
                    "label": label or None, "pathway": pathways, "stream": [p[0] for p in PATHWAYS],
                    "scale": [p[1] for p in PATHWAYS], "importance": importance, "ci_low": importance - 0.1,
                    "ci_high": importance + 0.1, "weight": importance, "n": 118,
                }
            )
        )  # fmt: skip
    write_tsv(folder / f"{start}_stat-cpa_regions.tsv", pd.concat(region_rows))
    write_tsv(folder / f"{start}_stat-cpa_pathways.tsv", pd.concat(pathway_rows))
    pairs = [(row, column) for row in classes for column in classes] if len(classes) > 2 else [tuple(classes)]
    reference_table = pd.DataFrame(pairs, columns=["row_class", "column_class"])
    rho = np.where(reference_table["row_class"] == reference_table["column_class"], 0.45, 0.02)
    reference_table = reference_table.assign(rho=rho, p=0.03, p_holm=np.where(rho > 0.3, 0.01, 0.8), n_regions=48)
    write_tsv(folder / "reference.tsv", reference_table.assign(n_surrogates=1000, n_studies=214))
