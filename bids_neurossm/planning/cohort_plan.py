"""What planning finds: the runs of a cohort, and where the reference comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.interfaces.cohort import Shortest


@dataclass(frozen=True)
class CohortPlan:
    """Which series make the cohort, and what is known of them.

    Parameters
    ----------
    runs, excluded : sequence of mapping
        Rows of facts; runs that were left out, with reasons.
    regions, networks : sequence of str
        Of the columns of the series.
    target_type : str
        ``class`` or ``continuous``.
    classes : sequence of str
        Sorted names.
    shortest : Shortest
        What the model's largest scale needs.
    max_uncovered : float
        Largest share of regions without signal.
    extra : mapping
        Atlas, strategy, target.
    parcellation : Parcellation or None
        The atlas in the space of the runs.
    """

    runs: Sequence[Mapping[str, Any]]
    excluded: Sequence[Mapping[str, Any]]
    regions: Sequence[str]
    networks: Sequence[str]
    target_type: str
    classes: Sequence[str]
    shortest: Shortest
    max_uncovered: float
    extra: Mapping[str, Any]
    parcellation: Parcellation | None = None


@dataclass(frozen=True)
class ReferencePlan:
    """Where the reference comes from; `source` None leaves it out.

    Parameters
    ----------
    source, terms : str or None
        Studies and class-to-term table.
    parcellation : Parcellation or None
        The atlas in MNI152NLin6Asym.
    notes : sequence of str
        Why it is left out.
    """

    source: str | None = None
    terms: str | None = None
    parcellation: Parcellation | None = None
    notes: Sequence[str] = field(default_factory=tuple)
