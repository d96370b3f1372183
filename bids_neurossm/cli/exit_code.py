"""From records of failure to one exit code."""

from __future__ import annotations

from collections.abc import Sequence

from bids_neurossm.errors import NeuroSSMError, RunError
from bids_neurossm.interfaces.records import Record

#: Codes that concern the command as a whole, the most telling one first.
_WHOLE = (5, 6, 8, 4, 7, 2, 3)


def exit_code(failures: Sequence[Record], anything_done: bool) -> int:
    """Choose the code that says most.

    Parameters
    ----------
    failures : sequence of Record
        What went wrong.
    anything_done : bool
        Whether some units ended well.

    Returns
    -------
    int
        0 without failures; 1 where some units failed and the rest is complete; 70 where only bugs remain.
    """
    codes = {record.exit_code for record in failures}
    for code in _WHOLE:
        if code in codes:
            return code
    if codes == {NeuroSSMError.exit_code} and not anything_done:
        return NeuroSSMError.exit_code
    return RunError.exit_code if codes else 0
