"""Bad input gets one sentence that names the file, the right exit code, and stops nothing else."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest


def image_of(dataset: Path, participant: str, task: str = "nback") -> Path:
    return next((dataset / f"sub-{participant}" / "func").glob(f"*task-{task}*bold.nii.gz"))


def spoil_voxel(path: Path, value: float, volumes: slice) -> None:
    """Rewrite an image as float32 with one voxel of one region spoilt."""
    image = nib.load(path)
    data = np.asanyarray(image.dataobj).astype(np.float32)
    inside = np.argwhere(data[..., 0] > 0)
    x, y, z = inside[len(inside) // 2]
    data[x - 1 : x + 2, y, z, volumes] = value
    nib.save(nib.Nifti1Image(data, image.affine), path)


@pytest.fixture(scope="module")
def damaged(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One participant is sound, the others have something wrong with their n-back run."""
    dataset = tmp_path_factory.mktemp("damaged") / "fmriprep"
    shutil.copytree(simulated, dataset)
    for flanker in dataset.glob("sub-0[2-9]/func/*task-flanker*"):
        flanker.unlink()
    for participant in ("07", "08"):
        shutil.rmtree(dataset / f"sub-{participant}")
    next(dataset.glob("sub-02/func/*nback*confounds*.tsv")).unlink()
    table = next(dataset.glob("sub-03/func/*nback*confounds*.tsv"))
    table.write_text("\n".join(table.read_text().splitlines()[:-5]) + "\n")
    sidecar = image_of(dataset, "04").with_name(image_of(dataset, "04").name.replace(".nii.gz", ".json"))
    sidecar.write_text(json.dumps({"RepetitionTime": 0}))
    broken = image_of(dataset, "05")
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    spoil_voxel(image_of(dataset, "06"), np.nan, slice(20, 23))
    return dataset


def test_every_bad_run_is_named_and_the_sound_ones_are_done(command: Any, damaged: Path, tmp_path: Path) -> None:
    done = command(damaged, tmp_path / "out", "participant", "--atlas", "HarvardOxford")
    assert done.returncode == 1, done.stdout + done.stderr
    said = {line.split(": ")[1].split("_")[0]: line for line in done.stdout.splitlines() if line.startswith("failed")}
    assert sorted(said) == ["sub-02", "sub-03", "sub-04", "sub-05", "sub-06"]
    assert "confounds" in said["sub-02"]
    assert "--denoise none" in said["sub-02"]
    assert "has 35 rows, the image has 40 volumes" in said["sub-03"]
    assert "RepetitionTime is 0" in said["sub-04"]
    assert "is damaged" in said["sub-05"]
    assert "NaN" in said["sub-06"]
    assert "volume 21" in said["sub-06"]
    for participant in ("03", "04", "05", "06"):
        assert f"sub-{participant}_task-nback" in said[f"sub-{participant}"]
    assert "2 of 7 runs done" in done.stdout
    assert len(list((tmp_path / "out").glob("sub-01/func/*timeseries.json"))) == 2
    assert "Traceback" not in done.stdout + done.stderr
    # Every participant has a report, also those whose only run failed.
    assert len(list((tmp_path / "out").glob("sub-*.html"))) == 6
    assert "is damaged" in (tmp_path / "out" / "sub-05.html").read_text()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--task-id", "rest"], 3, "tasks flanker, nback"),
        (["--participant-label", "99"], 3, "no folder sub-99"),
        (["--space", "MNI152NLin2009cAsym"], 3, "spaces MNI152NLin6Asym"),
        (["--atlas", "Nowhere"], 2, "Nowhere is not known"),
        (["--denoise", "magic"], 2, "shipped are 24p, 36p"),
        (["--dummy-scans", "two"], 2, "auto or a whole number"),
        (["--high-pass", "0.1", "--low-pass", "0.01"], 2, "--high-pass must lie below"),
        (["--checkpoint", "nothing.safetensors"], 8, "nothing"),
        (["--nprocs", "0"], 2, "--nprocs"),
        (["--frobnicate"], 2, "unrecognized arguments"),
    ],
)
def test_what_can_be_known_at_once_is_said_at_once(
    command: Any, simulated: Path, tmp_path: Path, options: list[str], code: int, words: str
) -> None:
    atlas = [] if "--atlas" in options else ["--atlas", "HarvardOxford"]
    done = command(simulated, tmp_path / "out", "participant", *atlas, *options)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_atlas_of_another_space_is_refused(
    command: Any, simulated: Path, templateflow_home: Path, tmp_path: Path
) -> None:
    source = templateflow_home / "tpl-MNI152NLin2009cAsym"
    stem = "tpl-MNI152NLin2009cAsym_res-02_atlas-Schaefer2018_desc-400Parcels7Networks_dseg"
    shutil.copy(source / f"{stem}.nii.gz", tmp_path)
    shutil.copy(source / f"{stem.replace('_res-02', '')}.tsv", tmp_path / f"{stem}.tsv")
    done = command(simulated, tmp_path / "out", "participant", "--atlas", tmp_path / f"{stem}.nii.gz")
    assert done.returncode == 2
    assert "is drawn in MNI152NLin2009cAsym, the runs are in MNI152NLin6Asym" in done.stderr


def test_an_empty_templateflow_stub_offline_is_exit_4(command: Any, simulated: Path, tmp_path: Path) -> None:
    home = tmp_path / "templateflow" / "tpl-MNI152NLin6Asym"
    home.mkdir(parents=True)
    (home / "tpl-MNI152NLin6Asym_res-02_atlas-Schaefer2018_desc-400Parcels7Networks_dseg.nii.gz").touch()
    done = command(simulated, tmp_path / "out", "participant", TEMPLATEFLOW_HOME=str(tmp_path / "templateflow"))
    assert done.returncode == 4
    assert "is empty" in done.stderr
    assert "bids-neurossm-fetch" in done.stderr


