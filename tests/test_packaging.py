"""What stands around the package: the pipeline's settings, and what a wheel must carry."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_pipeline_is_valid_by_its_schema() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    command = [checker, "--builtin-schema", "vendor.circle-ci", ROOT / ".circleci" / "config.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_plugin_file_of_the_docs_is_the_one_that_ships() -> None:
    shipped = ROOT / "bids_neurossm" / "data" / "hpc" / "slurm-plugin.yml"
    assert (ROOT / "docs" / "hpc" / "slurm-plugin.yml").read_bytes() == shipped.read_bytes()
