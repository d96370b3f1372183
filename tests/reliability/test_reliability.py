"""The quick part of ``make reliability``: a few cases of each kind of trouble, in every run of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from reliability import concurrency, disks, fuzzing, inputs, kills, kills_of_reruns, security, spoilt_runs
from reliability.commands import fresh

# Each of these starts commands by forking, from a process that has done nothing else; the imports are made once.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_jobs_that_write_one_dataset_at_once_lose_nothing(tmp_path: Path) -> None:
    result = fresh(concurrency.dataset_files, tmp_path, 24)
    assert result.tried == 25
    assert not result.faults


def test_six_participants_at_once_give_what_each_gives_alone(tmp_path: Path) -> None:
    assert not fresh(concurrency.participants, tmp_path, 6, 6).faults


def test_what_was_killed_is_completed_byte_for_byte(tmp_path: Path) -> None:
    (result,) = fresh(kills.rows, tmp_path, False)
    assert result.tried >= 3
    assert not result.faults


def test_a_killed_command_with_other_settings_is_completed_byte_for_byte(tmp_path: Path) -> None:
    for result in fresh(kills_of_reruns.rows, tmp_path, False):
        assert result.tried == 4
        assert not result.faults


def test_full_disks_and_places_that_can_not_be_written(tmp_path: Path) -> None:
    assert not [fault for row in fresh(disks.rows, tmp_path, False) for fault in row.faults]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[inputs.Bad]:
    return list(inputs.files(tmp_path_factory.mktemp("sound")))


def test_every_bad_file_is_named_with_its_exit_code(corpus: list[inputs.Bad], tmp_path: Path) -> None:
    assert len(corpus) + len(spoilt_runs.SPOILT) >= 120
    told = [fault for number, case in enumerate(corpus) for fault in case.try_it(tmp_path / str(number))]
    assert told == []


def test_every_spoilt_run_is_named_and_the_sound_one_is_done(tmp_path: Path) -> None:
    assert [fault for case in spoilt_runs.runs(tmp_path) for fault in case] == []


def test_random_files_never_crash_hang_fill_memory_or_give_a_traceback(tmp_path: Path) -> None:
    (result,) = fuzzing.rows(tmp_path, False)
    assert not result.faults


@pytest.mark.exhaustive
def test_300_random_files_for_each_parser(tmp_path: Path) -> None:
    result = fuzzing.fuzzed(tmp_path, 300, seed=1)
    assert result.tried == 9300
    assert not result.faults


def test_the_source_has_no_pickle_eval_shell_or_network() -> None:
    result = security.source()
    assert result.tried > 100
    assert not result.faults


def test_names_and_claims_stay_within_the_dataset_and_memory(tmp_path: Path) -> None:
    told = [*fresh(security.paths, tmp_path / "paths"), *fresh(security.bombs, tmp_path / "bombs")]
    assert [fault for case in told for fault in case] == []
