"""``bids-neurossm``: from the command line to an exit code."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from bids_neurossm.cli.parser import parse_config
from bids_neurossm.errors import NeuroSSMError

INTERRUPTED, TERMINATED = 130, 143

#: What the workers of a level will need; imported by their server while the command makes its plan.
_PRELOAD = {
    "participant": (
        "bids_neurossm.interfaces.participant",
        "nilearn.signal",
        "nilearn.interfaces.fmriprep",
    ),
    "group": ("bids_neurossm.interfaces.training", "bids_neurossm.interfaces.evaluation"),
}


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
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        return int(command())
    except NeuroSSMError as error:
        print(f"bids-neurossm: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("bids-neurossm: interrupted; what was finished is kept, run the same command to go on.", file=sys.stderr)
        return INTERRUPTED
    except Terminated:
        print("bids-neurossm: terminated; what was finished is kept, run the same command to go on.", file=sys.stderr)
        return TERMINATED
    except BrokenPipeError:
        return INTERRUPTED
    except Exception:
        traceback.print_exc()
        print("bids-neurossm: this is a bug; please report it with the lines above.", file=sys.stderr)
        return NeuroSSMError.exit_code
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


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
    from bids_neurossm.cli.environment import prepared_environment

    with prepared_environment(config.execution) as work_dir:
        if config.execution.use_plugin is not None:
            from bids_neurossm.cli.engine import read_plugin_file

            read_plugin_file(config.execution.use_plugin)
        if not config.execution.dry_run and config.execution.use_plugin is None:
            from bids_neurossm.workflows.plugins import start_server

            start_server(_PRELOAD[config.level])
        if config.level == "participant":
            from bids_neurossm.cli.participant import run_participant

            return run_participant(config, work_dir)
        from bids_neurossm.cli.group import run_group

        return run_group(config, work_dir)


if __name__ == "__main__":
    sys.exit(main())
