"""The files of a participant in OUT_DIR: what each run left, and what its failures left in the logs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_neurossm.errors import UsageError
from bids_neurossm.files.portable import absolute_paths, portable
from bids_neurossm.files.toml_files import read_toml

_SERIES = re.compile(r"(?P<prefix>.+)_stat-mean_desc-(?P<strategy>[0-9A-Za-z+]+)_timeseries\.tsv")

#: Logs that are searched for failures, the newest first: job arrays leave thousands.
_MOST_LOGS = 50


@dataclass(frozen=True)
class RunFiles:
    """The files that one run left in OUT_DIR under one atlas and one denoising strategy.

    Parameters
    ----------
    series : Path
        ``*_stat-mean_desc-<strategy>_timeseries.tsv``.
    prefix, strategy : str
        Name up to ``_stat-mean``; name of the strategy.
    """

    series: Path
    prefix: str
    strategy: str

    @property
    def source(self) -> str:
        """Name of the BOLD run, without what this package added."""
        return self.prefix.split("_space-")[0].split("_atlas-")[0]

    @property
    def title(self) -> str:
        """What tells this run from the participant's others."""
        entities = [entity for entity in self.prefix.split("_") if not entity.startswith("sub-")]
        return " ".join([*entities, f"desc-{self.strategy}"])

    @property
    def name(self) -> str:
        """Short name: session, task, run and the like."""
        return " ".join(self.source.split("_")[1:]) or self.source

    def beside(self, ending: str) -> Path:
        """Return the path of a sibling with the same prefix."""
        return self.series.with_name(f"{self.prefix}_{ending}")

    def first(self, pattern: str) -> list[Path]:
        """Return the siblings whose ending fits a pattern, sorted."""
        ending = re.compile(re.escape(self.prefix + "_") + pattern)
        return sorted(path for path in self.series.parent.iterdir() if ending.fullmatch(path.name))

    def outliers(self) -> Path | None:
        """Return the table of framewise displacement; motion knows no atlas, so it may be named after the run."""
        ending = f"_desc-{self.strategy}_outliers.tsv"
        spaced = self.prefix.split("_atlas-")[0]
        candidates = (self.series.with_name(start + ending) for start in (self.prefix, spaced, self.source))
        return next((path for path in candidates if path.is_file()), None)


def find_runs(out_dir: Path, participant_label: str) -> list[RunFiles]:
    """List the runs of a participant that have time series, sorted by name."""
    folder = out_dir / f"sub-{participant_label}"
    found = []
    for path in sorted([*folder.glob("func/*_timeseries.tsv"), *folder.glob("ses-*/func/*_timeseries.tsv")]):
        match = _SERIES.fullmatch(path.name)
        if match:
            found.append(RunFiles(path, match["prefix"], match["strategy"]))
    return found


def past_failures(out_dir: Path, participant_label: str, runs: list[RunFiles]) -> list[dict[str, Any]]:
    """List the runs that failed in an earlier command and have left no series since.

    Parameters
    ----------
    out_dir : Path
        Output dataset; ``logs/*/run.jsonl`` is read, the newest first.
    participant_label : str
        Without ``sub-``.
    runs : list of RunFiles
        What is there.

    Returns
    -------
    list of dict
        ``run``, ``step``, ``message``, the last failure of each run.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((out_dir / "logs").glob("*_participant_*/run.jsonl"), reverse=True)[:_MOST_LOGS]:
        for line in reversed(path.read_text(encoding="utf-8", errors="replace").splitlines()):
            if '"error"' not in line or f"sub-{participant_label}_" not in line:
                continue
            try:
                event = json.loads(line)
            except ValueError:
                continue  # the last line of a command that was killed
            unit = str(event.get("unit") or "")
            done = any(f"{run.prefix}_".startswith(f"{unit}_") for run in runs)
            if event.get("event") == "error" and unit.startswith(f"sub-{participant_label}_") and not done:
                message = str(event.get("message", "")).removeprefix(f"failed: {unit}: ")
                message = portable(message, _folders(path.with_name("config.toml")))
                found.setdefault(unit, {"run": unit, "step": event.get("step"), "message": message})
    return sorted(found.values(), key=lambda each: str(each["run"]))


def _folders(settings: Path) -> list[Path]:
    """List the folders that the settings of an earlier command name."""
    try:
        return [path for _, path in absolute_paths(read_toml(settings))]
    except UsageError:
        return []
