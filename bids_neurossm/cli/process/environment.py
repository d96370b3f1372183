"""What has to be set before numba, matplotlib, Nipype and torch are imported: caches and threads.

HOME may be read-only or missing in a container; every cache goes to a private folder that can be written.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bids_neurossm.cli.process.child_processes import no_process_left
from bids_neurossm.cli.process.work_folder import make_work_folder
from bids_neurossm.config import Execution
from bids_neurossm.errors import OutputNotWritableError

#: Bytes that are left for it in the path of a socket, after ``/pymp-12345678/listener-12345678``.
_LONGEST_TEMPORARY_FOLDER = 74


@contextmanager
def prepared_environment(execution: Execution) -> Iterator[Path]:
    """Give the work folder, with the environment set for it.

    A folder that the user named stays. Everything else that is temporary, a work folder for a dry run and the
    temporary files of workers included, lies in one private folder; it is removed at the end, when no worker is left.

    Raises
    ------
    OutputNotWritableError
        If the work folder can not be written.
    """
    named = None if execution.work_dir is None or execution.dry_run else execution.work_dir.absolute()
    if named is not None:
        try:
            make_work_folder(named)
        except OSError as error:
            raise OutputNotWritableError(
                f"The work folder {named} can not be written ({error.strerror}); give another one with -w."
            ) from error
        check_writable(named, "work folder", "give another one with -w")
    _find_temporary_folder(execution.work_dir)
    with _scratch_folder() as scratch:
        work = named or scratch
        before = dict(os.environ)
        try:
            _set_environment(execution, work, _user_cache(work) if named is None else work / "cache")
            if execution.use_plugin is None:  # else workers may be on other machines
                (scratch / "tmp").mkdir(mode=0o700)
                os.environ["TMPDIR"] = str(scratch / "tmp")
            with no_process_left():
                yield work
        finally:
            # Whoever calls the command as a function keeps its own settings: numba refuses to compile under others.
            os.environ.clear()
            os.environ.update(before)


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    try:
        folder = tempfile.TemporaryDirectory(prefix="bids-neurossm-", ignore_cleanup_errors=True)
    except OSError as error:
        raise OutputNotWritableError(
            f"The folder for temporary files, {tempfile.gettempdir()}, can not be written ({error.strerror}); set "
            "TMPDIR to another one."
        ) from error
    with folder as name:
        try:
            yield Path(name)
        finally:
            folder.cleanup()  # leaving the context does it again, should a signal interrupt this


def _set_environment(execution: Execution, work: Path, caches: Path) -> None:
    """Set threads and the folders of settings and caches; what the user set for a cache stays."""
    threads = str(execution.omp_nthreads)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = threads
    (work / "nipype").mkdir(exist_ok=True, mode=0o700)
    (work / "nipype" / "nipype.cfg").write_text(_nipype_settings(execution), encoding="utf-8")
    os.environ["NIPYPE_CONFIG_DIR"] = str(work / "nipype")
    for name, folder in (
        ("NUMBA_CACHE_DIR", "numba"),
        ("MPLCONFIGDIR", "matplotlib"),
        ("TRITON_CACHE_DIR", "triton"),
        ("TORCHINDUCTOR_CACHE_DIR", "inductor"),
    ):
        if name not in os.environ:
            (caches / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
            os.environ[name] = str(caches / folder)
    os.environ["MPLBACKEND"] = "Agg"
    os.environ["NIPYPE_NO_ET"] = "1"  # else Nipype asks the network for its newest version


def _find_temporary_folder(work_dir: Path | None) -> None:
    """Make sure that there is a place for temporary files; a work folder that the user named will do.

    A container with a read-only root has none, unless one is mounted. Workers are reached through sockets that lie
    there, whose paths the kernel limits to 107 bytes.
    """
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:
        if work_dir is None:
            raise OutputNotWritableError(
                "No folder for temporary files can be written, neither $TMPDIR nor /tmp; give a work folder with -w, "
                "or mount one on /tmp (docker run --tmpfs /tmp)."
            ) from error
        work = work_dir.absolute()
        check_writable(work, "work folder", "give another one with -w")
        folder = os.environ["TMPDIR"] = tempfile.tempdir = str(work)
    length = len(os.fsencode(folder))
    if length > _LONGEST_TEMPORARY_FOLDER:
        raise OutputNotWritableError(
            f"The path of the folder for temporary files, {folder}, has {length} characters; sockets of workers allow "
            f"{_LONGEST_TEMPORARY_FOLDER}. Set TMPDIR to a shorter one, or give a shorter -w where there is no /tmp."
        )


def check_writable(folder: Path, what: str, remedy: str) -> None:
    """Write and remove a small file, before anything is computed.

    Raises
    ------
    OutputNotWritableError
        If that fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".write-test-") as stream:
            stream.write(b"x" * 4096)
            stream.flush()
    except OSError as error:
        raise OutputNotWritableError(f"The {what} {folder} can not be written ({error.strerror}); {remedy}.") from error


def check_output(out_dir: Path, participants: Sequence[str] = ()) -> None:
    """Find out whether an output dataset can be written, before anything is looked for; nothing is made.

    Parameters
    ----------
    out_dir : Path
        The output dataset, which need not be there.
    participants : sequence of str
        Labels of those whose folders will be written; a folder may belong to somebody else.

    Raises
    ------
    OutputNotWritableError
        If a folder that is there can not be written.
    """
    try:
        there = next(place for place in (out_dir, *out_dir.parents) if place.exists())
        inside = [out_dir / name for name in ("logs", "models", "group", *(f"sub-{label}" for label in participants))]
        for folder in (there, *(each for each in inside if each.is_dir())):
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".write-test-"):
                pass
    except OSError as error:
        raise OutputNotWritableError(
            f"The output folder {out_dir} can not be written ({error.filename}: {error.strerror}); give another one."
        ) from error


def _nipype_settings(execution: Execution) -> str:
    """Phrase the settings that Nipype reads when it is imported, in this process and in every worker."""
    level = "INFO" if execution.verbose >= 2 else "CRITICAL"
    return (
        f"[logging]\nworkflow_level = {level}\ninterface_level = {level}\nutils_level = {level}\n"
        # Nipype's own 2 s between two looks at the workers would be most of a short run.
        "[execution]\npoll_sleep_duration = 0.05\ncrashfile_format = txt\ncheck_version = false\n"
        f"stop_on_first_crash = {str(execution.stop_on_first_crash).lower()}\n"
        "remove_unnecessary_outputs = false\n[monitoring]\nenabled = false\n"
    )


def _user_cache(work: Path) -> Path:
    """Compiled kernels are worth keeping between commands, where the user has a cache folder that is theirs alone.

    They are read back as code: a folder that somebody else could write to, as one below /tmp, is not used.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bids-neurossm"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.lstat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o022 or not stat.S_ISDIR(status.st_mode):
            return work / "cache"
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".write-test-"):
            return folder
    except (OSError, RuntimeError):
        return work / "cache"
