"""One exit code for all that went wrong: the one that says most."""

from __future__ import annotations

import pytest

from bids_neurossm.cli.exit_code import exit_code
from bids_neurossm.interfaces.records import Record


@pytest.mark.parametrize(
    ("codes", "anything_done", "expected"),
    [
        ((), True, 0),
        ((), False, 0),
        ((1,), True, 1),
        ((1, 7, 4), True, 4),
        ((2, 8), True, 8),
        ((70, 5), False, 5),  # a full disk explains a bug
        ((70,), False, 70),
        ((70,), True, 1),  # the rest is complete
        ((70, 1), False, 1),
    ],
)
def test_the_most_telling_code_is_returned(codes: tuple[int, ...], anything_done: bool, expected: int) -> None:
    failures = [Record(f"run-{number}", "step", "message", code) for number, code in enumerate(codes)]
    assert exit_code(failures, anything_done) == expected
