"""Letting nilearn choose the columns of a strategy."""

from __future__ import annotations

import json
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.files.tables import read_table
from bids_neurossm.signal.confounds_table import listed, read_metadata, steady_state_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

_EXPANSIONS = ("basic", "derivatives", "power2", "full")
_COMPCOR = ("anat_combined", "anat_separated", "temporal", "temporal_anat_combined", "temporal_anat_separated")
#: Components of `nilearn.interfaces.fmriprep.load_confounds` and the arguments that belong to each.
COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "motion": ("motion",),
    "high_pass": (),
    "wm_csf": ("wm_csf",),
    "global_signal": ("global_signal",),
    "compcor": ("compcor", "n_compcor"),
    "ica_aroma": ("ica_aroma",),
    "tedana": ("tedana",),
    "scrub": ("scrub", "fd_threshold", "std_dvars_threshold"),
    "non_steady_state": (),
}
_SUFFIXES = {
    "basic": ("",),
    "derivatives": ("", "_derivative1"),
    "power2": ("", "_power2"),
    "full": ("", "_derivative1", "_power2", "_derivative1_power2"),
}
_BASES = {
    "motion": ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"),
    "wm_csf": ("csf", "white_matter"),
    "global_signal": ("global_signal",),
}
#: What nilearn does where an argument is not given.
_DEFAULTS = {"motion": "full", "wm_csf": "basic", "global_signal": "basic"}
#: Argument -> what it may be, in words and as a test.
_ALLOWED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    **{name: (f"one of {', '.join(_EXPANSIONS)}", lambda value: value in _EXPANSIONS) for name in _BASES},
    "compcor": (f"one of {', '.join(_COMPCOR)}", lambda value: value in _COMPCOR),
    "n_compcor": ('"all" or a whole number from 1', lambda value: value == "all" or _whole(value, 1)),
    "ica_aroma": (
        '"basic": "full" belongs to fMRIPrep\'s smoothed desc-smoothAROMAnonaggr image, and the image that is read is '
        "desc-preproc (for the other one there is --denoise ica_aroma_full)",
        lambda value: value == "basic",
    ),
    "scrub": ("a whole number of volumes, 0 or more", lambda value: _whole(value, 0)),
    "fd_threshold": ("a positive number of mm", lambda value: _number(value) and value > 0),
    "std_dvars_threshold": ("a positive number", lambda value: _number(value) and value > 0),
    "demean": ("true: regressors are always centred", lambda value: value is True),
}


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
        Arguments, as `bids_neurossm.signal.nilearn_confounds.checked_arguments` gives them.
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


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def checked_arguments(arguments: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check the arguments of nilearn's loader, and leave out those that say nothing.

    Parameters
    ----------
    arguments : mapping
        As in ``{"strategy": ["motion", "wm_csf"], "motion": "full"}``; null stands for nilearn's own default.
    where : str
        What the arguments belong to, for messages.

    Returns
    -------
    dict
        For `nilearn.interfaces.fmriprep.load_confounds`, without ``demean``. ``ica_aroma`` becomes ``basic`` where it
        is not given: nilearn's default wants an image that is not the one that is read.

    Raises
    ------
    UsageError
        If a component or an argument is unknown, has a value that nilearn refuses, or belongs to a component that is
        not asked for.
    """
    components = arguments.get("strategy")
    if not isinstance(components, list) or not components:
        raise UsageError(f'{where}: "strategy" must be a list with one or more of {", ".join(COMPONENTS)}.')
    _check_components(components, where)
    given = {name: value for name, value in arguments.items() if value is not None and name != "strategy"}
    belongs = {name: component for component, names in COMPONENTS.items() for name in names}
    for name, value in given.items():
        if name not in _ALLOWED:
            known = ", ".join(sorted({"strategy", *_ALLOWED}))
            raise UsageError(f"{where}: nilearn's load_confounds has no argument {name!r} here; known are {known}.")
        if name in belongs and belongs[name] not in components:
            raise UsageError(f'{where}: {name!r} has no effect without {belongs[name]!r} in "strategy".')
        expected, fits = _ALLOWED[name]
        if not fits(value):
            raise UsageError(f"{where}: {name} is {value!r}; expected is {expected}.")
    given.pop("demean", None)
    if "ica_aroma" in components:
        given["ica_aroma"] = "basic"
    return {"strategy": list(components), **given}


def _check_components(components: list[Any], where: str) -> None:
    unknown = [each for each in components if not isinstance(each, str) or each not in COMPONENTS]
    if unknown:
        raise UsageError(f"{where}: {unknown[0]!r} is no component of nilearn's; known are {', '.join(COMPONENTS)}.")
    if len(set(components)) < len(components):
        raise UsageError(f'{where}: "strategy" names a component twice: {", ".join(components)}.')
    if "tedana" in components:
        raise UsageError(
            f"{where}: tedana's components stand in files of their own, which are not read; denoise with tedana first, "
            "or add its components to the table of confounds and name them as columns."
        )
    if "compcor" in components and "high_pass" not in components:
        # fMRIPrep takes the components from high-pass filtered data.
        raise UsageError(f"{where}: 'compcor' needs 'high_pass' beside it.")


def expected_columns(arguments: Mapping[str, Any]) -> list[str]:
    """List the columns of the confounds table that checked arguments ask for by name.

    Components whose number differs from run to run (cosines, CompCor, ICA-AROMA) are not among them.
    """
    columns: list[str] = []
    for component in arguments["strategy"]:
        if component in _BASES:
            suffixes = _SUFFIXES[arguments.get(component, _DEFAULTS[component])]
            columns += [f"{base}{suffix}" for base in _BASES[component] for suffix in suffixes]
        elif component == "scrub":
            columns += ["framewise_displacement", "std_dvars"]
    return columns
