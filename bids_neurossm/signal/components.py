"""What nilearn's loader of confounds can be asked for, known without importing nilearn.

A strategy is checked when a command is planned, long before a run is denoised, and nilearn takes seconds to import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bids_neurossm.errors import UsageError

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


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


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
