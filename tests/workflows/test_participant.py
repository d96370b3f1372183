"""The graph of the participant level: one chain for each run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bids_neurossm.atlas import load_parcellation
from bids_neurossm.config import Attribution, Evaluation, Execution, Extraction
from bids_neurossm.dataset.bold_run import BoldRun
from bids_neurossm.interfaces.plan import Places, RunPlan
from bids_neurossm.signal.strategy import load_strategy
from bids_neurossm.workflows.participant import final_node, init_participant_wf

RUN = BoldRun(
    Path("bold.nii.gz"), None, None, {"sub": "01", "task": "rest", "space": "MNI152NLin6Asym"}, Path("fmriprep"), 2.0
)


def edges_of(folder: Path, evaluation: Evaluation) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """Connections of every run's chain, by name of the nodes; they are the same for all runs."""
    atlas = load_parcellation("HarvardOxford", "MNI152NLin6Asym")
    other = replace(RUN, entities={**RUN.entities, "sub": "02"})
    workflow = init_participant_wf(
        [RunPlan(RUN, (atlas,)), RunPlan(other, (atlas,))],
        Places(folder / "out", folder / "work", folder / "records"),
        Extraction(),
        load_strategy("none"),
        evaluation,
        Attribution(),
        Execution(omp_nthreads=3),
    )
    chains = [workflow.get_node(f"run_sub_{label}_task_rest_space_MNI152NLin6Asym_wf") for label in ("01", "02")]
    first, second = (
        {(a.name, b.name): set(data["connect"]) for a, b, data in chain._graph.edges(data=True)} for chain in chains
    )
    assert first == second
    assert not workflow._graph.edges
    assert chains[1].get_node("extract").inputs.unit == other.key
    return first


def test_a_run_is_extracted_denoised_and_written(tmp_path: Path) -> None:
    assert edges_of(tmp_path, Evaluation()) == {
        ("inputnode", "extract"): {("run", "run")},
        ("inputnode", "denoise"): {("run", "run")},
        ("inputnode", "write"): {("run", "run")},
        ("extract", "denoise"): {("parcels", "parcels")},
        ("extract", "write"): {("bold_hash", "bold_hash"), ("before", "before")},
        ("denoise", "write"): {("clean", "clean")},
        ("write", "outputnode"): {("timeseries", "timeseries")},
    }


def test_a_checkpoint_is_applied_to_the_series_that_were_written(tmp_path: Path) -> None:
    without = edges_of(tmp_path, Evaluation())
    found = edges_of(tmp_path, Evaluation(checkpoint=tmp_path / "final.safetensors"))
    assert {key: found[key] for key in found.keys() - without.keys()} == {
        ("inputnode", "predict"): {("run", "run")},
        ("write", "predict"): {("timeseries", "timeseries")},
    }


@pytest.mark.parametrize(("checkpoint", "name"), [(None, "write"), (Path("final.safetensors"), "predict")])
def test_the_last_node_of_a_run_is_known(checkpoint: Path | None, name: str) -> None:
    assert final_node(Evaluation(checkpoint=checkpoint)) == name
