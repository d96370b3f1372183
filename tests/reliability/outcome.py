"""What one kind of trouble came to: cases tried, cases survived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Row:
    """A line of the table in ``docs/reliability.md``.

    Parameters
    ----------
    part, case : str
        What was done.
    tried, survived : int
        Cases.
    measured : str
        Figures worth reading.
    faults : sequence of str
        What went wrong, one line for each case that was not survived.
    """

    part: str
    case: str
    tried: int
    survived: int
    measured: str = ""
    faults: Sequence[str] = field(default_factory=tuple)


def row(part: str, case: str, faults: Sequence[Sequence[str]], measured: str = "") -> Row:
    """Count cases, each with what was wrong with it, which is nothing for those survived."""
    told = [f"{number}: {'; '.join(each)}" for number, each in enumerate(faults) if each]
    return Row(part, case, len(faults), len(faults) - len(told), measured, told)
