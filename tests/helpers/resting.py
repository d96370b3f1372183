"""A dataset of resting-state series that somebody else made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd


def resting_series(root: Path, labels: Sequence[str], sessions: Sequence[str] = ("",)) -> Path:
    """Make derivatives with one resting run of six regions for each participant and session."""
    rng = np.random.default_rng(0)
    root.mkdir(parents=True)
    (root / "dataset_description.json").write_text(
        '{"Name": "x", "BIDSVersion": "1.10.0", "DatasetType": "derivative"}'
    )
    for number, label in enumerate(labels):
        for session in sessions:
            between = f"_ses-{session}" if session else ""
            stem = (
                root
                / f"sub-{label}"
                / between.removeprefix("_")
                / "func"
                / f"sub-{label}{between}_task-rest_timeseries"
            )
            stem.parent.mkdir(parents=True)
            values = rng.standard_normal((60, 6))
            values[:, 1] += (number % 2) * values[:, 0]  # every second one is connected otherwise
            pd.DataFrame(values, columns=list("abcdef")).to_csv(stem.with_suffix(".tsv"), sep="\t", index=False)
            stem.with_suffix(".json").write_text('{"RepetitionTime": 2.0}')
    return root
