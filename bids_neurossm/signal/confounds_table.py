"""Reading fMRIPrep's table of confounds, of any version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.errors import RunError
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.safe_reading import is_listed
from bids_neurossm.files.tables import read_delimited

if TYPE_CHECKING:
    import pandas as pd


def read_table(table: Path, n_volumes: int) -> pd.DataFrame:
    """Read a table of confounds.

    Parameters
    ----------
    table : Path
        fMRIPrep's ``*_desc-confounds_timeseries.tsv`` or ``_regressors.tsv``.
    n_volumes : int
        Volumes of the image, T.

    Returns
    -------
    DataFrame
        T rows.

    Raises
    ------
    RunError
        If it is no table, or has another number of rows.
    """
    content = read_delimited(table, RunError).typed()
    if len(content) != n_volumes:
        raise RunError(
            f"{table} has {len(content)} rows, the image has {n_volumes} volumes; both must come from one run of "
            "fMRIPrep."
        )
    return content


def read_metadata(table: Path, strategy: str) -> dict[str, Any]:
    """Read the JSON beside a table, which says what mask a CompCor component comes from.

    Parameters
    ----------
    table : Path
        Table of confounds.
    strategy : str
        Name of the strategy that needs it, for messages.

    Raises
    ------
    RunError
        If it is missing or damaged, or its content was not fetched.
    """
    path = table.with_suffix(".json")
    if not is_listed(path):
        raise RunError(
            f"{path} is missing, and --denoise {strategy} needs it to distinguish the CompCor components; fMRIPrep 1.4 "
            "and later write it next to the table."
        )
    return read_json_object(path, RunError)


def numbers(content: pd.DataFrame, columns: list[str], table: Path | None) -> npt.NDArray[np.float64]:
    """Read columns as numbers.

    Returns
    -------
    ndarray of float64, shape (T, K)
        NaN where the table has none.

    Raises
    ------
    RunError
        If there is text in them.
    """
    try:
        return content[columns].to_numpy(dtype=np.float64)
    except ValueError as error:
        raise RunError(f"{table} holds text where numbers are expected, in {', '.join(columns)}: {error}.") from error


def column(content: pd.DataFrame, name: str, table: Path | None) -> npt.NDArray[np.float64] | None:
    """Read one column as numbers, shape (T,); None where the table does not have it."""
    return numbers(content, [name], table)[:, 0] if name in content else None


def first_steady_volume(content: pd.DataFrame, table: Path | None) -> int:
    """Find the first volume in a steady state, by the columns ``non_steady_state_outlier*``."""
    columns = steady_state_columns(content)
    if not columns:
        return 0
    marked = np.flatnonzero(numbers(content, columns, table).sum(axis=1) > 0)
    return int(marked[-1]) + 1 if marked.size else 0


def steady_state_columns(content: pd.DataFrame) -> list[str]:
    """List the columns that mark volumes before the steady state, one column per volume."""
    return [str(name) for name in content if str(name).startswith("non_steady_state_outlier")]


def listed(content: pd.DataFrame, most: int = 12) -> str:
    """Name the columns of a table, for messages."""
    names = [str(name) for name in content.columns]
    return ", ".join(names[:most]) + (f" ... ({len(names)} in all)" if len(names) > most else "")
