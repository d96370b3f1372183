"""Which patterns of a .bidsignore leave a run out: those that name a participant, a recording or an odd folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bids_neurossm.dataset.bidsignore import IgnoreRules, vague_sentences
from bids_neurossm.dataset.names import parse_name
from bids_neurossm.dataset.outputs import BIDSIGNORE
from bids_neurossm.errors import UsageError

IMAGE = "sub-07/ses-2/func/sub-07_ses-2_task-rest_run-02_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz"
SERIES = IMAGE.replace("desc-preproc_bold.nii.gz", "atlas-A_stat-mean_desc-simple_timeseries.tsv")
#: As fMRIPrep 24 writes it.
FMRIPREP = """\
*.html
logs/
figures/
*_xfm.*
*.surf.gii
*_boldref.nii.gz
*_bold.func.gii
*_mixing.tsv
*_timeseries.tsv
"""
FOR_THE_VALIDATOR = """\
* *_bold.nii.gz *_bold.* func/ func **/func/ sub-* sub-*/ sub-*/ses-2/func ses-2/ anat/
sub-08 /sub-070/ sub-07/ses-1 sub-07/figures sub-07_ses-1_task-rest_run-2_bold.nii.gz
sub-07/ses-2/func/sub-07_ses-2_task-rest_run-02_bold.json excluded_QC derivatives/ !sub-07
"""
NAMING = """\
sub-07 /sub-07/ sub-07/ sub-07/** sub-07/ses-2 sub-07/ses-2/ /sub-07/ses-2/func/ **/sub-07/*
sub-07_ses-2_task-rest_run-02* sub-07_* **/sub-07_*_run-02_* sub-07_ses-2_task-rest_run-2_bold.nii.gz
sub-07/ses-2/func/sub-07_ses-2_task-rest_run-2_bold.nii.gz sub-07_task-rest_bold.* sub-07_ses-2_run-2
"""


def reason(tmp_path: Path, content: str, place: str = IMAGE) -> str | None:
    (tmp_path / ".bidsignore").write_text(content)
    return IgnoreRules.read(tmp_path).reason(place, parse_name(place)[0])


@pytest.mark.parametrize("content", [FMRIPREP, "\n".join(BIDSIGNORE), "", "# sub-07\n\n"])
@pytest.mark.parametrize("place", [IMAGE, SERIES])
def test_files_written_for_the_validator_leave_nothing_out(tmp_path: Path, content: str, place: str) -> None:
    assert reason(tmp_path, content, place) is None


@pytest.mark.parametrize("pattern", FOR_THE_VALIDATOR.split())
def test_other_patterns_leave_the_run_in(tmp_path: Path, pattern: str) -> None:
    assert reason(tmp_path, pattern) is None


@pytest.mark.parametrize("pattern", NAMING.split())
def test_a_participant_or_a_recording_that_is_named_is_left_out(tmp_path: Path, pattern: str) -> None:
    assert reason(tmp_path, f"*.html\n{pattern}\n") == pattern


def test_an_odd_folder_below_func_is_left_out(tmp_path: Path) -> None:
    inside = IMAGE.replace("/func/", "/func/excluded_QC/")
    for pattern in ("excluded_QC", "excluded_QC/", "*_QC/"):
        assert reason(tmp_path, pattern, inside) == pattern
    assert reason(tmp_path, "*", inside) is None
    assert reason(tmp_path, "other/", inside) is None


def test_the_last_pattern_decides(tmp_path: Path) -> None:
    assert reason(tmp_path, "/sub-07/\n!/sub-07/ses-2/\n") is None
    assert reason(tmp_path, "!/sub-07/ses-2/\n/sub-07/\n") == "/sub-07/"


def test_a_folder_at_the_root_is_told_with_its_pattern(tmp_path: Path) -> None:
    (tmp_path / ".bidsignore").write_text("*.html\n/excluded_QC/\n")
    rules = IgnoreRules.read(tmp_path)
    assert rules.folder_pattern("excluded_QC") == "/excluded_QC/"
    assert rules.folder_pattern("other") is None


def test_a_pattern_that_spells_no_label_is_not_followed_and_told(tmp_path: Path) -> None:
    assert reason(tmp_path, "sub-0*\n") is None
    (sentence,) = vague_sentences([IgnoreRules.read(tmp_path)])
    assert sentence == ".bidsignore: sub-0* names no single participant and is not followed; use --exclude."


def test_a_file_whose_content_was_not_fetched_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".bidsignore").symlink_to(".git/annex/objects/x")
    with pytest.raises(UsageError, match=r"datalad get .*\.bidsignore`\. It may say which runs to leave out"):
        IgnoreRules.read(tmp_path)
    (tmp_path / ".bidsignore").unlink()
    (tmp_path / ".bidsignore").write_text("/annex/objects/MD5E-s20--abc\n")
    with pytest.raises(UsageError, match="is a pointer of git-annex"):
        IgnoreRules.read(tmp_path)


@pytest.mark.parametrize("content", ["a-z\n\nÈ\\Êt\x16c^\n\n!", "*\n\\", "*\n[b-0]"])
def test_a_pattern_that_git_does_not_know_is_not_followed_and_told(tmp_path: Path, content: str) -> None:
    (tmp_path / ".bidsignore").write_text(content, encoding="utf-8")
    (sentence,) = vague_sentences([IgnoreRules.read(tmp_path)])
    assert (
        sentence
        == f".bidsignore: {content.splitlines()[-1]} names no single participant and is not followed; use --exclude."
    )


def test_a_file_that_is_a_pipe_or_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ".bidsignore"
    os.mkfifo(path)
    with pytest.raises(UsageError, match=r"is a pipe, not a file; save it to a file first\. It may say which runs"):
        IgnoreRules.read(tmp_path)
    path.unlink()
    path.write_bytes(b"sub-01/\n" * 300_000)
    with pytest.raises(UsageError, match="has 2 MiB; a file of this kind has at most 1 MiB"):
        IgnoreRules.read(tmp_path)


def test_an_empty_file_leaves_nothing_out(tmp_path: Path) -> None:
    assert reason(tmp_path, "") is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b"\xc2\x89\xc2\xbe\xc3\xa5\\*\xc3\x93\\S\xc3\xacH\x04]*if"
            b"\nsub-[\n\\\n\n\xc2\x9c\xc3\x84[\x05sub-"
            b"01\xc2\xbf+\xc2\xa6\xc2\xa5\xc2\xb0\xc2\xae\xc3\x9e\xc2\x95\xc3\x84\xf4"
            b"\x87\xae\xac\x1e\xc3\x8c%\xf1\xb1\x8a\x86\xca\xbf\n\\",
            ["\\", "\\"],
        ),
        (
            b"a-z\n\n\xc3\x88\\\xc3\x8at\x16c^\n\n!",
            ["!"],
        ),
        (
            b"funcNIL!\xc3\xa6\xc3\x9c\xf3\x87\x8b\xb9\n#su"
            b"b-01\\/\xc2\x85\xc3\xa3/#**\n\xc2\xb9\xf2\x81\x89"
            b"\x8fz\xc3\x96\x1e[\xc2\xbe\xc3\x95\x14\xf0\x99\xb2\x91Psub-"
            b'01]#J\x06\xc2\x83\xf3\xa4\xb3\x9d\n]"\xc2\x98w\xc3\xb3'
            b"\\\n\n]",
            ["[\xbe\xd5\x14\U00019c91Psub-01]#J\x06\x83\U000e4cdd", ']"\x98w\xf3\\'],
        ),
    ],
)
def test_what_fuzzing_found_is_not_followed(tmp_path: Path, content: bytes, told: list[str]) -> None:
    (tmp_path / ".bidsignore").write_bytes(content)
    assert list(IgnoreRules.read(tmp_path).vague) == told
