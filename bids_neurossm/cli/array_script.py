"""Job-array scripts for a dataset: the command that was typed, one participant or one cell of the grid per task."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from textwrap import fill

#: Options that a script sets itself, or that make no sense in one, with the number of their values (-1: all that
#: follow up to the next option).
_OWN_OPTIONS = {
    "--participant-label": -1,
    "--nprocs": 1,
    "--dry-run": 0,
    "--only-fold": 1,
    "--only-seed": 1,
    "--log-format": 1,
}


def participant_script(
    arguments: Sequence[str], labels: Sequence[str], memory: int, minutes: float, scheduler: str = "slurm"
) -> str:
    """Return an array script with one participant per task.

    Parameters
    ----------
    arguments : sequence of str
        The command line of ``bids-neurossm``, as typed.
    labels : sequence of str
        Participants, without ``sub-``.
    memory : int
        Of one task, in MB.
    minutes : float
        Time limit of one task.
    scheduler : {"slurm", "sge", "pbs"}
        Whose directives the script has.
    """
    quoted = fill(" ".join(shlex.quote(label) for label in labels), 100, break_long_words=False, break_on_hyphens=False)
    return _filled(
        f"{scheduler}-participants.sh",
        {"COUNT": len(labels), "LABELS": quoted, **_common(arguments, memory, minutes)},
    )


def cells_script(arguments: Sequence[str], folds: int, seeds: int, memory: int, minutes: float) -> str:
    """Return a SLURM array script with one fold and seed per task; see `participant_script`."""
    return _filled(
        "slurm-cells.sh",
        {"COUNT": folds * seeds, "FOLDS": folds, **_common(arguments, memory, minutes)},
    )


def without_own_options(arguments: Sequence[str]) -> list[str]:
    """Return a command line without what the script says itself.

    >>> without_own_options(["in", "out", "group", "--participant_label", "01", "02", "--dry-run", "-t", "nback"])
    ['in', 'out', 'group', '-t', 'nback']
    """
    kept: list[str] = []
    to_skip = 0
    for argument in arguments:
        name = argument.partition("=")[0].replace("_", "-") if argument.startswith("-") else ""
        if name:
            values = _OWN_OPTIONS.get(name)
            to_skip = 0 if values is None or "=" in argument else values
            if values is None:
                kept.append(argument)
        elif to_skip:
            to_skip -= 1
        else:
            kept.append(argument)
    return kept


def _common(arguments: Sequence[str], memory: int, minutes: float) -> dict[str, object]:
    text = shlex.join(without_own_options(arguments))
    whole = max(math.ceil(minutes), 1)
    time = f"{whole // 60:02d}:{whole % 60:02d}:00"
    return {"ARGUMENTS": text, "COMMAND": f"bids-neurossm {text}", "MEMORY": memory, "TIME": time}


def _filled(template: str, values: Mapping[str, object]) -> str:
    text = files("bids_neurossm").joinpath(f"data/hpc/{template}").read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@@{name}@@", str(value))
    return text
