"""The tests mirror the package: what is in ``folder/module.py`` is tested by ``tests/folder/test_module.py``."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

import bids_neurossm

PACKAGE, TESTS = Path(bids_neurossm.__file__).parent, Path(__file__).parent

#: Modules without a test file of their own: where they are tested, and what that file imports to reach them.
EXCEPTIONS = {
    # The command line, compiled kernels and moved names: tested through their entry.
    "__main__": ("test_imports.py", '"-m", "bids_neurossm"'),
    "ops/convolution_kernels": ("ops/test_convolution.py", "bids_neurossm.ops.convolution"),
    "ops/kernels": ("ops/test_cpu.py", "bids_neurossm.ops.selective_scan"),
    "ops/lanes": ("ops/test_cpu.py", "bids_neurossm.ops.selective_scan"),
    "training/cohort": ("test_deprecated.py", "bids_neurossm.training.cohort"),
    "training/estimator": ("test_deprecated.py", "bids_neurossm.training.estimator"),
    "training/estimators": ("test_deprecated.py", "bids_neurossm.training.estimators"),
    # Names, fields and constants, tested by what uses them; the plugin, by the tests of reliability.
    "config/checking": ("config/test_extraction.py", "bids_neurossm.config"),
    "files/record_format": ("interfaces/test_resume.py", "bids_neurossm.files.record_format"),
    "interfaces/plan": ("workflows/test_participant.py", "bids_neurossm.interfaces.plan"),
    "planning/cohort_plan": ("workflows/test_group.py", "bids_neurossm.planning.group"),
    "reports/packing": ("reports/test_series.py", "bids_neurossm.reports.series"),
    "workflows/worker_pool": ("reliability/workers.py", "bids_neurossm.workflows.worker_pool"),
}


def modules() -> list[str]:
    """List the modules of the package, ``folder/module``; `workflows` is a symbolic link."""
    found = []
    for folder, _, files in os.walk(PACKAGE, followlinks=True):
        paths = [Path(folder, name).relative_to(PACKAGE) for name in files if name.endswith(".py")]
        found += [path.with_suffix("").as_posix() for path in paths if path.name != "__init__.py"]
    return sorted(found)


def file_of(module: str) -> Path:
    """Return where a module is tested."""
    path = Path(module)
    return TESTS / path.parent / f"test_{path.name}.py"


def imported(text: str) -> set[str]:
    """Return the dotted names that a test file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    return names


def test_every_module_has_a_test_file_of_its_name_or_is_an_exception() -> None:
    found = modules()
    assert {"checkpoint_format", "ops/kernels", "workflows/worker_pool"} <= set(found)
    assert [module for module in found if not file_of(module).is_file() and module not in EXCEPTIONS] == []


@pytest.mark.parametrize("module", EXCEPTIONS)
def test_an_exception_is_needed_and_tested_where_it_says(module: str) -> None:
    where, entry = EXCEPTIONS[module]
    assert module in modules()
    assert not file_of(module).exists()
    text = (TESTS / where).read_text()
    assert entry in text or entry in imported(text)
