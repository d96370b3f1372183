"""A SLURM cluster of one machine, for the time of a test: Debian's munge, slurmctld and slurmd, in a folder of its own.

Nothing of the machine's own SLURM or MUNGE is touched: keys, sockets, state and ports belong to this cluster.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo", "scontrol", "scancel")
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))


def missing() -> str | None:
    """Return why no cluster can be started here, or None."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
    if absent:
        return f"{', '.join(absent)} not installed (Debian: slurm-wlm, munge)"
    return None if os.geteuid() == 0 else "slurmd needs root"


@contextlib.contextmanager
def running_cluster(folder: Path, cpus: int) -> Iterator[dict[str, str]]:
    """Start a cluster and yield the environment in which its commands work; stop it in the end.

    Parameters
    ----------
    folder : Path
        Empty; keys, logs and state go there. Its path must be short, since sockets lie in it.
    cpus : int
        Jobs of one processor that run at a time.
    """
    folder.chmod(0o755)
    key, munge_socket = folder / "munge.key", folder / "munge.socket"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    configuration = folder / "slurm.conf"
    configuration.write_text(_configuration(folder, munge_socket, cpus), encoding="utf-8")
    environment = {**os.environ, "SLURM_CONF": str(configuration), "PATH": _PATH}
    munged = [
        "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={munge_socket}",
        f"--pid-file={folder / 'munged.pid'}", f"--log-file={folder / 'munged.log'}",
        f"--seed-file={folder / 'munged.seed'}", "--num-threads=1",
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        stack.enter_context(_daemon(munged, folder, environment))
        _wait_for(munge_socket.exists, "munged", folder)
        stack.enter_context(_daemon(["slurmctld", "-D", "-f", str(configuration)], folder, environment))
        stack.enter_context(_daemon(["slurmd", "-D", "-f", str(configuration)], folder, environment))
        _wait_for(lambda: "idle" in _states(environment), "slurmd", folder)
        yield environment
        subprocess.run(["scancel", "--user=root"], env=environment, check=False)


def _configuration(folder: Path, munge_socket: Path, cpus: int) -> str:
    """Return slurm.conf: no accounting, no cgroups, any job may run, whatever memory it asks for."""
    host = socket.gethostname().split(".")[0]
    controller, daemon = _free_port(), _free_port()
    return f"""\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={munge_socket}
CryptoType=crypto/munge
StateSaveLocation={folder / "state"}
SlurmdSpoolDir={folder / "spool"}
SlurmctldPidFile={folder / "slurmctld.pid"}
SlurmdPidFile={folder / "slurmd.pid"}
SlurmctldLogFile={folder / "slurmctld.log"}
SlurmdLogFile={folder / "slurmd.log"}
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
MailProg={shutil.which("true")}
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,defer_batch
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MinJobAge=600
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=64000 \\
    Boards=1 SocketsPerBoard=1 CoresPerSocket={cpus} ThreadsPerCore=1
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _daemon(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    output = folder / f"{command[0]}.out"
    with output.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _states(environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["sinfo", "--noheader", "--format=%t"], env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout


def _wait_for(ready: object, what: str, folder: Path, seconds: float = 60) -> None:
    """Wait until `ready()` holds."""
    assert callable(ready)
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            logs = "\n".join(
                f"== {path.name}\n{path.read_text(errors='replace')[-2000:]}"
                for path in [*folder.glob("*.log"), *folder.glob("*.out")]
            )
            raise RuntimeError(f"{what} did not come up within {seconds:.0f} s.\n{logs}")
        time.sleep(0.2)


def wait_for_jobs(environment: dict[str, str], seconds: float) -> None:
    """Wait until no job is queued or running.

    Raises
    ------
    RuntimeError
        If some still are after `seconds`.
    """
    end = time.monotonic() + seconds
    while True:
        queue = subprocess.run(
            ["squeue", "--noheader", "--format=%i %t %r"], env=environment, capture_output=True, text=True, check=True
        )
        if not queue.stdout.strip():
            return
        if time.monotonic() > end:
            raise RuntimeError(f"Jobs are still there after {seconds:.0f} s:\n{queue.stdout}")
        time.sleep(0.5)


def job_states(environment: dict[str, str], name: str) -> dict[str, str]:
    """Return the final state of each task of the last job of a name, by task, while the controller remembers them."""
    shown = subprocess.run(
        ["scontrol", "--oneliner", "show", "job"], env=environment, capture_output=True, text=True, check=True
    )
    jobs: dict[int, dict[str, str]] = {}
    for line in shown.stdout.splitlines():
        fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
        if fields.get("JobName") == name:
            job = int(fields.get("ArrayJobId", fields["JobId"]))
            task = fields.get("ArrayTaskId", fields["JobId"])
            jobs.setdefault(job, {})[task] = f"{fields['JobState']} {fields['ExitCode']}"
    return dict(sorted(jobs[max(jobs)].items(), key=lambda each: int(each[0]))) if jobs else {}
