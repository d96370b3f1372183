"""Which images of one recording are kinds of it, and that one of them is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import ASYM6, C2009, bold, found

from bids_neurossm.config import Selection
from bids_neurossm.dataset.query import find_bold_runs
from bids_neurossm.errors import UsageError


def test_each_recording_is_taken_in_one_space_2009c_first(make_tree: Any) -> None:
    dataset = make_tree(
        bold("sub-01_task-rest", C2009),
        bold("sub-01_task-rest", ASYM6),
        bold("sub-02_task-rest", ASYM6),
        bold("sub-02_task-rest", "space-T1w"),
        bold("sub-02_task-rest"),
    )
    assert found(dataset) == [bold("sub-01_task-rest", C2009), bold("sub-02_task-rest", ASYM6)]
    assert found(dataset, space="MNI152NLin6Asym") == [bold(f"sub-{i}_task-rest", ASYM6) for i in ("01", "02")]
    assert found(dataset, space="space-T1w") == [bold("sub-02_task-rest", "space-T1w")]


def test_two_resolutions_of_one_recording_need_a_choice(make_tree: Any) -> None:
    dataset = make_tree(bold("sub-01_task-rest", C2009, "res-2"), bold("sub-01_task-rest", C2009, "res-native"))
    with pytest.raises(UsageError, match=r"res-2.*res-native.*one recording at two resolutions; choose one with --res"):
        found(dataset)
    assert found(dataset, res="2") == [bold("sub-01_task-rest", C2009, "res-2")]
    assert found(dataset, res="res-native") == [bold("sub-01_task-rest", C2009, "res-native")]


def test_two_images_that_would_be_written_under_one_name_are_refused(make_tree: Any, tmp_path: Path) -> None:
    name = bold("sub-01_task-rest", C2009)
    with pytest.raises(UsageError, match=r"bold\.nii and .*bold\.nii\.gz would be written under one name; keep one"):
        found(make_tree(name, name.removesuffix(".gz")))
    smooth = name.replace("preproc", "smoothAROMAnonaggr")
    (tmp_path / "filter.json").write_text(json.dumps({"bold": {"desc": ["preproc", "smoothAROMAnonaggr"]}}))
    with pytest.raises(UsageError, match="would be written under one name"):
        found(
            make_tree(bold("sub-02_task-rest", C2009), smooth.replace("sub-01", "sub-02")),
            bids_filter_file=tmp_path / "filter.json",
            participant_label=("02",),
        )


class TestKindsOfOneRecording:
    """Echo, part and entities of other programs name kinds of images of one recording: one is used."""

    def test_two_echoes_are_refused_with_the_option_that_chooses(self, make_tree: Any) -> None:
        echoes = [bold(f"sub-01_task-rest_echo-{echo}", C2009) for echo in (1, 2)]
        dataset = make_tree(*echoes, bold("sub-02_task-rest_echo-1", C2009))
        with pytest.raises(
            UsageError, match=r"echo-1 space-\S+ desc-preproc; echo-2 .* Choose one with --filter echo=1"
        ):
            found(dataset)
        assert found(dataset, filter={"echo": ("2",)}) == echoes[1:]
        assert found(dataset, filter={"echo": ("01",)}) == [echoes[0], bold("sub-02_task-rest_echo-1", C2009)]

    def test_a_recording_may_be_of_another_kind_than_the_next(self, make_tree: Any) -> None:
        names = [bold("sub-01_task-rest_part-mag", C2009), bold("sub-02_task-rest", C2009)]
        assert found(make_tree(*names)) == names

    def test_an_empty_label_means_without_the_entity(self, make_tree: Any) -> None:
        names = [bold("sub-01_task-rest", C2009), bold("sub-01_task-rest_echo-1", C2009)]
        dataset = make_tree(*names)
        assert found(dataset, filter={"echo": ("",)}) == names[:1]
        with pytest.raises(UsageError, match="are kinds of one recording"):
            found(dataset, filter={"echo": ("", "1")})

    def test_run_1_and_run_01_are_one_recording(self, make_tree: Any) -> None:
        with pytest.raises(UsageError, match="would be written under one name; keep one"):
            found(make_tree(*(bold(f"sub-01_task-rest_run-{run}", C2009) for run in ("1", "01"))))

    def test_a_filter_may_name_space_and_desc(self, make_tree: Any) -> None:
        smooth = bold("sub-01_task-rest", ASYM6).replace("preproc", "smoothAROMAnonaggr")
        dataset = make_tree(bold("sub-01_task-rest", C2009), bold("sub-01_task-rest", "space-T1w"), smooth)
        assert found(dataset, filter={"space": ("T1w",)}) == [bold("sub-01_task-rest", "space-T1w")]
        assert found(dataset, filter={"desc": ("smoothAROMAnonaggr",)}) == [smooth]

    def test_the_kind_stays_in_the_name_of_the_run(self, make_tree: Any) -> None:
        (run,) = find_bold_runs(make_tree(bold("sub-01_task-rest_echo-1_part-mag", C2009)), Selection())
        assert run.key == f"sub-01_task-rest_echo-1_part-mag_{C2009}"
