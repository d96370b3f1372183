"""What several tests of baselines share."""

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.cohort.store import Cohort


@pytest.fixture(scope="session")
def two_sites(shared_data, tmp_path_factory):
    """ABIDE: NYU is not there, so the two sites Yale and USM, 127 people."""
    table = pd.read_csv(shared_data / "abide" / "participants.tsv", sep="\t")
    table = table[table["site"].isin(["YALE", "USM"])].sort_values(["npz", "file_id"]).reset_index(drop=True)
    files = {name: np.load(shared_data / "abide" / name) for name in table["npz"].unique()}
    series = [files[row.npz][row.file_id].astype(np.float32) for row in table.itertuples()]
    runs = table[["participant_id", "dx", "site", "mean_fd", "age", "sex"]].rename(columns={"dx": "label"})
    names = [f"cc{i}" for i in range(series[0].shape[1])]
    folder = tmp_path_factory.mktemp("abide")
    return Cohort.create(folder, runs.assign(run=table["file_id"]), series, names, names, "class")