def test_input_and_output_must_differ(command: Any, simulated: Path) -> None:
    done = command(simulated, simulated, "participant", "--atlas", "HarvardOxford")
    assert done.returncode == 2
    assert "never written to" in done.stderr


def test_a_foreign_dataset_is_not_overwritten(command: Any, simulated: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset_description.json").write_text(json.dumps({"GeneratedBy": [{"Name": "XCP-D"}]}))
    done = command(simulated, tmp_path, "participant", "--atlas", "HarvardOxford")
    assert done.returncode == 2
    assert "already holds a dataset by XCP-D" in done.stderr


@pytest.fixture(scope="module")
def labelled(participant_results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of participants with columns of several kinds."""
    path = tmp_path_factory.mktemp("labels") / "participants.tsv"
    people = [f"sub-{number:02d}" for number in range(1, 9)]
    pd.DataFrame(
        {
            "participant_id": people,
            "dx": ["1", "2"] * 4,
            "same": ["yes"] * 8,
            "rare": ["a"] * 6 + ["b"] * 2,
            "word": ["x", "y", "z", "w", "u", "v", "s", "t"],
        }
    ).to_csv(path, sep="\t", index=False)
    return path


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], 2, "needs --target"),
        (["--target", "diagnosis"], 7, "no column 'diagnosis'; it has participant_id, dx"),
        (["--target", "same"], 7, "one class"),
        (["--target", "rare"], 7, "fold"),
        (["--target", "word", "--target-type", "continuous"], 7, "sub-01 'x', sub-02 'y', sub-03 'z'"),
        (["--target", "phenotype/../secret:x"], 2, "directly under phenotype/"),
        (["--target", "dx", "--model", "oracle"], 2, "known are"),
        (["--target", "dx", "--recipe", "nowhere"], 2, "recipe"),
        (["--target", "dx", "--folds", "4", "--reference", "/nowhere"], 4, "/nowhere"),
        (["--target", "dx", "--folds", "4", "--reference", "nback-flanker"], 2, "--reference-terms"),
        (["--target", "entity:task", "--denoise", "none"], 3, "desc-simple"),
    ],
)
def test_the_group_level_refuses_before_training(
    command: Any,
    simulated: Path,
    participant_results: Path,
    labelled: Path,
    options: list[str],
    code: int,
    words: str,
) -> None:
    labels = ["--participants-file", labelled] if any("entity" not in each for each in options[1:2]) else []
    done = command(simulated, participant_results, "group", *options, *labels)
    assert done.returncode == code, done.stdout + done.stderr
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_labels_that_are_nowhere_list_the_places_tried(
    command: Any, simulated: Path, participant_results: Path
) -> None:
    done = command(simulated, participant_results, "group", "--target", "dx")
    assert done.returncode == 7
    assert str(simulated / "participants.tsv") in done.stderr
    assert "--participants-file" in done.stderr


def test_a_checkpoint_of_another_atlas_is_exit_8(
    command: Any, simulated: Path, group_results: Path, shared_data: Path, tmp_path: Path
) -> None:
    checkpoint = group_results / "models" / "tasks" / "final.safetensors"
    atlas = shared_data / "atlases" / "Schaefer2018_100Parcels_7Networks_order_FSLMNI152_2mm.nii.gz"
    done = command(simulated, tmp_path / "out", "participant", "--atlas", atlas, "--checkpoint", checkpoint)
    assert done.returncode == 8
    assert "48 regions of HarvardOxford48" in done.stderr
    damaged = tmp_path / "final.safetensors"
    shutil.copy(checkpoint.with_suffix(".toml"), tmp_path)
    damaged.write_bytes(checkpoint.read_bytes()[:-7])
    done = command(simulated, tmp_path / "out", "participant", "--atlas", "HarvardOxford", "--checkpoint", damaged)
    assert done.returncode == 8
    assert "damaged" in done.stderr


def test_a_gpu_that_is_not_there_is_exit_6_before_anything_is_done(
    command: Any, simulated: Path, group_results: Path, tmp_path: Path
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    checkpoint = group_results / "models" / "tasks" / "final.safetensors"
    atlas = ("--atlas", "HarvardOxford")
    applied = command(
        simulated, tmp_path / "out", "participant", *atlas, "--checkpoint", checkpoint, "--device", "cuda"
    )
    options = ("--target", "entity:task", "--folds", "4", "--reference", "none", "--device", "cuda")
    trained = command(simulated, group_results, "group", *atlas, *options)
    for done in (applied, trained):
        assert done.returncode == 6, done.stdout
        assert done.stderr == "bids-neurossm: The device 'cuda' is not usable here; --device cpu is.\n"
        assert done.stdout == ""
    assert not (tmp_path / "out").exists()


def test_a_gzip_file_that_is_none(command: Any, simulated: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "fmriprep"
    shutil.copytree(simulated / "sub-01", dataset / "sub-01")
    image_of(dataset, "01").write_bytes(gzip.compress(b"not an image"))
    done = command(dataset, tmp_path / "out", "participant", "--atlas", "HarvardOxford")
    assert done.returncode == 1
    assert "failed: sub-01_task-nback" in done.stdout
    assert str(image_of(dataset, "01")) in done.stdout
    assert "1 of 2 runs done" in done.stdout
