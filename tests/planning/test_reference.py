"""Where the literature comes from, decided before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bids_neurossm.atlas import load_parcellation
from bids_neurossm.config import Attribution, Reference, RunConfig
from bids_neurossm.errors import ResourceMissingError, UsageError
from bids_neurossm.planning.reference import atlas_by_name, neurosynth_folder, plan_reference

CONFIG = RunConfig(Path("in"), Path("out"), "group")
SHIPPED = replace(CONFIG, reference=Reference(source="nback-flanker"))
TASKS = ["flanker", "nback"]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("NEUROSSM_RESOURCES", "TEMPLATEFLOW_HOME", "NIMARE_DATA"):
        monkeypatch.setenv(name, str(tmp_path / name))


def test_shipped_studies_are_averaged_in_the_regions_of_the_series() -> None:
    atlas = load_parcellation("HarvardOxford", "MNI152NLin6Asym")
    plan = plan_reference(SHIPPED, TASKS, atlas, atlas.entities)
    assert (plan.source, plan.terms, plan.notes) == ("nback-flanker", "nback-flanker", ())
    assert plan.parcellation is atlas


def test_no_reference_where_it_was_switched_off() -> None:
    for config in (
        replace(CONFIG, reference=Reference(source="none")),
        replace(SHIPPED, attribution=Attribution(cpa=False)),
    ):
        assert plan_reference(config, TASKS, None, {}).notes == ["No reference: it was switched off."]


@pytest.mark.usefixtures("nowhere")
def test_the_default_is_left_out_with_the_reason_and_what_was_asked_for_must_be_there() -> None:
    atlas = load_parcellation("HarvardOxford", "MNI152NLin6Asym")
    (note,) = plan_reference(CONFIG, TASKS, atlas, atlas.entities).notes
    assert note.startswith("No reference: Neurosynth's files are in none of ")
    with pytest.raises(ResourceMissingError, match="Neurosynth's files are in none of"):
        plan_reference(replace(CONFIG, reference=Reference(source="neurosynth")), TASKS, atlas, atlas.entities)


def test_classes_without_terms_are_named() -> None:
    atlas = load_parcellation("HarvardOxford", "MNI152NLin6Asym")
    with pytest.raises(UsageError, match="no shipped table has terms for the classes blue, red"):
        plan_reference(SHIPPED, ["blue", "red"], atlas, atlas.entities)
    with pytest.raises(UsageError, match="a continuous target has no classes"):
        plan_reference(SHIPPED, [], atlas, atlas.entities)


def test_series_without_an_atlas_image_have_no_reference_whoever_asked() -> None:
    (note,) = plan_reference(SHIPPED, TASKS, None, {}).notes
    assert note.startswith("No reference: the series come without an atlas image")


@pytest.mark.usefixtures("nowhere")
def test_neurosynth_is_looked_for_in_every_folder_of_resources(tmp_path: Path) -> None:
    for place in (".nimare", "NIMARE_DATA", "TEMPLATEFLOW_HOME", "NEUROSSM_RESOURCES"):
        (tmp_path / place / "neurosynth").mkdir(parents=True)
        assert neurosynth_folder("neurosynth") == tmp_path / place / "neurosynth"
    assert neurosynth_folder(str(tmp_path / ".nimare")) == tmp_path / ".nimare"
    with pytest.raises(ResourceMissingError, match="neither a known name nor a folder"):
        neurosynth_folder(str(tmp_path / "absent"))


def test_an_atlas_is_known_by_the_entities_of_its_series() -> None:
    found = atlas_by_name(CONFIG, {"atlas": "HarvardOxford"}, "MNI152NLin6Asym")
    assert found is not None
    assert found.n_regions == 48
    assert atlas_by_name(CONFIG, {"atlas": "CC200"}, "MNI152NLin6Asym") is None
    assert atlas_by_name(CONFIG, {"atlas": "HarvardOxford"}, "T1w") is None
