"""Looks at a holdout are counted by configuration, over all analyses of a dataset that share its target."""

import pandas as pd
import pytest
from helpers.held_out_cells import analysis_in

from bids_neurossm.analysis.holdout_ledger import COLUMNS, FILE, look_sentence, record_look


def test_a_configuration_is_a_look_once_whatever_its_analysis_is_called(tmp_path):
    one, other = analysis_in(tmp_path, "one"), analysis_in(tmp_path, "other", "majority")
    assert record_look(one, "dx", "first", 20, "auc", 0.75) == 1
    assert record_look(one, "dx", "first", 20, "auc", 0.75) == 1
    assert record_look(other, "dx", "second", 20, "auc", 0.5) == 2
    assert record_look(other, "dx", "first", 20, "auc", 0.75) == 1
    assert record_look(one, "dx", "third", 20, "auc", 0.625) == 3
    own = pd.read_csv(one.outputs.folder / FILE, sep="\t")
    assert own.columns.to_list() == COLUMNS
    assert own.to_numpy().tolist() == [
        [1, "first", "one", "neurossm", "dx", 20, "auc", 0.75],
        [3, "third", "one", "neurossm", "dx", 20, "auc", 0.625],
    ]
    assert pd.read_csv(other.outputs.folder / FILE, sep="\t")["look"].to_list() == [2]


def test_another_target_has_looks_of_its_own(tmp_path):
    analysis = analysis_in(tmp_path)
    assert record_look(analysis, "dx", "first", 20, "auc", 0.75) == 1
    assert record_look(analysis, "age", "second", 20, "r", 0.5) == 1
    assert record_look(analysis, "age", "third", 20, "r", 0.25) == 2


@pytest.mark.parametrize(
    ("number", "ordinal"),
    [(2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (21, "21st")],
)
def test_a_later_look_is_said_to_be_one(number, ordinal):
    assert look_sentence(1, "dx") == "First look at a holdout of dx in this dataset (holdout_ledger.tsv)."
    assert look_sentence(number, "dx").startswith(f"{ordinal} look at a holdout of dx in this dataset")
