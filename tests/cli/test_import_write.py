"""What an import writes and says: series that are there twice, and one line at the end."""

from __future__ import annotations

import numpy as np

from bids_neurossm.cli.import_series import main

RNG = np.random.default_rng(2)


def test_the_same_series_under_two_names_is_reported_in_the_first_import_and_in_the_next(tmp_path, capsys):
    one, other = RNG.normal(size=(30, 5)), RNG.normal(size=(31, 5))
    np.savez(tmp_path / "x.npz", a=one, b=other, c=one)
    for _ in range(2):
        assert main([str(tmp_path / "x.npz"), str(tmp_path / "out"), "--task", "rest", "--atlas", "Five"]) == 0
        told = capsys.readouterr().out
        assert "1 series are there more than once" in told
        assert "sub-a_task-rest_atlas-Five_scale-5_stat-mean_desc-imported = sub-c_task-rest" in told


def test_no_line_is_printed_for_a_run_that_was_imported(tmp_path, capsys):
    np.savez(tmp_path / "x.npz", **{f"s{i}": RNG.normal(size=(30 + i, 5)) for i in range(20)})
    assert main([str(tmp_path / "x.npz"), str(tmp_path / "out"), "--task", "rest", "--atlas", "Five"]) == 0
    assert len(capsys.readouterr().out.splitlines()) < 8
