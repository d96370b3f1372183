"""What stands around the package: the pipeline's settings, and what a wheel must carry."""

from __future__ import annotations

import re
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


def test_the_pipeline_looks_at_paths_that_are_there() -> None:
    pipeline = (ROOT / ".circleci" / "config.yml").read_text(encoding="utf-8")
    named = [
        path for line in re.findall(r"^ +paths: ([a-z].*)$", pipeline, flags=re.MULTILINE) for path in line.split()
    ]
    assert len(named) > 15
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_images_and_release_are_built_on_the_same_base() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (base,) = re.findall(r"^ARG BASE=(\S+)$", dockerfile, flags=re.MULTILINE)
    definition = (ROOT / "Singularity.def").read_text(encoding="utf-8")
    assert re.findall(r"^ +FROM=(\S+)$", definition, flags=re.MULTILINE) == [base]
    assert f"docker pull --quiet {base}\n" in (ROOT / ".circleci" / "config.yml").read_text(encoding="utf-8")


def test_an_image_gets_what_the_package_is_built_from() -> None:
    """Both recipes copy the same files; one that is forgotten would only be missed in a container."""
    needed = {
        "bids_neurossm",
        "workflows",
        "pyproject.toml",
        "constraints.txt",
        "hatch_build.py",
        "README.md",
        "LICENSE",
    }
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in ignore if line.startswith("!")} == needed
    definition = (ROOT / "Singularity.def").read_text(encoding="utf-8")
    copied = re.findall(r"^ +(\S+) /opt/src/(\S+)$", definition, flags=re.MULTILINE)
    assert {source for source, target in copied if source == target} == needed
