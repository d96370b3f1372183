"""Figures of explanations."""

from __future__ import annotations

from urllib.parse import unquote

import pandas as pd

from bids_neurossm.reports.figures.explanations import reference_matrix


def test_the_reference_matrix_marks_what_survives_holm() -> None:
    rows = [(a, b, 0.5 if a == b else -0.1, 0.01 if a == b else 0.9) for a in "xyz" for b in "xyz"]
    picture = reference_matrix(pd.DataFrame(rows, columns=["row_class", "column_class", "rho", "p_holm"]))
    assert picture is not None
    svg = unquote(picture.source)
    assert svg.count("0.50*") == 3
    assert svg.count("−0.10<") == 6
