"""Cores and memory, as the machine and control groups allow them."""

from __future__ import annotations

from pathlib import Path

from bids_neurossm.cli.process.machine import cores_seen, memory_seen


class TestMachine:
    def test_a_control_group_limits_cores_and_memory(self, tmp_path: Path) -> None:
        (tmp_path / "cpu.max").write_text("50000 100000\n")
        (tmp_path / "memory.max").write_text("1073741824\n")
        assert cores_seen(tmp_path)[0] == 0.5
        assert memory_seen(tmp_path) == (2**30, f"limited by {tmp_path / 'memory.max'}")

    def test_no_limit_is_the_machine(self, tmp_path: Path) -> None:
        (tmp_path / "cpu.max").write_text("max 100000\n")
        (tmp_path / "memory.max").write_text("max\n")
        assert cores_seen(tmp_path)[0] >= 1
        assert memory_seen(tmp_path)[1] == "the machine's"

    def test_the_older_kind_of_control_group(self, tmp_path: Path) -> None:
        (tmp_path / "cpu").mkdir()
        (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
        (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
        assert cores_seen(tmp_path)[0] == 0.5
