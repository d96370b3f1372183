"""Labels as they are selected by."""

from __future__ import annotations

import pytest

from bids_neurossm import config as cfg
from bids_neurossm.errors import UsageError


def test_prefixes_of_labels_are_tolerated() -> None:
    selection = cfg.Selection(
        ("sub-01", "02"),
        session_id=("ses-1",),
        task_id=("task-rest",),
        run_id=("run-1",),
        space="space-T1w",
        res="res-2",
    )
    assert selection.participant_label == ("01", "02")
    assert (selection.session_id, selection.task_id, selection.run_id) == (("1",), ("rest",), ("1",))
    assert (selection.space, selection.res) == ("T1w", "2")


@pytest.mark.parametrize("label", ["", "sub-", "a_b", "a/b", "../x", "sub-01*"])
def test_what_is_no_label_is_refused(label: str) -> None:
    with pytest.raises(UsageError, match=r"--participant-label .* is not a BIDS label"):
        cfg.Selection(participant_label=(label,))
