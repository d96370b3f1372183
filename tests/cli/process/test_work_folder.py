"""``--clean-workdir`` empties what the program has made, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_neurossm.cli.parser import parse_config
from bids_neurossm.cli.process.environment import prepared_environment
from bids_neurossm.cli.process.work_folder import MARKER, clean_work_folder, make_work_folder
from bids_neurossm.config import Execution, RunConfig
from bids_neurossm.errors import UsageError


def config(tmp_path: Path, work: Path, *options: str) -> RunConfig:
    places = [str(tmp_path / "in" / "ds"), str(tmp_path / "out")]
    return parse_config([*places, "participant", "-w", str(work), "--clean-workdir", *options])


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("in/ds/sub-01", "out", "home/me"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "me"))


def filled(work: Path, marked: bool = True) -> Path:
    """Make a work folder with something in it."""
    if marked:
        make_work_folder(work)
    (work / "group-1" / "node").mkdir(parents=True)
    (work / "note.txt").write_text("mine")
    return work


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_marked_folder_is_emptied_also_through_a_link_and_stays_marked(tmp_path: Path) -> None:
    work = filled(tmp_path / "work")
    (work / "away").symlink_to(tmp_path / "in")
    (tmp_path / "link").symlink_to(work)
    clean_work_folder(config(tmp_path, tmp_path / "link"))
    assert names(work) == [MARKER]
    assert names(tmp_path / "in") == ["ds"]


def test_a_new_or_empty_folder_is_marked_and_one_that_holds_something_is_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    for name in ("new", "empty", "full"):
        with prepared_environment(Execution(work_dir=tmp_path / name)):
            pass
    assert (tmp_path / "new" / MARKER).is_file()
    assert (tmp_path / "empty" / MARKER).is_file()
    assert not (tmp_path / "full" / MARKER).exists()


def test_a_folder_without_the_marker_is_refused(tmp_path: Path) -> None:
    work = filled(tmp_path / "work", marked=False)
    with pytest.raises(UsageError, match=r"work has no file \.bids-neurossm-work-folder, so it is not emptied; remove"):
        clean_work_folder(config(tmp_path, work))
    assert names(work) == ["group-1", "note.txt"]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("in", "contains BIDS_DIR"),
        ("in/ds", "is BIDS_DIR"),
        ("in/ds/sub-01", "is inside BIDS_DIR"),
        ("out", "is OUT_DIR"),
        ("out/work", "is inside OUT_DIR"),
        ("home", "contains HOME"),
        ("home/me", "is HOME"),
        ("home/me/scratch", "is inside HOME"),
        (".", "contains HOME"),
    ],
)
@pytest.mark.parametrize("linked", [False, True])
def test_an_input_an_output_and_home_are_refused_even_where_they_are_marked(
    tmp_path: Path, place: str, words: str, linked: bool
) -> None:
    work = tmp_path / place
    work.mkdir(exist_ok=True)
    (work / MARKER).touch()
    (work / "precious").touch()
    if linked:
        (tmp_path.parent / f"{tmp_path.name}-link").symlink_to(work)
        work = tmp_path.parent / f"{tmp_path.name}-link"
    with pytest.raises(UsageError, match=f"{words} .*give a folder of its own with -w"):
        clean_work_folder(config(tmp_path, work))
    assert (work / "precious").exists()


def test_an_input_that_another_option_or_variable_names_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = filled(tmp_path / "work")
    with pytest.raises(UsageError, match="contains the path of atlas_dir"):
        clean_work_folder(config(tmp_path, work, "--atlas-dir", str(work / "atlases")))
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(work / "templateflow"))
    with pytest.raises(UsageError, match="contains TEMPLATEFLOW_HOME"):
        clean_work_folder(config(tmp_path, work))


def test_the_root_folder_is_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container under an unknown user has HOME=/, and every folder is inside it."""
    monkeypatch.setenv("HOME", "/")
    work = filled(tmp_path / "work")
    clean_work_folder(config(tmp_path, work))
    assert names(work) == [MARKER]


def test_a_dry_run_empties_nothing_writes_nothing_and_is_refused_like_the_command(tmp_path: Path) -> None:
    work = filled(tmp_path / "work")
    before = names(work)
    clean_work_folder(config(tmp_path, work, "--dry-run"))
    assert names(work) == before
    with prepared_environment(Execution(work_dir=tmp_path / "new", dry_run=True)) as used:
        assert used != tmp_path / "new"
    assert not (tmp_path / "new").exists()
    (work / MARKER).unlink()
    with pytest.raises(UsageError, match="not emptied"):
        clean_work_folder(config(tmp_path, work, "--dry-run"))
