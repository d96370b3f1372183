"""``bids-neurossm-check``: the doctor, which looks at everything that a run will need before it is needed."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bids_neurossm.cli.process.guard import guarded
from bids_neurossm.cli.process.machine import cores_seen, memory_seen
from bids_neurossm.errors import (
    DeviceUnavailableError,
    NeuroSSMError,
    NoInputError,
    OutputNotWritableError,
    ResourceMissingError,
)


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's table.

    Parameters
    ----------
    what : str
        What was looked at.
    state : {"ok", "note", "bad"}
        A note is something that a run can do without.
    detail : str
        What was found; for what is bad, what mends it.
    exit_code : int
        Of the command, where it is bad.
    """

    what: str
    state: Literal["ok", "note", "bad"]
    detail: str
    exit_code: int = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Look, and say what was found.

    Returns
    -------
    int
        Exit code.
    """
    return guarded(lambda: run_check(argv))


def run_check(argv: Sequence[str] | None) -> int:
    """Carry out ``bids-neurossm-check``.

    Parameters
    ----------
    argv : sequence of str or None
        Arguments of the command; those of the process by default.

    Returns
    -------
    int
        0 if a run can start; else the code of the first thing that stands in its way: 3 no input, 4 an atlas or a
        reference that was asked for is missing, 5 an output can not be written, 6 no usable GPU or no kernels.
    """
    given = _parser().parse_args(argv)
    from bids_neurossm.cli.process.environment import prepared_environment
    from bids_neurossm.cli.terminal.console import Console
    from bids_neurossm.config import Execution

    console = Console(given.log_format)
    with prepared_environment(Execution(work_dir=given.work_dir)) as work_dir:
        findings = list(examine(given, work_dir))
    console.table("bids-neurossm-check", ("what", "state", "found"), [(f.what, f.state, f.detail) for f in findings])
    bad = [each for each in findings if each.state == "bad"]
    if not bad:
        console.event("done", "Everything that a run needs is there.")
        return 0
    console.event("error", f"{len(bad)} of {len(findings)} checks failed, the first is: {bad[0].what}.")
    return bad[0].exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bids-neurossm-check", allow_abbrev=False)
    parser.add_argument("bids_dir", type=Path, nargs="?", help="input to look at")
    parser.add_argument("out_dir", type=Path, nargs="?", help="output to write-test")
    parser.add_argument("level", nargs="?", choices=("participant", "group"), help="accepted, and not needed")
    parser.add_argument("--atlas", nargs="+", default=[], metavar="NAME_OR_FILE")
    parser.add_argument("--atlas-dir", "--atlas_dir", type=Path, metavar="DIR")
    parser.add_argument("--atlas-space", "--atlas_space", metavar="NAME")
    parser.add_argument("--space", metavar="NAME")
    parser.add_argument("--reference", metavar="NAME_OR_DIR")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("-w", "--work-dir", "--work_dir", type=Path, metavar="DIR")
    parser.add_argument("--log-format", "--log_format", choices=("text", "json"), default="text")
    parser.add_argument("--notrack", action="store_true")
    return parser


def examine(given: argparse.Namespace, work_dir: Path) -> Iterator[Finding]:
    """Look at one thing after the other; nothing that is wrong with one keeps the next from being looked at."""
    yield from _software()
    yield from _machine()
    yield from _input(given.bids_dir)
    yield from _targets(given.out_dir, work_dir)
    yield from _templateflow()
    yield from _atlases(given)
    yield from _reference(given.reference)
    yield from _devices(given.device)


def _software() -> Iterator[Finding]:
    from bids_neurossm.interfaces.provenance import software_versions

    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform(terse=True)}")
    for name, version in software_versions().items():
        missing = version == "not installed"
        detail = "not installed; pip install bids-neurossm" if missing else version
        yield Finding(name, "bad" if missing else "ok", detail, 2)


def _machine() -> Iterator[Finding]:
    cores, of_machine = cores_seen()
    yield Finding("processor cores", "ok", f"{cores:g} for this process, {of_machine} in the machine")
    memory, source = memory_seen()
    state: Literal["ok", "note"] = "ok" if memory >= 2 * 2**30 else "note"
    yield Finding("memory", state, f"{memory / 2**30:.1f} GiB ({source})")
    threads = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS") if name in os.environ}
    yield Finding("threads", "ok", ", ".join(f"{name}={value}" for name, value in threads.items()) or "not limited")


def _input(bids_dir: Path | None) -> Iterator[Finding]:
    if bids_dir is None:
        return
    n_people = sum(1 for path in bids_dir.glob("sub-*") if path.is_dir())
    if not n_people:
        yield Finding("BIDS_DIR", "bad", f"{bids_dir} holds no sub-* folder", NoInputError.exit_code)
        return
    described = (bids_dir / "dataset_description.json").is_file()
    detail = f"{bids_dir}: {n_people} participants" + ("" if described else ", no dataset_description.json")
    yield Finding("BIDS_DIR", "ok" if described else "note", detail)


def _targets(out_dir: Path | None, work_dir: Path) -> Iterator[Finding]:
    """Write a small file to every place that a run writes to; what was made for the test is removed."""
    caches = ("NUMBA_CACHE_DIR", "MPLCONFIGDIR")
    places = [("OUT_DIR", out_dir), ("work folder", work_dir), ("temporary folder", Path(tempfile.gettempdir()))]
    places += [(name, Path(os.environ[name])) for name in caches if name in os.environ]
    for what, folder in places:
        if folder is None:
            continue
        # A folder that is not there yet is made by the run: the nearest one that is there has to let it.
        existing = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
        try:
            with tempfile.NamedTemporaryFile(dir=existing, prefix=".write-test-") as stream:
                stream.write(b"x" * 4096)
                stream.flush()
            free = os.statvfs(existing).f_bavail * os.statvfs(existing).f_frsize / 2**30
        except OSError as error:
            detail = f"{existing} can not be written ({error.strerror}); give another one"
            yield Finding(what, "bad", detail, OutputNotWritableError.exit_code)
        else:
            yield Finding(what, "ok", f"{folder}: can be written, {free:.0f} GiB free")


def _templateflow() -> Iterator[Finding]:
    from bids_neurossm.atlas.catalogue import templateflow_home

    home = templateflow_home()
    told = "set" if os.environ.get("TEMPLATEFLOW_HOME") else "not set, default"
    n_files = sum(1 for path in home.glob("tpl-*/*") if path.is_file() and path.stat().st_size) if home.is_dir() else 0
    yield Finding("TEMPLATEFLOW_HOME", "ok" if n_files else "note", f"{home} ({told}): {n_files} files that hold data")


def _atlases(given: argparse.Namespace) -> Iterator[Finding]:
    """Load every atlas from what is on disk. What was asked for, or is the default, has to be there."""
    from bids_neurossm.cli.fetch import SPACES

    default = "Schaefer400"
    spaces: list[str | None] = [given.space] if given.space else list(SPACES)
    wanted = given.atlas or [default]
    for name in wanted:
        found = [_atlas(name, space, given) for space in spaces]
        present = [each for each in found if each.state == "ok"]
        # Without --space one of the two default spaces is enough; which one the runs are in is not known here.
        yield from found if not present or given.space else present
        if present and len(present) < len(found):
            absent = [each for each in found if each.state != "ok"]
            yield from (Finding(each.what, "note", each.detail) for each in absent)
    others = [name for name in (default, "AAL3", "HarvardOxford") if name not in wanted]
    for name in others:
        each = _atlas(name, SPACES[1], given)
        yield Finding(each.what, "ok" if each.state == "ok" else "note", each.detail)


def _atlas(name: str, space: str | None, given: argparse.Namespace) -> Finding:
    from bids_neurossm.atlas import load_parcellation

    what = f"atlas {Path(name).name} in {space}"
    try:
        found = load_parcellation(name, space, atlas_dir=given.atlas_dir, atlas_space=given.atlas_space, download=False)
    except NeuroSSMError as error:
        return Finding(what, "bad", str(error), ResourceMissingError.exit_code)
    drawn = ", ".join(str(layer.image_file) for layer in found.layers) or str(found.image_file)
    return Finding(what, "ok", f"{found.n_regions} regions, {drawn}")


def _reference(source: str | None) -> Iterator[Finding]:
    from bids_neurossm.planning.reference import neurosynth_folder

    if source == "none":
        return
    try:
        folder = neurosynth_folder(source or "neurosynth")
        _check_studies(folder)
    except NeuroSSMError as error:
        yield Finding("reference", "bad" if source else "note", str(error), ResourceMissingError.exit_code)
    else:
        yield Finding("reference", "ok", f"Neurosynth in {folder}")


def _check_studies(folder: Path) -> None:
    for ending in ("coordinates", "metadata"):
        found = [path for path in sorted(folder.glob(f"*_{ending}.tsv.gz")) if path.stat().st_size]
        if not found:
            raise ResourceMissingError(
                f"{folder} has no *_{ending}.tsv.gz that holds data; run `bids-neurossm-fetch DIR` where "
                "there is internet."
            )


def _devices(wanted: str) -> Iterator[Finding]:
    """Import torch as the last thing: it is what takes longest, and may fail in the most ways."""
    try:
        from bids_neurossm.ops.engines import check_engines, gpu_names
    except (ImportError, OSError) as error:
        detail = f"torch can not be imported ({error}); install it again"
        yield Finding("torch", "bad", detail, DeviceUnavailableError.exit_code)
        return
    gpus = gpu_names()
    if not gpus:
        state: Literal["note", "bad"] = "bad" if wanted == "cuda" else "note"
        detail = "none that torch can use; models train on the processor (--device cpu)"
        yield Finding("GPU", state, detail, DeviceUnavailableError.exit_code)
    for name in gpus:
        yield Finding("GPU", "ok", name)
    engines = check_engines()
    any_cuda = any(each.usable for each in engines if each.name != "cpu")
    for engine in engines:
        needed = engine.name == "cpu" or (wanted == "cuda" and not any_cuda)
        yield Finding(
            f"kernels {engine.name}",
            "ok" if engine.usable else "bad" if needed else "note",
            engine.detail,
            DeviceUnavailableError.exit_code,
        )


if __name__ == "__main__":
    sys.exit(main())
