"""What a whole cohort says of its denoising."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from nipype.interfaces.base import TraitedSpec, traits

from bids_neurossm.analysis.cells import Analysis
from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.files.write import write_tsv
from bids_neurossm.interfaces.base import RecordingInputSpec, RecordingInterface
from bids_neurossm.reference.regions import region_geometry
from bids_neurossm.signal.qcfc import FEW, QCFC, MotionCorrelation, distances, upper_triangle
from bids_neurossm.signal.quality import pearson_connectivity

#: A correlation is only known over at least so many.
_FEWEST = 4


class MeasureQCFCInputSpec(RecordingInputSpec):
    """A cohort whose denoising is judged."""

    analysis = traits.Instance(Analysis, mandatory=True)
    cohort = traits.Str(mandatory=True, desc="folder of the cohort")
    parcellation = traits.Instance(Parcellation, desc="for the distances between regions")


class MeasureQCFCOutputSpec(TraitedSpec):  # type: ignore[misc]
    """The table."""

    table = traits.Str(desc="qc_fc.tsv")


class MeasureQCFC(RecordingInterface):
    """Correlate connectivity with motion over participants, and write one row of what came out."""

    input_spec = MeasureQCFCInputSpec
    output_spec = MeasureQCFCOutputSpec
    always_run = True

    def _work(self, cwd: Path) -> None:
        analysis: Analysis = self.inputs.analysis
        cohort = Cohort.open(self.inputs.cohort)
        path = analysis.outputs.table("qc_fc")
        write_tsv(path, qc_fc_table(cohort, self.inputs.parcellation or None))
        self._results["table"] = str(path)


def qc_fc_table(cohort: Cohort, parcellation: Parcellation | None) -> pd.DataFrame:
    """Measure QC-FC over the participants of a cohort.

    Connectivity is Pearson's r on Fisher's scale. It and mean framewise displacement are averaged over the runs of a
    participant first, since runs of one head are not independent.

    Parameters
    ----------
    cohort : Cohort
        Of one denoising strategy.
    parcellation : Parcellation or None
        The atlas; without it, or on grayordinates, there is no distance dependence.

    Returns
    -------
    DataFrame
        One row: ``strategy``, ``n_participants``, ``mean_displacement``, ``n_edges``, ``median_absolute_r``,
        ``chance_median_absolute_r``, ``share_significant``, ``distance_dependence``, ``sentence``. NaN where nothing
        can be known, with the reason in the sentence.
    """
    runs = cohort.runs
    moved = runs[np.isfinite(pd.to_numeric(runs["mean_fd"], errors="coerce"))]
    by_participant = moved.groupby("participant_id", sort=True)["mean_fd"].mean()
    strategy = str(cohort.extra.get("denoise") or "n/a")
    row: dict[str, Any] = {"strategy": strategy, "n_participants": len(by_participant)}
    row["mean_displacement"] = float(by_participant.mean()) if len(by_participant) else np.nan
    if len(by_participant) < _FEWEST:
        found = MotionCorrelation(0).result()
        people = runs["participant_id"].nunique()
        sentence = (
            f"QC-FC is not known: {len(by_participant)} of {people} participants state a mean framewise displacement, "
            f"and {_FEWEST} are needed."
        )
    else:
        correlation = MotionCorrelation(len(cohort.regions) * (len(cohort.regions) - 1) // 2)
        for participant, displacement in by_participant.items():
            rows = np.flatnonzero((runs["participant_id"] == participant) & runs.index.isin(moved.index))
            correlation.add(_connectivity(cohort, rows), float(displacement))
        found = correlation.result(_distances(parcellation))
        sentence = _sentence(strategy, len(by_participant), found)
    for name in ("n_edges", "median_absolute_r", "chance_median_absolute_r", "share_significant"):
        row[name] = getattr(found, name)
    return pd.DataFrame([{**row, "distance_dependence": found.distance_dependence, "sentence": sentence}])


def _connectivity(cohort: Cohort, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Fisher z of all edges, averaged over the runs that have them, shape (E,)."""
    total: npt.NDArray[np.float64] | float = 0.0
    count: npt.NDArray[np.int64] | int = 0
    for row in rows:
        r = upper_triangle(pearson_connectivity(np.asarray(cohort.raw(int(row)), dtype=np.float64)))
        there = np.isfinite(r)
        # Two regions with one series would have an infinite z.
        total = total + np.where(there, np.arctanh(np.clip(np.where(there, r, 0.0), -0.999999, 0.999999)), 0.0)
        count = count + there
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / count)


def _distances(parcellation: Parcellation | None) -> npt.NDArray[np.float64] | None:
    if parcellation is None or parcellation.dense:
        return None
    image, affine, _ = parcellation.image()
    return distances(region_geometry(image, affine, parcellation.labels)[1])


def _sentence(strategy: str, n_participants: int, found: QCFC) -> str:
    """Say what was found to somebody who has never heard of it."""
    if not found.n_edges:
        return "QC-FC is not known: no connection is known in enough participants and varies over them."
    text = (
        f"QC-FC with denoising {strategy} over {n_participants} participants: the median absolute correlation of a "
        f"connection with mean framewise displacement is {found.median_absolute_r:.2f} "
        f"({found.chance_median_absolute_r:.2f} by chance alone), and {found.share_significant:.0%} of the connections "
        "have p < .05 (5% by chance)"
    )
    if np.isfinite(found.distance_dependence):
        text += f"; correlation of that effect with distance {found.distance_dependence:.2f}"
    few = f" With fewer than {FEW} participants this says little." if n_participants < FEW else ""
    return f"{text}.{few}"
