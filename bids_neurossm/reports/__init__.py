"""HTML reports, made from what is on disk in OUT_DIR alone."""

from bids_neurossm.reports.group import write_group_report
from bids_neurossm.reports.participant import write_participant_report

__all__ = ["write_group_report", "write_participant_report"]
