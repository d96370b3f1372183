"""``bids-neurossm``: from the command line to an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bids_neurossm.cli.parser import parse_config
from bids_neurossm.cli.process.guard import guarded
from bids_neurossm.config import RunConfig

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


def _run(argv: Sequence[str] | None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    other = _other_command(arguments)
    if other is not None:
        return other
    config = parse_config(arguments)
    # Nothing heavy is imported before the arguments are known to be good.
    from bids_neurossm.cli.process.environment import check_output, prepared_environment
    from bids_neurossm.cli.process.work_folder import clean_work_folder

    clean_work_folder(config)
    if not config.execution.dry_run:
        check_output(config.out_dir, config.selection.participant_label)
    with prepared_environment(config.execution) as work_dir:
        if config.execution.use_plugin is not None:
            from bids_neurossm.cli.workflow_engine import read_plugin_file

            read_plugin_file(config.execution.use_plugin)
        if not config.execution.dry_run and config.execution.use_plugin is None:
            from bids_neurossm.workflows.worker_pool import start_server

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
