"""From the attributions of held-out runs to class maps, their checks, and their scores against the literature."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from nipype.interfaces.base import TraitedSpec, traits

from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.attribution.checks import Check, agreement_check, completeness
from bids_neurossm.attribution.cpa import PathwayAttribution
from bids_neurossm.attribution.maps import ClassMap, class_maps, pathway_weights
from bids_neurossm.dataset.names import sanitised_labels
from bids_neurossm.dataset.write import write_json, write_nifti, write_tsv
from bids_neurossm.errors import UsageError
from bids_neurossm.interfaces.analysis import FINAL, Analysis, Cell
from bids_neurossm.interfaces.base import RecordingInputSpec, RecordingInterface
from bids_neurossm.interfaces.training import ATTRIBUTION_FIELDS
from bids_neurossm.reference.regions import region_geometry
from bids_neurossm.reference.scoring import ReferenceScores, score_maps
from bids_neurossm.training.cohort import Cohort

#: What the map over all runs is called in tables; in file names it has no label.
DISCRIMINATIVE = "discriminative"


class WriteMapsInputSpec(RecordingInputSpec):
    """Attributions and what is needed to draw and score them."""

    analysis = traits.Instance(Analysis, mandatory=True)
    cohort = traits.Str(mandatory=True, desc="folder of the cohort")
    cells = traits.List(traits.Str, mandatory=True, desc="npz of the cells of the model")
    parcellation = traits.Instance(Parcellation, desc="atlas in the space of the runs; none, no images")
    reference = traits.Str("", usedefault=True, desc="npz of ComputeReference, empty where there is none")
    reference_parcellation = traits.Instance(Parcellation, desc="the atlas in the space of the reference")


class WriteMapsOutputSpec(TraitedSpec):  # type: ignore[misc]
    """What was written, in words."""

    notes = traits.List(traits.Str)


class WriteMaps(RecordingInterface):
    """Write images, region table, pathway table, checks and the reference table of an analysis."""

    input_spec = WriteMapsInputSpec
    output_spec = WriteMapsOutputSpec
    always_run = True

    def _work(self, cwd: Path) -> None:
        analysis: Analysis = self.inputs.analysis
        cohort = Cohort.open(self.inputs.cohort)
        cells = [Cell.load(Path(path)) for path in self.inputs.cells]
        found = held_out_attributions(cells)
        if found is None:
            self._results["notes"] = [f"The model {analysis.model.name} has no attributions, so there are no maps."]
            return
        everything, correct = _maps(found, cohort, analysis)
        scores, notes = self._reference_scores(everything, cohort)
        names = sanitised_labels(cohort.classes, "class")
        if self.inputs.parcellation:
            _write_images(analysis, self.inputs.parcellation, everything, scores, cohort, names, found.pathways)
        labels = self.inputs.parcellation.labels if self.inputs.parcellation else range(1, len(cohort.regions) + 1)
        regions = _region_table(everything, correct, scores, cohort, list(labels), found.pathways)
        write_tsv(analysis.outputs.named("regions", ".tsv", "cpa"), regions)
        write_json(analysis.outputs.named("regions", ".json", "cpa"), _REGION_COLUMNS)
        write_tsv(analysis.outputs.named("pathways", ".tsv", "cpa"), _pathway_table(everything, found.pathways))
        checks = _checks(cells, everything)
        columns = {"check": [each.check for each in checks], "value": [each.value for each in checks]}
        columns |= {"expected": [each.expected for each in checks]}
        columns |= {"verdict": ["passed" if each.passed else "failed" for each in checks]}
        write_tsv(analysis.outputs.table("cpa_checks"), pd.DataFrame(columns))
        self._results["notes"] = notes + _map_notes(everything, cohort)

    def _reference_scores(self, maps: list[ClassMap], cohort: Cohort) -> tuple[ReferenceScores | None, list[str]]:
        """Score the class maps against the literature, where there is a reference."""
        analysis: Analysis = self.inputs.analysis
        if not self.inputs.reference:
            return None, []
        with np.load(self.inputs.reference, allow_pickle=False) as stored:
            references, n_studies = stored["maps"], stored["n_studies"]
        atlas: Parcellation = self.inputs.reference_parcellation
        image, affine, _ = atlas.image()
        sizes, centroids = region_geometry(image, affine, atlas.labels)
        by_label = {each.label: each.score for each in maps}
        nothing = np.full(len(cohort.regions), np.nan)
        try:
            scores = score_maps(
                np.array([by_label.get(name, nothing) for name in cohort.classes]),
                references,
                sizes.astype(np.float64),
                centroids,
                cohort.classes,
                analysis.reference.surrogates,
                analysis.execution.random_seed,
            )
        except UsageError as error:
            return None, [f"The maps were not scored against the literature: {error}"]
        table = scores.table.copy()
        count = dict(zip(cohort.classes, n_studies.tolist(), strict=True))
        # A contrast rests on the studies of both classes.
        table["n_studies"] = [count.get(str(name), int(n_studies.sum())) for name in table["column_class"]]
        write_tsv(analysis.outputs.table("reference"), table)
        return scores, list(scores.notes)


@dataclass(frozen=True)
class HeldOut:
    """Attributions of held-out runs, averaged over seeds.

    Parameters
    ----------
    indices : ndarray of int64, shape (n,)
        Rows of the cohort.
    importance : ndarray, shape (n, P)
    share : ndarray, shape (n, P, R)
    logit : ndarray, shape (n,)
        Centred logit of the true class; positive where two classes are told apart rightly.
    correct : ndarray of bool, shape (n,)
        Whether the mean prediction is right (always for a continuous target).
    pathways : tuple of str
        P names.
    """

    indices: npt.NDArray[np.int64]
    importance: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]
    logit: npt.NDArray[np.float64]
    correct: npt.NDArray[np.bool_]
    pathways: tuple[str, ...]


def held_out_attributions(cells: list[Cell]) -> HeldOut | None:
    """Gather attributions: those of the holdout where there is one, else those out of fold."""
    explained = [cell for cell in cells if cell.attribution]
    final = [cell for cell in explained if cell.fold == FINAL]
    chosen = final or explained
    if not chosen:
        return None
    rows = np.concatenate([cell.indices for cell in chosen])
    indices, owner = np.unique(rows, return_inverse=True)
    weights = (owner == np.arange(indices.size)[:, None]).astype(np.float64)
    weights /= weights.sum(axis=1, keepdims=True)

    def mean(name: str) -> npt.NDArray[np.float64]:
        stacked = np.concatenate([cell.attribution[name] for cell in chosen])
        return np.tensordot(weights, stacked, axes=1)

    scores = weights @ np.concatenate([cell.scores for cell in chosen])
    target = mean("target").round().astype(np.int64)
    correct = scores.argmax(axis=1) == target if scores.shape[1] > 1 else np.ones(indices.size, dtype=bool)
    pathways = tuple(str(name) for name in chosen[0].attribution["pathways"])
    return HeldOut(indices, mean("importance"), mean("share"), mean("logit"), correct, pathways)


def _maps(found: HeldOut, cohort: Cohort, analysis: Analysis) -> tuple[list[ClassMap], list[ClassMap]]:
    """Make the maps over all held-out runs, and over those that were classified rightly."""

    def of(rows: npt.NDArray[np.bool_]) -> list[ClassMap]:
        if not rows.any():
            return []
        runs = cohort.runs.iloc[found.indices[rows]]
        labels = runs["label"].astype(str).tolist() if cohort.classes else None
        present = [name for name in cohort.classes if labels and name in labels]
        return class_maps(
            found.importance[rows],
            found.share[rows],
            runs["participant_id"].tolist(),
            labels,
            present,
            seed=analysis.execution.random_seed,
        )

    return of(np.ones(found.indices.size, dtype=bool)), of(found.correct)


def _checks(cells: list[Cell], maps: list[ClassMap]) -> list[Check]:
    """Check what can be checked from the attributions themselves."""
    explained = [cell for cell in cells if cell.attribution]
    parts = [
        PathwayAttribution(
            pathways=tuple(cell.attribution["pathways"].tolist()),
            localisation="stored",
            **{name: cell.attribution[name] for name in ATTRIBUTION_FIELDS},
        )
        for cell in explained
    ]
    worst = max((completeness(part) for part in parts), key=lambda check: check.value)
    per_cell = []
    for cell in explained:
        weight = pathway_weights(cell.attribution["importance"].mean(axis=0))
        per_cell.append(np.tensordot(weight, cell.attribution["share"].mean(axis=0), axes=1))
    undefined = sum(not each.defined for each in maps)
    return [
        worst,
        agreement_check(np.array(per_cell), "folds and seeds"),
        Check("maps without a pathway of positive importance", float(undefined), "0", undefined == 0),
    ]


def _write_images(
    analysis: Analysis,
    parcellation: Parcellation,
    maps: list[ClassMap],
    scores: ReferenceScores | None,
    cohort: Cohort,
    names: dict[str, str],
    pathways: tuple[str, ...],
) -> None:
    """Write the NIfTI images of every class, on the grid of the atlas."""
    painter = _Painter(analysis, parcellation)
    for each in maps:
        if not each.label and len(cohort.classes) > 2:
            continue  # with three classes and more there is no single contrast
        label = names[each.label] if each.label else None
        description = f"CPA over {each.n_participants} participants, {each.n_runs} held-out runs"
        painter.values("boldmap", each.score, "cpa", label, None, description)
        painter.mask(each.top_quarter, "cpa", label, f"Top quarter of the regions: {description}")
        painter.labels(each.dominant, pathways, label, f"Dominant pathway: {description}")
        if scores is not None and each.label:
            row = cohort.classes.index(each.label)
            painter.values(
                "boldmap", scores.residual_reference[row], "neurosynth", label, None, "Residual reference score, z"
            )
            painter.mask(scores.top_quarter[row], "neurosynth", label, "Top quarter of the reference score")


@dataclass(frozen=True)
class _Painter:
    """Paints one value per region into images on the atlas grid."""

    analysis: Analysis
    parcellation: Parcellation

    def _save(
        self, suffix: str, data: npt.NDArray[Any], stat: str, label: str | None, desc: str | None, text: str
    ) -> Path:
        path = self.analysis.outputs.named(suffix, ".nii.gz", stat, label, desc)
        _, affine, header = self.parcellation.image()
        write_nifti(path, data, affine, header)
        write_json(path.with_name(path.name.replace(".nii.gz", ".json")), {"Description": text})
        return path

    def values(
        self, suffix: str, values: npt.NDArray[np.float64], stat: str, label: str | None, desc: str | None, text: str
    ) -> None:
        self._save(suffix, self.parcellation.painted(values.astype(np.float32), np.nan), stat, label, desc, text)

    def mask(self, marked: npt.NDArray[np.bool_], stat: str, label: str | None, text: str) -> None:
        self._save("mask", self.parcellation.painted(marked.astype(np.uint8), 0), stat, label, "top25", text)

    def labels(self, dominant: npt.NDArray[np.int64], pathways: tuple[str, ...], label: str | None, text: str) -> None:
        data = self.parcellation.painted((dominant + 1).astype(np.int16), 0)
        path = self._save("dseg", data, "cpa", label, "dominantpathway", text)
        rows = {"index": range(len(pathways) + 1), "name": ["none stable", *pathways]}
        write_tsv(path.with_name(path.name.replace(".nii.gz", ".tsv")), pd.DataFrame(rows))


def _region_table(
    maps: list[ClassMap],
    correct: list[ClassMap],
    scores: ReferenceScores | None,
    cohort: Cohort,
    labels: list[int],
    pathways: tuple[str, ...],
) -> pd.DataFrame:
    """All numbers behind the maps, one row per class and region."""
    nothing = np.full(len(cohort.regions), np.nan)
    rightly = {each.label: each for each in correct}
    frames = []
    for each in maps:
        known = scores is not None and each.label in cohort.classes
        row = cohort.classes.index(each.label) if known else 0
        frame = pd.DataFrame(
            {
                "label": each.label or DISCRIMINATIVE,
                "index": labels,
                "name": cohort.regions,
                "network": cohort.networks,
                "importance": each.score,
                "top25": each.top_quarter.astype(int),
                "importance_correct": rightly[each.label].score if each.label in rightly else nothing,
                "dominant_pathway": [pathways[number] if number >= 0 else "none stable" for number in each.dominant],
                "dominant_stability": each.stability,
                "reference": scores.residual_reference[row] if scores is not None and known else nothing,
                "reference_top25": scores.top_quarter[row].astype(int) if scores is not None and known else nothing,
                "product": scores.product[row] if scores is not None and known else nothing,
            }
        )
        for number, name in enumerate(pathways):
            frame[name] = each.share[number]
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _pathway_table(maps: list[ClassMap], pathways: tuple[str, ...]) -> pd.DataFrame:
    rows = []
    for each in maps:
        for number, name in enumerate(pathways):
            stream, _, scale = name.rpartition("-")
            rows.append(
                {
                    "label": each.label or DISCRIMINATIVE,
                    "pathway": name,
                    "stream": stream or name,
                    "scale": scale,
                    "importance": each.importance[number],
                    "ci_low": each.importance_interval[number, 0],
                    "ci_high": each.importance_interval[number, 1],
                    "weight": each.weight[number],
                    "weight_low": each.weight_interval[number, 0],
                    "weight_high": each.weight_interval[number, 1],
                    "n": each.n_participants,
                    "n_runs": each.n_runs,
                }
            )
    return pd.DataFrame(rows)


def _map_notes(maps: list[ClassMap], cohort: Cohort) -> list[str]:
    notes = [
        f"The map of {each.label or 'all classes'} is not defined: no pathway has a positive importance."
        for each in maps
        if not each.defined
    ]
    if len(cohort.classes) == 2:
        notes.append(
            "With two classes there is one discriminative map; the maps of the classes are means over their own runs "
            "and are descriptive."
        )
    notes.append(
        "Stream and scale are not fully identifiable: a raw pathway at a fine scale can express differences and slower "
        "averages."
    )
    return notes


_REGION_COLUMNS = {
    "label": {"Description": "Class, or discriminative for the map over all held-out runs."},
    "index": {"Description": "Value of the region in the label image."},
    "importance": {"Description": "CPA score m[r]: sum over pathways of weight times share."},
    "importance_correct": {"Description": "The same over held-out runs that were classified rightly."},
    "top25": {"Description": "1 in the quarter of the regions with the highest score."},
    "dominant_pathway": {"Description": "Pathway with the largest contribution, where 90 % of bootstraps agree."},
    "dominant_stability": {"Description": "Share of the bootstraps that agree on it."},
    "reference": {"Description": "Residual reference score z(e_R)."},
    "reference_top25": {"Description": "1 in the quarter of the regions with the highest reference score."},
    "product": {"Description": "q = z(e_M) z(e_R); its mean over regions is the partial correlation."},
}
