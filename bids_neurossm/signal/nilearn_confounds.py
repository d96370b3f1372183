"""Letting nilearn choose the columns of a strategy."""

from __future__ import annotations

import json
import re
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.errors import RunError
from bids_neurossm.files.tables import read_table
from bids_neurossm.signal.components import expected_columns
from bids_neurossm.signal.confounds_table import listed, read_metadata, steady_state_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

#: Columns of fMRIPrep that nilearn's strategies use. It looks for some by a part of their name, and refuses a table
#: with any column in camel case, so columns that others added are kept from it.
_KNOWN = re.compile(
    r"(?:(?:trans|rot)_[xyz]|csf|white_matter|csf_wm|global_signal)(?:_derivative1)?(?:_power2)?"
    r"|cosine_?\d+|[a-z]_comp_cor_\d+|edge_comp_\d+|dropped_\d+|aroma_motion_\d+"
    r"|(?:non_steady_state_outlier|motion_outlier)\d+|framewise_displacement|rmsd|(?:std_)?dvars"
)
#: Columns of fMRIPrep before 1.2.
_CAMEL_CASE = ("vx-wisestdDVARS", "WhiteMatter", "GlobalSignal", "FramewiseDisplacement", "stdDVARS", "RotX", "CSF")


def nilearn_confounds(
    table: Path, content: pd.DataFrame, name: str, arguments: Mapping[str, Any], steady_state: bool
) -> tuple[npt.NDArray[np.float64], tuple[str, ...], npt.NDArray[np.int64]]:
    """Call `nilearn.interfaces.fmriprep.load_confounds` on one table.

    nilearn looks for the table by the name of the image and is confused by siblings, so it is shown a folder of its own
    that holds this one table under a plain name.

    Parameters
    ----------
    table : Path
        Table of confounds.
    content : DataFrame
        What is in it.
    name : str
        Name of the strategy, for messages.
    arguments : mapping
        Arguments, as `bids_neurossm.signal.components.checked_arguments` gives them.
    steady_state : bool
        Whether nilearn may drop the volumes that fMRIPrep marked as not in a steady state; otherwise it does not see
        the marks.

    Returns
    -------
    regressors : ndarray of float64, shape (T, K)
        Centred, as nilearn gives them; NaN where the table has no number, but for the first row, which nilearn fills
        with the second.
    columns : tuple of str
        Their names.
    kept : ndarray of int64, shape (T_kept,)
        Volumes that nilearn keeps.

    Raises
    ------
    RunError
        If the table does not have what the strategy needs; the message lists what it has.
    """
    from nilearn.interfaces.fmriprep import load_confounds

    metadata = read_metadata(table, name) if "compcor" in arguments["strategy"] else {}
    with _scratch_folder() as scratch:
        plain = scratch / "sub-1_task-t_desc-confounds_timeseries.tsv"
        hidden = [] if steady_state else steady_state_columns(content)
        _copy(table, plain, [name for name in map(str, content) if _KNOWN.fullmatch(name) and name not in hidden])
        if metadata:
            plain.with_suffix(".json").write_text(json.dumps(metadata), encoding="utf-8")
        # The image itself need not be there; nilearn only reads its name.
        image = str(scratch / "sub-1_task-t_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                regressors, sample_mask = load_confounds(image, **arguments, demean=True)
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(_explained(error, table, plain, content, name, arguments)) from error
    kept = np.arange(len(content)) if sample_mask is None else np.asarray(sample_mask, dtype=np.int64)
    columns = tuple(str(each) for each in regressors.columns)
    # Without a column nilearn's frame may have no rows either.
    values = regressors.to_numpy(dtype=np.float64) if columns else np.empty((len(content), 0))
    return values, columns, kept


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """Make a temporary folder whose path nilearn can handle.

    nilearn finds the JSON by replacing every ``tsv`` in the path of the table, in the names of folders too, and the
    random part of a temporary name holds these letters now and then.
    """
    if "tsv" in tempfile.gettempdir():
        raise RunError(
            f"the folder for temporary files is {tempfile.gettempdir()}, and nilearn can not work below a folder with "
            "'tsv' in its name; set TMPDIR to another one."
        )
    while True:
        with tempfile.TemporaryDirectory(prefix="neurossm-confounds-") as folder:
            if "tsv" not in folder:
                yield Path(folder)
                return


def _copy(table: Path, plain: Path, columns: list[str]) -> None:
    """Copy the columns that nilearn is to see, digit for digit."""
    read_table(table, RunError)[columns].to_csv(plain, sep="\t", index=False)


def _explained(
    error: Exception, table: Path, plain: Path, content: pd.DataFrame, name: str, arguments: Mapping[str, Any]
) -> str:
    """Say in one sentence what nilearn could not find."""
    missing = [each for each in expected_columns(arguments) if each not in content]
    if missing and any(each in content for each in _CAMEL_CASE):
        return (
            f"{table} has column names in camel case, as fMRIPrep before 1.2 wrote them, so --denoise {name} can not "
            "be used; run a newer fMRIPrep, or name the columns in a JSON strategy."
        )
    if missing:
        reason = f"it lacks {', '.join(missing)}"
    elif "ica_aroma" in arguments["strategy"] and not any("aroma" in str(each) for each in content):
        reason = "it has no components of ICA-AROMA, which fMRIPrep up to 23.0 writes when called with --use-aroma"
    else:
        # nilearn's message names its scratch copy; the user knows the real one.
        reason = " ".join(str(error).replace(str(plain), str(table)).split()).rstrip(".")
    return f"{table} does not serve --denoise {name}: {reason}; it has the columns {listed(content)}."
