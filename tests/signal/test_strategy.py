"""A denoising strategy is data: shipped, or a JSON file of the user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bids_neurossm.errors import UsageError
from bids_neurossm.signal.strategy import load_strategy, shipped_strategies


def save(tmp_path: Path, content: Any, name: str = "my-own_24P.json") -> str:
    path = tmp_path / name
    path.write_text(json.dumps(content))
    return str(path)


def test_these_strategies_ship() -> None:
    assert shipped_strategies() == [
        *("24p", "36p", "compcor", "ica_aroma", "ica_aroma_full", "ica_aroma_nonaggressive"),
        *("none", "scrubbing", "simple"),
    ]


@pytest.mark.parametrize("name", shipped_strategies())
def test_shipped_strategies_say_what_they_do_and_by_whom(name: str) -> None:
    strategy = load_strategy(name)
    assert strategy.description.endswith(".")
    assert strategy.citation or not strategy.cleans
    assert strategy.scrubs == (name == "scrubbing")
    assert not strategy.filters


@pytest.mark.parametrize(
    "name", ["24p", "compcor", "ica_aroma", "ica_aroma_full", "ica_aroma_nonaggressive", "scrubbing", "simple"]
)
def test_the_global_signal_can_be_added_to_each(name: str) -> None:
    plain, with_global = load_strategy(name), load_strategy(f"{name}+gsr", high_pass=0.01)
    assert with_global.name == plain.name + "gsr"
    # File names and messages have the label; it is understood as well.
    assert load_strategy(with_global.name, high_pass=0.01) == with_global
    assert load_strategy(plain.name) == plain
    assert with_global.nilearn["strategy"] == [*plain.nilearn["strategy"], "global_signal"]
    assert with_global.nilearn["global_signal"] == "basic"
    assert with_global.description.endswith(", and the global signal.")
    assert with_global.high_pass == 0.01


@pytest.mark.parametrize(("name", "why"), [("36p", "has the global signal already"), ("none", "has no regressors")])
def test_the_global_signal_is_not_added_where_it_makes_no_sense(name: str, why: str) -> None:
    with pytest.raises(UsageError, match=rf"--denoise {name}\+gsr is not known: {name} {why}"):
        load_strategy(f"{name}+gsr")


def test_cut_offs_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, {"LowPass": 0.1})
    assert load_strategy(path, high_pass=0.01).high_pass == 0.01
    with pytest.raises(UsageError, match=r"the high-pass, 0.2 Hz, must lie below 0.1 Hz"):
        load_strategy(path, high_pass=0.2)


def test_simple_is_what_nilearn_calls_so() -> None:
    simple = load_strategy("simple")
    assert simple.nilearn == {"strategy": ["high_pass", "motion", "wm_csf"], "motion": "full", "wm_csf": "basic"}
    assert simple.needs_confounds
    assert simple.cleans
    assert simple.detrend
    assert (simple.high_pass, simple.low_pass) == (None, None)
    assert "Fox" in simple.citation


def test_none_does_nothing_and_needs_nothing() -> None:
    none = load_strategy("none")
    assert not none.needs_confounds
    assert not none.cleans


def test_filters_of_the_command_line_win() -> None:
    assert load_strategy("none", high_pass=0.01).cleans
    strategy = load_strategy("simple", high_pass=0.01, low_pass=0.1)
    assert (strategy.high_pass, strategy.low_pass) == (0.01, 0.1)


def test_a_file_with_wildcards(tmp_path: Path) -> None:
    content = {"Description": "Mine.", "Confounds": ["rot_*", "csf"], "HighPass": 0.008, "Detrend": False}
    strategy = load_strategy(save(tmp_path, content))
    assert strategy.name == "myown24P"
    assert strategy.columns == ("rot_*", "csf")
    assert (strategy.high_pass, strategy.low_pass, strategy.detrend) == (0.008, None, False)
    assert load_strategy(save(tmp_path, content), high_pass=0.01).high_pass == 0.01


def test_a_bare_list_of_columns_is_a_strategy_that_detrends(tmp_path: Path) -> None:
    strategy = load_strategy(save(tmp_path, ["trans_x", "csf"]))
    assert strategy.columns == ("trans_x", "csf")
    assert strategy.detrend


def test_a_name_in_the_file_wins_over_that_of_the_file(tmp_path: Path) -> None:
    assert load_strategy(save(tmp_path, {"Name": "36P + GSR", "Confounds": None})).name == "36PGSR"


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf["csf"]')
    assert load_strategy(str(path)).columns == ("csf",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"Confounds": ["csf"], "Highpass": 0.01}, "'Highpass' is not expected; known keys are .*HighPass"),
        ("csf", "'str' is not expected"),
        ({"Confounds": "csf"}, '"Confounds" must be a list of column names'),
        ({"Confounds": [1]}, '"Confounds" must be a list of column names'),
        ({"Confounds": {"nilearn": {"motion": "full"}}}, '"strategy" must be a list with one or more of motion'),
        ({"Confounds": {"nilearn": {"strategy": ["motoin"]}}}, "'motoin' is no component of nilearn's"),
        ({"Confounds": {"nilearn": {"strategy": ["motion"], "scrubb": 5}}}, "has no argument 'scrubb' here"),
        ({"HighPass": float("nan")}, '"HighPass" must be a positive frequency in Hz'),
        ({"Confounds": {"fmriprep": {}}}, '"Confounds" must be a list of column names'),
        ({"HighPass": 0}, '"HighPass" must be a positive frequency in Hz'),
        ({"LowPass": "0.1"}, '"LowPass" must be a positive frequency in Hz'),
        ({"LowPass": True}, '"LowPass" must be a positive frequency in Hz'),
        ({"Detrend": 1}, '"Detrend" must be true or false'),
        ({"Name": "--"}, "has no name with a letter or digit"),
    ],
)
def test_files_that_can_not_be_used_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = save(tmp_path, content)
    with pytest.raises(UsageError, match=message) as caught:
        load_strategy(path)
    assert path in str(caught.value)


def test_unknown_names_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--denoise 36P is not known; shipped are 24p, 36p, .* with \+gsr"):
        load_strategy("36P")
    with pytest.raises(UsageError, match=r"absent\.json cannot be read: No such file"):
        load_strategy(str(tmp_path / "absent.json"))
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UsageError, match="is not readable JSON"):
        load_strategy(str(tmp_path / "broken.json"))
