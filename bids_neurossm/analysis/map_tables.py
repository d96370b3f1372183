"""The tables behind the maps: every number of an image stands in one of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_neurossm.analysis.held_out import HeldOut
from bids_neurossm.attribution.maps import ClassMap, mean_importance
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.reference.scoring import ReferenceScores

#: What the map over all runs is called in tables; in file names it has no label.
DISCRIMINATIVE = "discriminative"


def region_table(
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


def pathway_table(maps: list[ClassMap], found: HeldOut, cohort: Cohort, seed: int) -> pd.DataFrame:
    """List importance and weight of every term of the decision, one row per class and term.

    Terms that are no pathways have an importance, and neither stream nor scale nor weight: they take no part in a map.
    """
    rows = []
    for each in maps:
        common = {"label": each.label or DISCRIMINATIVE, "n": each.n_participants, "n_runs": each.n_runs}
        for number, name in enumerate(found.pathways):
            stream, _, scale = name.rpartition("-")
            rows.append(
                {
                    **common,
                    "pathway": name,
                    "stream": stream or name,
                    "scale": scale,
                    "importance": each.importance[number],
                    "ci_low": each.importance_interval[number, 0],
                    "ci_high": each.importance_interval[number, 1],
                    "weight": each.weight[number],
                    "weight_low": each.weight_interval[number, 0],
                    "weight_high": each.weight_interval[number, 1],
                }
            )
        runs = cohort.runs.iloc[found.indices]
        of_class = (
            (runs["label"].astype(str) == each.label).to_numpy() if each.label else np.ones(len(runs), dtype=bool)
        )
        for name, values in found.further_terms.items():
            mean, low, high = mean_importance(values[of_class], runs["participant_id"].to_numpy()[of_class], seed=seed)
            rows.append({**common, "pathway": name, "importance": mean, "ci_low": low, "ci_high": high})
    columns = ["label", "pathway", "stream", "scale", "importance", "ci_low", "ci_high"]
    return pd.DataFrame(rows, columns=[*columns, "weight", "weight_low", "weight_high", "n", "n_runs"])


#: Descriptions of the columns of the region table, for its sidecar.
REGION_COLUMNS = {
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
