"""Exit codes are a contract: scripts and schedulers act on them."""

from __future__ import annotations

import inspect

from bids_neurossm import errors

CONTRACT = {
    "NeuroSSMError": 70,
    "RunError": 1,
    "OtherRegionsError": 1,
    "WorkerLostError": 1,
    "UsageError": 2,
    "NoInputError": 3,
    "ResourceMissingError": 4,
    "OutputNotWritableError": 5,
    "DeviceUnavailableError": 6,
    "LabelError": 7,
    "CheckpointError": 8,
}


def test_every_error_has_the_exit_code_that_is_documented() -> None:
    found = {name: each.exit_code for name, each in inspect.getmembers(errors, inspect.isclass)}
    assert found == CONTRACT


def test_every_error_is_shown_without_a_traceback_and_says_what_it_is() -> None:
    for _, each in inspect.getmembers(errors, inspect.isclass):
        assert issubclass(each, errors.NeuroSSMError)
        assert each.__doc__


def test_only_what_concerns_one_run_lets_the_other_runs_go_on() -> None:
    runs = [name for name, code in CONTRACT.items() if code == errors.RunError.exit_code]
    assert all(issubclass(getattr(errors, name), errors.RunError) for name in runs)
    assert not issubclass(errors.OutputNotWritableError, errors.RunError)


def test_no_error_code_is_taken_by_a_signal_or_by_the_shell() -> None:
    assert not set(CONTRACT.values()) & {0, 126, 127, 130, 143}
