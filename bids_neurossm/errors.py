"""What can go wrong in a way that the user can put right: one class each, with its exit code.

A message says what was found, what was expected, and what mends it, in one sentence that names the file.
"""

from __future__ import annotations


class NeuroSSMError(Exception):
    """Base of every error that is shown to the user without a traceback."""

    exit_code = 70


class RunError(NeuroSSMError):
    """One run can not be processed (damaged image, missing confounds, no repetition time ...)."""

    exit_code = 1


class OtherRegionsError(RunError):
    """Series whose columns are other regions than those that are expected."""


class WorkerLostError(RunError):
    """The process that worked on a node was killed, most often for want of memory."""


class UsageError(NeuroSSMError):
    """The command line, a configuration file or a recipe asks for something impossible."""

    exit_code = 2


class NoInputError(NeuroSSMError):
    """Nothing in the dataset matches what was asked for."""

    exit_code = 3


class ResourceMissingError(NeuroSSMError):
    """An atlas, a template or reference data is missing and can not be had offline."""

    exit_code = 4


class OutputNotWritableError(NeuroSSMError):
    """An output target can not be written, or the disk is full."""

    exit_code = 5


class DeviceUnavailableError(NeuroSSMError):
    """A GPU was asked for and none is usable."""

    exit_code = 6


class LabelError(NeuroSSMError):
    """The labels can not be used: too few, a single class, an unknown column."""

    exit_code = 7


class CheckpointError(NeuroSSMError):
    """A checkpoint does not fit the data (atlas, regions, TR, version) or is damaged."""

    exit_code = 8
