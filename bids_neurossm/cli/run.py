"""``bids-neurossm``: from the command line to an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from bids_neurossm.cli.parser import parse_config
from bids_neurossm.cli.streams import discard_output, flush_streams, open_streams
from bids_neurossm.config import RunConfig
from bids_neurossm.errors import NeuroSSMError, OutputNotWritableError
from bids_neurossm.printable import escaped, printable

INTERRUPTED, TERMINATED = 130, 143

#: What the workers of a level need at once; imported by their server while the command makes its plan.
_PRELOAD = {
    "participant": ("bids_neurossm.interfaces.participant",),
    "group": ("bids_neurossm.interfaces.training", "bids_neurossm.interfaces.evaluation"),
}

#: What they need later on. Workers share it where the server has imported it, which pays only for several of them.
_PRELOAD_FOR_MANY = {"participant": ("nilearn.signal", "nilearn.interfaces.fmriprep")}


class Terminated(BaseException):
    """SIGTERM arrived: leave through the same doors as an interrupt does."""


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


def guarded(command: object) -> int:
    """Call a command and turn what it raises into a sentence and an exit code."""
    assert callable(command)
    # Imported here: --help and --version start no process.
    from bids_neurossm.cli.processes import no_process_left

    open_streams()
    _give_a_home()
    told: list[int] = []
    before = _listen(told)
    try:
        try:
            with no_process_left():
                code = int(command())
        finally:
            flush_streams()
        # A library that swallows what a signal raised goes on, and then fails for want of what was not done.
        return code if code == 0 or not told else _ended(told[-1])
    except NeuroSSMError as error:
        if told:
            return _ended(told[-1])
        _say(error)
        return error.exit_code
    except KeyboardInterrupt:
        return _ended(signal.SIGINT)
    except Terminated:
        return _ended(signal.SIGTERM)
    except BrokenPipeError:  # as with `| head -1`
        discard_output()
        return INTERRUPTED
    except Exception as error:
        if told:
            return _ended(told[-1])
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            discard_output()
            _say(f"a disk is full, or that of standard output: {error}.")
            return OutputNotWritableError.exit_code
        with contextlib.suppress(OSError):
            print(escaped(traceback.format_exc()), file=sys.stderr)
        _say("this is a bug; please report it with the lines above.")
        return NeuroSSMError.exit_code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: object) -> None:
    """Print a sentence on standard error, if that can be written."""
    with contextlib.suppress(OSError):
        print(f"bids-neurossm: {printable(text)}", file=sys.stderr, flush=True)


def _listen(told: list[int]) -> dict[int, Any]:
    """Raise where a signal asks the command to end, and remember it; give back the handlers there were."""

    def terminate(number: int, frame: FrameType | None) -> NoReturn:
        told.append(number)
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    before: dict[int, Any] = {signal.SIGTERM: signal.signal(signal.SIGTERM, terminate)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as with nohup
        before[signal.SIGINT] = signal.signal(signal.SIGINT, terminate)
    return before


def _ended(number: int) -> int:
    """Say that the command was told to end, and give its exit code."""
    how, code = ("interrupted", INTERRUPTED) if number == signal.SIGINT else ("terminated", TERMINATED)
    _say(f"{how}; finished work is kept; rerun the same command to resume.")
    return code


def _give_a_home() -> None:
    """Set HOME for a user whom the machine does not know, as in a container: half of the libraries ask for it."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = os.environ.get("TMPDIR", "/tmp")


def _run(argv: Sequence[str] | None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    given = {argument.partition("=")[0].replace("_", "-") for argument in arguments if argument.startswith("--")}
    if not given & {"--help", "--version"}:  # these two need no positional arguments
        if "--fetch-resources" in given:
            from bids_neurossm.cli.fetch import run_fetch

            return run_fetch(arguments)
        if "--check" in given:
            from bids_neurossm.cli.check import run_check

            return run_check(arguments)
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
