"""The literature of an analysis: computed once, read from the cache where nothing changed, and named for what it is."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.analysis.cells import Analysis
from bids_neurossm.atlas import load_parcellation
from bids_neurossm.config import Attribution, Evaluation, Execution, ModelSpec, Reference, Training
from bids_neurossm.dataset.outputs import GroupOutputs
from bids_neurossm.errors import ResourceMissingError
from bids_neurossm.interfaces import reference as literature
from bids_neurossm.interfaces.reference import ComputeReference, studies_identity


def compute(folder: Path, classes: list[str], cache: Path) -> tuple[dict[str, np.ndarray], pd.DataFrame, list[str]]:
    analysis = Analysis(
        outputs=GroupOutputs(folder, "test", {}),
        level="run",
        model=ModelSpec(),
        baselines=(),
        training=Training(),
        evaluation=Evaluation(),
        execution=Execution(),
        attribution=Attribution(),
        reference=Reference(),
    )
    node = ComputeReference(
        unit="reference",
        analysis=analysis,
        records=str(folder),
        classes=classes,
        source="nback-flanker",
        terms="nback-flanker",
        parcellation=load_parcellation("HarvardOxford", "MNI152NLin6Asym"),
        cache=str(cache),
    )
    folder.mkdir(exist_ok=True)
    node._work(folder)
    with np.load(node._results["reference"], allow_pickle=False) as stored:
        return dict(stored), pd.read_csv(analysis.outputs.table("reference_terms"), sep="\t"), node._results["notes"]


def test_a_second_run_reads_the_cache_and_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    first = compute(tmp_path / "first", ["flanker", "nback"], cache)
    assert str(first[0]["source"]).endswith("n-back and flanker")
    assert str(first[0]["table"]) == "nback-flanker"
    assert first[0]["maps"].shape == (2, 48)
    monkeypatch.setattr(literature, "load_studies", lambda _: pytest.fail("the studies were read again"))
    started = time.process_time()
    second = compute(tmp_path / "second", ["flanker", "nback"], cache)
    assert time.process_time() - started < 2
    for name, values in first[0].items():
        np.testing.assert_array_equal(values, second[0][name])
    assert first[1].equals(second[1])
    assert first[2] == second[2]
    monkeypatch.undo()
    # A file that was cut short is made anew; another question has an answer of its own.
    stored = next(cache.glob("reference-*.npz"))
    stored.write_bytes(stored.read_bytes()[:500])
    again = compute(tmp_path / "third", ["flanker", "nback"], cache)
    np.testing.assert_array_equal(again[0]["maps"], first[0]["maps"])
    other = compute(tmp_path / "fourth", ["nback", "something"], cache)
    assert np.isnan(other[0]["maps"][1]).all()
    assert any("No reference for the class something" in note for note in other[2])


def test_a_folder_without_the_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResourceMissingError, match=r"coordinates\.tsv\.gz: there is no such file"):
        studies_identity(str(tmp_path))
