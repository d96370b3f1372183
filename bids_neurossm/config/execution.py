"""How the work is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bids_neurossm.config.checking import require


@dataclass(frozen=True)
class Execution:
    """How the work is run.

    Parameters
    ----------
    nprocs, omp_nthreads : int
        Nodes at a time; threads per node.
    mem_mb : int or None
        Memory that all nodes may use together; None takes what the machine or its cgroup has.
    node_hours : float
        Longest that a node (one step of a run, one model) may take before it counts as hung and is ended.
    use_plugin : Path or None
        YAML of a Nipype plugin (``plugin: SLURM`` ...).
    work_dir : Path or None
        Scratch folder; a private temporary one otherwise.
    device, precision : str
        ``auto``, ``cpu``, ``cuda``; ``float32``, ``bfloat16``, ``float16``.
    devices : int
        GPUs (on a CPU: processes) that train one model together.
    random_seed : int
        Seed of everything random.
    """

    nprocs: int = 1
    omp_nthreads: int = 1
    mem_mb: int | None = None
    node_hours: float = 72
    use_plugin: Path | None = None
    work_dir: Path | None = None
    clean_workdir: bool = False
    device: str = "auto"
    precision: str = "float32"
    devices: int = 1
    random_seed: int = 42
    overwrite: bool = False
    dry_run: bool = False
    reports_only: bool = False
    stop_on_first_crash: bool = False
    log_format: Literal["text", "json"] = "text"
    verbose: int = 0

    def __post_init__(self) -> None:
        require(self.nprocs >= 1, "--nprocs must be at least 1.")
        require(self.omp_nthreads >= 1, "--omp-nthreads must be at least 1.")
        require(self.mem_mb is None or self.mem_mb >= 100, "--mem-mb must be at least 100.")
        require(self.node_hours > 0, "--node-hours must be positive.")
        require(self.devices >= 1, "--devices must be at least 1.")
        require(self.precision in ("float32", "bfloat16", "float16"), f"--precision {self.precision} is not known.")
