"""Everything a run can be told, as frozen dataclasses that check themselves.

They are read from the command line and from TOML, passed on as arguments, and written back as TOML into
``logs/<run id>/config.toml``. There is no global configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bids_neurossm.config.checking import require
from bids_neurossm.config.evaluation import CONTROLS, Attribution, Evaluation, Reference, TargetType
from bids_neurossm.config.execution import Execution
from bids_neurossm.config.extraction import CONNECTIVITY, DEFAULT_SPACES, Extraction
from bids_neurossm.config.model import ModelSpec, Training
from bids_neurossm.config.selection import Selection

__all__ = [
    "CONNECTIVITY",
    "CONTROLS",
    "DEFAULT_SPACES",
    "Attribution",
    "Evaluation",
    "Execution",
    "Extraction",
    "ModelSpec",
    "Reference",
    "RunConfig",
    "Selection",
    "TargetType",
    "Training",
]


@dataclass(frozen=True)
class RunConfig:
    """One command, whole.

    ``training`` holds only what was said explicitly: it wins over the recipe, whatever the defaults of `Training` are.
    ``command_line`` is what was typed, for the record and for scripts that repeat it.
    """

    bids_dir: Path
    out_dir: Path
    level: Literal["participant", "group"]
    analysis_id: str | None = None
    selection: Selection = field(default_factory=Selection)
    extraction: Extraction = field(default_factory=Extraction)
    model: ModelSpec = field(default_factory=ModelSpec)
    training: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Evaluation = field(default_factory=Evaluation)
    attribution: Attribution = field(default_factory=Attribution)
    reference: Reference = field(default_factory=Reference)
    execution: Execution = field(default_factory=Execution)
    command_line: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        bids_dir, out_dir = self.bids_dir.resolve(), self.out_dir.resolve()
        require(out_dir != bids_dir, f"OUT_DIR and BIDS_DIR are both {bids_dir}: the input is never written to.")
        require(
            self.analysis_id is None or bool(re.fullmatch(r"[0-9A-Za-z_-]+", self.analysis_id)),
            f"--analysis-id {self.analysis_id!r} may hold letters, digits, '-' and '_' only.",
        )
