"""How often a holdout was looked at: every configuration that was scored on one is counted.

A holdout that is looked at after every change becomes training data. The ledger counts distinct configurations of a
dataset that were scored on a holdout of the same target, whatever their analysis was called; doing the same again is no
new look (docs/methods.md, section 2).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bids_neurossm.analysis.cells import Analysis
from bids_neurossm.errors import RunError
from bids_neurossm.files.tables import read_output
from bids_neurossm.files.write import write_tsv

FILE = "holdout_ledger.tsv"
COLUMNS = ["look", "configuration", "analysis", "model", "target", "n", "metric", "value"]


def record_look(analysis: Analysis, target: str, configuration: str, n: int, metric: str, value: float) -> int:
    """Enter a look at the holdout, unless this configuration is entered already.

    Parameters
    ----------
    analysis : Analysis
        Its ledger is ``group/<analysis>/holdout_ledger.tsv``; those of the other analyses are counted too.
    target : str
        What was predicted.
    configuration : str
        Hash of everything that the final models were made from.
    n : int
        Units in the holdout.
    metric, value
        What was seen.

    Returns
    -------
    int
        Which look this is; 1 is the first.
    """
    path = analysis.outputs.folder / FILE
    looks = _looks(path.parent.parent, target)
    known = looks[looks["configuration"] == configuration]
    if len(known):
        return int(known["look"].min())
    number = int(looks["look"].max()) + 1 if len(looks) else 1
    own = _read(path)
    row = [number, configuration, analysis.outputs.analysis, analysis.model.name, target, n, metric, value]
    write_tsv(path, pd.concat([own, pd.DataFrame([row], columns=COLUMNS)]) if len(own) else _table([row]))
    return number


def look_sentence(number: int, target: str) -> str:
    """Say what a look is worth."""
    if number == 1:
        return f"First look at a holdout of {target} in this dataset (holdout_ledger.tsv)."
    return (
        f"{_ordinal(number)} look at a holdout of {target} in this dataset (holdout_ledger.tsv): whoever chose this "
        "analysis after having seen the others has to expect less on new data than its figures say."
    )


def _ordinal(number: int) -> str:
    teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _looks(folder: Path, target: str) -> pd.DataFrame:
    tables = [_read(path) for path in sorted(folder.glob(f"*/{FILE}"))]
    every = pd.concat([table for table in tables if len(table)]) if any(map(len, tables)) else _table([])
    return every[every["target"] == target]


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        return _table([])
    return read_output(path, RunError)


def _table(rows: list[list[object]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)
