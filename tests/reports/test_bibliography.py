"""References that can be written down."""

from __future__ import annotations

from bids_neurossm.reports.bibliography import cited_in, references


def test_every_source_can_be_written_down() -> None:
    assert len({source.key for source in references()}) == len(references())
    for source in references():
        assert source.words
        assert source.text().count("(") >= 1
        assert not set("{}\\") & set(source.text())
    (mamba,) = [source for source in cited_in("a state-space model") if source.key == "gu2023"]
    assert mamba.text().startswith("Gu A, Dao T (2023). Mamba: Linear-Time Sequence Modeling")
