"""Refuse to build a distribution that would lack the workflows."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class RequireWorkflows(BuildHookInterface):
    """`bids_neurossm/workflows` is a symbolic link; a checkout with core.symlinks=false holds a text file."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Stop the build unless the linked package is really there."""
        if not Path(self.root, "bids_neurossm", "workflows", "__init__.py").is_file():
            raise RuntimeError(
                "bids_neurossm/workflows is not a folder: this checkout has no symbolic links. "
                "Clone again with `git clone -c core.symlinks=true`."
            )
