"""The page of a participant."""

from __future__ import annotations

from pathlib import Path

from helpers.reported import FAILURES, Page

from bids_neurossm.reports.participant import write_participant_report


def test_the_participant_page_tells_what_happened_to_each_run(participant_page: Page) -> None:
    text = participant_page.text
    for said in ("task-rest run-1", "task-rest run-2", "398 of 400", "0.141", "2 regions have no signal"):
        assert said in text
    assert "7Networks_RH_Vis_1" in text
    assert "4 confound columns: trans_x, trans_y, csf, white_matter" in text
    assert "The first 4 volumes were dropped." in text
    assert "Schaefer A, Kong R, Gordon EM, et al. (2018). Local-global parcellation" in text
    # Run 1 has no table of displacement and no checkpoint was applied; run 2 has both.
    assert text.count("no motion trace is drawn") == 1
    assert text.count("No checkpoint was applied") == 1
    # Carpet, connectivity, coverage as a histogram and three times on a brain; for run 2 bars and two maps.
    assert len(participant_page.images) == 6 + 6 + 3
    assert "excluded, too few volumes" in text
    assert "too few volumes: 234 are kept, 300 needed" in text


def test_a_page_is_written_the_same_from_the_same_files(participant_folder: Path, participant_page: Page) -> None:
    again = write_participant_report(participant_folder, "01", FAILURES)
    assert again == participant_folder / "sub-01.html"
    assert again.read_text(encoding="utf-8") == participant_page.html
    assert [path.name for path in participant_folder.iterdir() if path.name.startswith(".")] == []
