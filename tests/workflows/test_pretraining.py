"""The graph that pretrains an encoder: a cohort, and one node that takes it."""

from __future__ import annotations

from pathlib import Path

from helpers.resting import resting_series

from bids_neurossm.cli.parser import parse_config
from bids_neurossm.planning.pretraining import plan_pretraining
from bids_neurossm.workflows.pretraining import init_pretraining_wf


def test_the_encoder_takes_the_cohort_and_the_threads_of_the_command(tmp_path: Path) -> None:
    dataset = resting_series(tmp_path / "series", ("01", "02"))
    options = ["--model", "lmae-rwmoe", "--recipe", "camcan-age", "--pretrain", "--omp-nthreads", "3"]
    plan = plan_pretraining(parse_config([str(dataset), str(tmp_path / "out"), "group", *options]))
    workflow = init_pretraining_wf(plan.analysis, plan.cohort, tmp_path / "work", tmp_path / "records")
    ((source, target, data),) = workflow._graph.edges(data=True)
    assert (source.name, target.name, data["connect"]) == ("cohort", "encoder", [("cohort", "cohort")])
    assert target.n_procs == 3
    assert [row["participant_id"] for row in source.inputs.runs] == ["01", "02"]
    assert (source.inputs.target_type, source.inputs.regions) == ("continuous", list("abcdef"))
