"""``bids-neurossm``: from the command line to an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from bids_neurossm.cli.parser import parse_config
from bids_neurossm.cli.processes import no_process_left
from bids_neurossm.cli.signals import EXIT_CODES, PATIENCE, Terminated, ending_on_signals
from bids_neurossm.cli.streams import discard_output, flush_streams, open_streams
from bids_neurossm.config import RunConfig
from bids_neurossm.errors import NeuroSSMError, OutputNotWritableError
from bids_neurossm.files.printable import escaped, printable

#: Exit code where the reader of the output has gone, as with ``| head -1``.
OUTPUT_CUT_OFF = 130

#: What the workers of a level need at once; imported by their server while the command makes its plan.
_PRELOAD = {
    "participant": ("bids_neurossm.interfaces.participant",),
    "group": ("bids_neurossm.interfaces.training", "bids_neurossm.interfaces.evaluation"),
}

#: What they need later on. Workers share it where the server has imported it, which pays only for several of them.
_PRELOAD_FOR_MANY = {"participant": ("nilearn.signal", "nilearn.interfaces.fmriprep")}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        Exit code, as in ``bids-neurossm --help``.
    """
    return guarded(lambda: _run(argv))


def guarded(command: Callable[[], int], patience: float = PATIENCE) -> int:
    """Call a command and turn what it raises into a sentence and an exit code.

    Parameters
    ----------
    command : callable
        Returns an exit code.
    patience : float
        Seconds that it has to end by itself after a signal; see `bids_neurossm.cli.signals.ending_on_signals`.
    """
    open_streams()
    _give_a_home()
    told: list[int] = []
    try:
        with ending_on_signals(told, _ended, patience):
            code = _exit_code(command, told)
    except KeyboardInterrupt:
        return _ended(told[0] if told else signal.SIGINT)
    except Terminated:
        return _ended(told[0] if told else signal.SIGTERM)
    # A library that swallows what a signal raised goes on, and then fails for want of what was not done.
    return _ended(told[0]) if told and code else code


def _exit_code(command: Callable[[], int], told: list[int]) -> int:
    try:
        try:
            with no_process_left():
                return int(command())
        finally:
            flush_streams()
    except Exception as error:
        return NeuroSSMError.exit_code if told else _failed(error)


def _failed(error: Exception) -> int:
    """Say why a command failed, and give its exit code."""
    if isinstance(error, NeuroSSMError):
        _say(error)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        discard_output()
        return OUTPUT_CUT_OFF
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        discard_output()
        _say(f"a disk is full, or that of standard output: {error}.")
        return OutputNotWritableError.exit_code
    with contextlib.suppress(OSError):
        print(escaped("".join(traceback.format_exception(error))), file=sys.stderr)
    _say("this is a bug; please report it with the lines above.")
    return NeuroSSMError.exit_code


def _say(text: object) -> None:
    """Print a sentence on standard error, if that can be written."""
    with contextlib.suppress(OSError):
        print(f"bids-neurossm: {printable(text)}", file=sys.stderr, flush=True)


def _ended(number: int) -> int:
    """Say that the command was told to end, and give its exit code."""
    how = {129: "the terminal was closed", 130: "interrupted", 143: "terminated"}[EXIT_CODES[number]]
    _say(f"{how}; finished work is kept; rerun the same command to resume.")
    return EXIT_CODES[number]


def _give_a_home() -> None:
    """Set HOME for a user whom the machine does not know, as in a container: half of the libraries ask for it."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = os.environ.get("TMPDIR", "/tmp")


def _run(argv: Sequence[str] | None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    other = _other_command(arguments)
    if other is not None:
        return other
    config = parse_config(arguments)
    # Nothing heavy is imported before the arguments are known to be good.
    from bids_neurossm.cli.environment import check_output, prepared_environment
    from bids_neurossm.cli.work_folder import clean_work_folder

    clean_work_folder(config)
    if not config.execution.dry_run:
        check_output(config.out_dir, config.selection.participant_label)
    with prepared_environment(config.execution) as work_dir:
        if config.execution.use_plugin is not None:
            from bids_neurossm.cli.engine import read_plugin_file

            read_plugin_file(config.execution.use_plugin)
        if not config.execution.dry_run and config.execution.use_plugin is None:
            from bids_neurossm.workflows.plugins import start_server

            start_server(_preload(config))
        if config.level == "participant":
            from bids_neurossm.cli.participant import run_participant

            return run_participant(config, work_dir)
        from bids_neurossm.cli.group import run_group

        return run_group(config, work_dir)


def _other_command(arguments: Sequence[str]) -> int | None:
    """Carry out ``--check`` and ``--fetch-resources``, which are commands of their own, by their earlier spellings."""
    names = [argument.partition("=")[0].replace("_", "-") for argument in arguments]
    if {"--help", "-h", "--version"} & set(names):
        return None
    if "--fetch-resources" in names:
        from bids_neurossm.cli.fetch import run_fetch

        place = names.index("--fetch-resources")
        folder = [value] if (value := arguments[place].partition("=")[2]) else []
        return run_fetch([*arguments[:place], *folder, *arguments[place + 1 :]])
    if "--check" in names:
        from bids_neurossm.cli.check import run_check

        return run_check([argument for argument in arguments if argument != "--check"])
    return None


def _preload(config: RunConfig) -> tuple[str, ...]:
    """Choose what the workers' server imports: the job of an array, with one participant, is to stay small."""
    modules = _PRELOAD[config.level]
    labels = len(config.selection.participant_label)
    if config.execution.nprocs > 1 and (labels or _count_participants(config)) > 1:
        modules += _PRELOAD_FOR_MANY.get(config.level, ())
    return modules


def _count_participants(config: RunConfig) -> int:
    """Count the folders of participants; whether that makes a dataset is for the plan to say."""
    dataset = config.selection.derivatives.get("fmriprep", config.bids_dir)
    return sum(1 for _ in dataset.glob("sub-*/"))


if __name__ == "__main__":
    sys.exit(main())
