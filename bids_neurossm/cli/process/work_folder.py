"""The work folder that a user names: marked when it is made, and emptied only where it is marked."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bids_neurossm.config import RunConfig
from bids_neurossm.errors import OutputNotWritableError, UsageError
from bids_neurossm.files.portable import absolute_paths

#: A folder with this file was empty or new when the program first used it: all that it holds is scratch.
MARKER = ".bids-neurossm-work-folder"

_MARKER_TEXT = "Scratch of bids-neurossm. --clean-workdir removes everything in this folder.\n"

#: Settings that name the work folder.
_NOT_COUNTED = ("work_dir", "command_line")

#: Variables that name folders of inputs.
_RESOURCES = ("TEMPLATEFLOW_HOME", "NEUROSSM_RESOURCES", "NIMARE_DATA")


def make_work_folder(work: Path) -> None:
    """Make a work folder, and mark it if it is empty or new.

    Raises
    ------
    OSError
        If that fails.
    """
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    if next(work.iterdir(), None) is None:
        (work / MARKER).write_text(_MARKER_TEXT, encoding="utf-8")


def clean_work_folder(config: RunConfig) -> None:
    """Carry out ``--clean-workdir``; with ``--dry-run`` only the checks are made.

    Raises
    ------
    UsageError
        If the folder is not marked, or is HOME, an input or an output, or lies in or around one of them.
    OutputNotWritableError
        If something in it cannot be removed.
    """
    if not config.execution.clean_workdir or config.execution.work_dir is None:
        return
    work = config.execution.work_dir.resolve()
    if not work.exists():
        return
    _refuse_foreign(work, config)
    if config.execution.dry_run:
        return
    try:
        for entry in work.iterdir():
            if entry.name == MARKER:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    except OSError as error:
        raise OutputNotWritableError(
            f"--clean-workdir: {error.filename or work} cannot be removed ({error.strerror}); give another folder with "
            "-w."
        ) from error


def _refuse_foreign(work: Path, config: RunConfig) -> None:
    kept = []
    for name, path in [*_home(), *_inputs_and_outputs(config)]:
        if path.is_relative_to(work) or work.is_relative_to(path):
            kept.append((name, path))
    if kept:
        name, path = kept[0]
        where = "is" if path == work else "contains" if path.is_relative_to(work) else "is inside"
        raise UsageError(
            f"--clean-workdir: the work folder {work} {where} {name} ({path}), so it is not emptied; give a folder of "
            "its own with -w."
        )
    if not work.is_dir() or (not (work / MARKER).is_file() and next(work.iterdir(), None) is not None):
        raise UsageError(
            f"--clean-workdir: {work} has no file {MARKER}, so it is not emptied; remove its content yourself, or give "
            "a new or empty folder with -w."
        )


def _home() -> list[tuple[str, Path]]:
    """List the home folder; a container that is run under an unknown user has ``/``, which is none."""
    home = Path.home().resolve()
    return [("HOME", home)] if home != home.parent else []


def _inputs_and_outputs(config: RunConfig) -> list[tuple[str, Path]]:
    """List the places that a command reads or writes, with links resolved; the work folder itself is not among them."""
    positional = {"bids_dir": "BIDS_DIR", "out_dir": "OUT_DIR"}
    named = [
        (positional.get(name, f"the path of {name}"), path)
        for name, path in absolute_paths(config)
        if name not in _NOT_COUNTED
    ]
    variables = [(name, Path(value)) for name in _RESOURCES if (value := os.environ.get(name))]
    return [(name, path.expanduser().resolve()) for name, path in [*named, *variables]]
