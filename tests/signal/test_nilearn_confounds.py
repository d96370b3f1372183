"""What is known of nilearn's loader without importing it must be what nilearn knows."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from typing import Any

import pandas as pd
import pytest
from nilearn.interfaces.fmriprep import load_confounds
from nilearn.interfaces.fmriprep.load_confounds_compcor import prefix_compcor
from nilearn.interfaces.fmriprep.load_confounds_strategy import preset_strategies
from nilearn.interfaces.fmriprep.load_confounds_utils import add_suffix

from bids_neurossm.errors import UsageError
from bids_neurossm.signal import nilearn_confounds
from bids_neurossm.signal.nilearn_confounds import COMPONENTS, checked_arguments, expected_columns
from bids_neurossm.signal.strategy import load_strategy

# The package hides the module behind its function of the same name.
LOADER = importlib.import_module("nilearn.interfaces.fmriprep.load_confounds")
SIGNATURE = inspect.signature(load_confounds).parameters


def test_components_are_those_of_nilearn() -> None:
    assert list(COMPONENTS) == LOADER.all_confounds
    for name, arguments in COMPONENTS.items():
        # nilearn reads the JSON by itself; it is no argument of its loader.
        assert set(arguments) == set(LOADER.component_parameters.get(name, ())) - {"meta_json"}


def test_arguments_and_their_defaults_are_those_of_nilearn() -> None:
    known = {name for names in COMPONENTS.values() for name in names}
    assert known | {"strategy", "demean", "img_files"} == set(SIGNATURE)
    # tedana is refused whole, so its argument is not known either.
    assert set(nilearn_confounds._ALLOWED) == known - {"tedana"} | {"demean"}
    assert {name: SIGNATURE[name].default for name in nilearn_confounds._DEFAULTS} == nilearn_confounds._DEFAULTS


def test_kinds_of_compcor_are_those_of_nilearn() -> None:
    assert set(nilearn_confounds._COMPCOR) == set(prefix_compcor)


@pytest.mark.parametrize("expansion", nilearn_confounds._EXPANSIONS)
def test_expansions_are_those_of_nilearn(expansion: str) -> None:
    axes = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
    found = expected_columns({"strategy": ["motion"], "motion": expansion})
    assert sorted(found) == sorted(add_suffix(axes, expansion))


def test_expected_columns_are_those_that_nilearn_misses() -> None:
    arguments = load_strategy("36p").nilearn
    table = pd.DataFrame({name: [0.0, 1.0] for name in expected_columns(arguments)})
    found, missing = pd.DataFrame(), {"confounds": [], "keywords": []}
    for component in arguments["strategy"]:
        each, missing = LOADER._load_noise_component(table, component, missing, **arguments)
        found = pd.concat([found, each], axis=1)
    assert missing == {"confounds": [], "keywords": []}
    assert sorted(found) == sorted(table)


@pytest.mark.parametrize("name", ["simple", "scrubbing", "compcor"])
def test_shipped_strategies_are_the_presets_of_nilearn(name: str) -> None:
    preset = {key: value for key, value in preset_strategies[name].items() if value is not None and key != "demean"}
    assert {**load_strategy(name).nilearn, "strategy": tuple(load_strategy(name).nilearn["strategy"])} == preset


def test_a_preset_of_nilearn_can_be_pasted_as_it_stands() -> None:
    pasted = {
        key: list(value) if isinstance(value, tuple) else value for key, value in preset_strategies["compcor"].items()
    }
    assert checked_arguments(pasted, "x") == load_strategy("compcor").nilearn


def test_aroma_is_basic_unless_it_is_said() -> None:
    assert checked_arguments({"strategy": ["ica_aroma"]}, "x")["ica_aroma"] == "basic"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, '"strategy" must be a list'),
        ({"strategy": []}, '"strategy" must be a list'),
        ({"strategy": "motion"}, '"strategy" must be a list'),
        ({"strategy": ["motoin"]}, "'motoin' is no component of nilearn's; known are motion, high_pass"),
        ({"strategy": [["motion"]]}, r"\['motion'\] is no component"),
        ({"strategy": ["motion", "motion"]}, "names a component twice"),
        ({"strategy": ["compcor"]}, "'compcor' needs 'high_pass' beside it"),
        ({"strategy": ["tedana"]}, "files of their own, which are not read"),
        ({"strategy": ["motion"], "mtion": "full"}, "no argument 'mtion' here; known are compcor, demean"),
        ({"strategy": ["motion"], "wm_csf": "full"}, "'wm_csf' has no effect without 'wm_csf' in"),
        ({"strategy": ["motion"], "motion": "Full"}, "motion is 'Full'; expected is one of basic, derivatives"),
        ({"strategy": ["motion"], "motion": ["full"]}, r"motion is \['full'\]; expected is one of"),
        ({"strategy": ["scrub"], "scrub": 2.5}, "scrub is 2.5; expected is a whole number"),
        ({"strategy": ["scrub"], "scrub": True}, "scrub is True; expected is a whole number"),
        ({"strategy": ["scrub"], "fd_threshold": 0}, "fd_threshold is 0; expected is a positive number of mm"),
        ({"strategy": ["scrub"], "std_dvars_threshold": "1"}, "expected is a positive number"),
        ({"strategy": ["high_pass", "compcor"], "n_compcor": 0}, 'n_compcor is 0; expected is "all" or'),
        ({"strategy": ["high_pass", "compcor"], "compcor": "anat"}, "compcor is 'anat'; expected is one of"),
        ({"strategy": ["ica_aroma"], "ica_aroma": "full"}, "image that is read is desc-preproc"),
        ({"strategy": ["motion"], "demean": False}, "regressors are always centred"),
    ],
)
def test_what_nilearn_would_refuse_or_pass_over_is_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        checked_arguments(arguments, "--denoise mine.json")
    assert str(caught.value).startswith("--denoise mine.json: ")


def test_checking_a_strategy_imports_no_nilearn() -> None:
    code = (
        "import sys; from bids_neurossm.signal.strategy import load_strategy; load_strategy('36p'); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"nilearn", "pandas", "sklearn"} & set(done.stdout.split())
