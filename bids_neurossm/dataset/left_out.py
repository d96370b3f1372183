"""Runs and folders that a command leaves out before it reads them, each with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_neurossm.dataset.bidsignore import IgnoreRules
from bids_neurossm.dataset.exclusions import ExclusionTable

#: Reason of a run whose files cannot be read: the only one that is a failure as well.
UNREADABLE = "unreadable"

#: Names that a sentence about several runs gives.
_MOST_NAMED = 3


@dataclass(frozen=True)
class LeftOut:
    """One run or folder that is left out.

    Parameters
    ----------
    name : str
        Name of the recording, or path of a folder within the dataset.
    participant : str
        Label without ``sub-``; empty for a folder that belongs to none.
    reason : str
        The rule, as it is counted: ``.bidsignore: /sub-07/``.
    detail : str
        What the rule found.
    n_runs : int
        Runs that it stands for.
    """

    name: str
    participant: str
    reason: str
    detail: str
    n_runs: int = 1

    def row(self) -> dict[str, str]:
        """Return the row of exclusions.tsv."""
        participant = self.participant or "n/a"
        return {"run": self.name, "participant_id": participant, "reason": self.reason, "detail": self.detail}


def counted(left_out: Iterable[LeftOut]) -> list[tuple[str, int, str]]:
    """Count what is left out by reason.

    Returns
    -------
    list of (str, int, str)
        Reason, runs, the first names.
    """
    by_reason: dict[str, list[LeftOut]] = {}
    for each in left_out:
        by_reason.setdefault(each.reason, []).append(each)
    return [(reason, sum(each.n_runs for each in group), _names(group)) for reason, group in by_reason.items()]


def _names(group: Sequence[LeftOut]) -> str:
    names = list(dict.fromkeys(each.name for each in group))
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def sentences(left_out: Iterable[LeftOut]) -> list[str]:
    """Say in one sentence per reason what is left out."""
    return [f"Left out ({reason}): {_runs(n)}: {names}." for reason, n, names in counted(left_out)]


def _runs(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"


def left_out_by(
    place: Path, entities: Mapping[str, str], rules: Sequence[IgnoreRules], exclusions: ExclusionTable | None
) -> tuple[str, str] | None:
    """Find the pattern or the row that leaves a run out.

    Parameters
    ----------
    place : Path
        Of its file within the dataset.
    entities : mapping
        Of its name.
    rules : sequence of IgnoreRules
        Of the datasets that it comes from.
    exclusions : ExclusionTable or None
        Of ``--exclude``.

    Returns
    -------
    (str, str) or None
        Reason and detail.
    """
    row = exclusions.match(entities) if exclusions is not None else None
    if exclusions is not None and row is not None:
        return f"--exclude{f': {row.reason}' if row.reason else ''}", f"row {row.number} of {exclusions.path.name}"
    pattern = next((found for rule in rules if (found := rule.reason(place.as_posix(), entities))), None)
    return None if pattern is None else (f".bidsignore: {pattern}", place.as_posix())
