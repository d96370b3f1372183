"""What an analysis was made with: other settings never replace its results unasked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bids_neurossm.cli.analysis_lock import analysis_folder
from bids_neurossm.config import RunConfig
from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.files.hashing import hash_file
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.write import json_text, replacing, write_text
from bids_neurossm.planning.group import GroupPlan

#: Of the evaluation, what decides how a cell is trained; how many seeds, re-splits and controls there are does not.
_EVALUATION = (
    "target",
    "target_type",
    "covariates",
    "group_by",
    "leave_out",
    "folds",
    "holdout",
    "harmonise",
    "pretrain",
)
_ARITHMETIC = ("device", "precision", "devices", "random_seed")

#: Differences that a message names.
_MOST_NAMED = 5


def analysis_settings(config: RunConfig, plan: GroupPlan) -> dict[str, Any]:
    """Gather the settings that the cells of an analysis have in common, as they were asked for.

    More seeds, re-splits, baselines or controls add to an analysis; any other difference makes it another one.
    """
    analysis, evaluation = plan.analysis, config.evaluation
    model = asdict(analysis.model)
    model["settings"].pop("encoder", None)  # its hash is among the settings
    return {
        "model": model,
        "training": asdict(analysis.training),
        "evaluation": {
            **{name: getattr(evaluation, name) for name in _EVALUATION},
            "splits_sha256": hash_file(evaluation.splits) if evaluation.splits is not None else None,
        },
        "attribution": asdict(analysis.attribution),
        "series": {**analysis.outputs.entities, "denoise": plan.cohort.extra["denoise"]},
        "arithmetic": {name: getattr(config.execution, name) for name in _ARITHMETIC},
    }


def keep_settings(out_dir: Path, analysis: str, settings: Mapping[str, Any], overwrite: bool) -> None:
    """Record the settings of an analysis; the caller holds its lock.

    Parameters
    ----------
    out_dir : Path
        The output dataset.
    analysis : str
        Its identifier.
    settings : mapping
        From `analysis_settings`.
    overwrite : bool
        Take the place of what was recorded.

    Raises
    ------
    UsageError
        If the analysis was made with other settings.
    """
    path = analysis_folder(out_dir, analysis) / "settings.json"
    text = json_text(settings)
    if overwrite:
        write_text(path, text)
        return
    with replacing(path, first=True) as temporary:  # the cells of an array come at the same time
        temporary.write_text(text, encoding="utf-8")
    try:
        known = dict(_flat(read_json_object(path, RunError)))
    except RunError:
        write_text(path, text)
        return
    wanted = dict(_flat(json.loads(text)))
    changed = [name for name in sorted(known.keys() | wanted.keys()) if known.get(name) != wanted.get(name)]
    if changed:
        named = ", ".join(f"{name} {known.get(name)} instead of {wanted.get(name)}" for name in changed[:_MOST_NAMED])
        more = f" and {len(changed) - _MOST_NAMED} more" if len(changed) > _MOST_NAMED else ""
        raise UsageError(
            f"The analysis {analysis} was made with other settings ({named}{more}): give another --analysis-id, or "
            "--overwrite to make it again."
        )


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
