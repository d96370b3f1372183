"""What a model has to beat: what was named, or the panel that fits the cohort."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bids_neurossm.config import Evaluation, RunConfig
from bids_neurossm.errors import LabelError, UsageError
from bids_neurossm.planning.baselines import choose_baselines
from bids_neurossm.registry import STATIC_BASELINE, baseline_panel, model_entry

RUNS = pd.DataFrame({"run": ["a", "b"], "site": ["NYU", "UM"], "age": [30.0, 40.0], "mean_fd": [0.1, 0.2]})


def choose(
    runs: pd.DataFrame, *asked: str, target: str = "dx", model: str = "neurossm", kind: str = "class"
) -> tuple[str, ...]:
    evaluation = Evaluation(target=target, baselines=asked)
    return choose_baselines(RunConfig(Path("in"), Path("out"), "group", evaluation=evaluation), runs, model, kind)


def test_a_cohort_that_varies_in_everything_gets_the_whole_panel() -> None:
    for kind in ("class", "continuous"):
        panel = [name for name in baseline_panel(kind) if model_entry(name).needs in ("", *RUNS.columns)]
        assert choose(RUNS, kind=kind) == tuple(panel)


@pytest.mark.parametrize("site", [["NYU", "NYU"], ["NYU", None], ["NYU", ""]])
def test_one_site_has_nothing_that_a_model_of_the_site_could_learn(site: list[str | None]) -> None:
    of_site = [name for name in baseline_panel("class") if model_entry(name).needs == "site"]
    assert of_site
    assert set(choose(RUNS)) - set(choose(RUNS.assign(site=site))) == set(of_site)
    assert not set(choose(RUNS.drop(columns="site"))) & set(of_site)
    with pytest.raises(LabelError, match=rf"--baselines {of_site[0]} needs a column site that varies"):
        choose(RUNS.assign(site=site), of_site[0])


def test_the_target_is_no_baseline_of_itself() -> None:
    of_age = [name for name in baseline_panel("continuous") if model_entry(name).needs == "age"]
    assert of_age
    assert set(of_age) <= set(choose(RUNS, kind="continuous"))
    assert not set(of_age) & set(choose(RUNS, kind="continuous", target="age"))


def test_what_is_named_is_taken_once_and_in_its_order() -> None:
    assert choose(RUNS, "majority", "tangent-connectivity", "majority") == ("majority", "tangent-connectivity")
    assert choose(RUNS, "none") == ()
    assert choose(RUNS, "neurossm", "majority") == ("majority",)  # the model is not its own
    with pytest.raises(UsageError, match=r"--baselines tangents is not known; known are none, .*, neurossm, "):
        choose(RUNS, "tangents")


def test_a_sum_of_two_parts_has_to_beat_each_of_them() -> None:
    assert {"neurossm", STATIC_BASELINE} <= set(choose(RUNS, model="neurossm-static"))
    assert "neurossm" not in choose(RUNS)
