"""A worker that is lost, a node that hangs: the run ends, and the others do not notice."""

from __future__ import annotations

from pathlib import Path

from reliability.workers import lost_and_hung


def test_lost_workers_are_tried_once_more_alone_and_hung_nodes_are_ended(tmp_path: Path) -> None:
    assert lost_and_hung(tmp_path) == [[], [], []]
