"""Imports are light at the door, without side effects, and never of a pickle; floors are for `lint-imports`."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bids_neurossm

PACKAGE = Path(bids_neurossm.__file__).parent
#: `workflows` may be a symbolic link, which rglob does not follow.
MODULES = sorted({*PACKAGE.rglob("*.py"), *(PACKAGE / "workflows").rglob("*.py")})
HEAVY = ("torch", "nilearn", "pandas", "numpy", "nibabel", "bids", "sklearn", "matplotlib", "nipype", "nimare")


def run(code: str, home: Path) -> str:
    """Run Python in a process of its own with an empty home."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "TEMPLATEFLOW"))}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(code: str, home: Path) -> set[str]:
    return set(run(f"import sys\n{code}\nprint(*sys.modules)", home).split()) & set(HEAVY)


def imported_at_run_time(path: Path) -> set[str]:
    """List what a file imports anywhere, leaving aside what only type checkers read."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import; absolute ones are the rule of the house"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            argument = node.args[0]
            names |= {str(argument.value)} if isinstance(argument, ast.Constant) else set()
    return names


def test_importing_the_package_loads_nothing_heavy(tmp_path: Path) -> None:
    assert loaded_by("import bids_neurossm", tmp_path) == set()


def test_reading_the_command_line_loads_nothing_heavy(tmp_path: Path) -> None:
    assert loaded_by("import bids_neurossm.cli.run", tmp_path) == set()


def test_importing_the_package_changes_nothing_outside_it(tmp_path: Path) -> None:
    code = (
        "import os, sys, signal, logging, threading\n"
        "def state():\n"
        "    handlers = [str(signal.getsignal(each)) for each in (signal.SIGINT, signal.SIGTERM)]\n"
        "    return dict(os.environ), os.getcwd(), handlers, logging.root.handlers[:], threading.active_count()\n"
        "before = state()\n"
        "import bids_neurossm, bids_neurossm.config, bids_neurossm.errors\n"
        "assert state() == before\n"
    )
    run(code, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_public_names_are_imported_when_they_are_used(tmp_path: Path) -> None:
    code = "import bids_neurossm\nprint(*dir(bids_neurossm))\nprint(callable(bids_neurossm.simulate_derivatives))"
    names, is_callable = run(code, tmp_path).splitlines()
    assert {"NeuroSSMClassifier", "NeuroSSMRegressor", "simulate_derivatives", "__version__"} <= set(names.split())
    assert is_callable == "True"
    assert "torch" not in loaded_by("import bids_neurossm\nbids_neurossm.simulate_derivatives", tmp_path)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        _ = bids_neurossm.no_such_name  # type: ignore[attr-defined]


def test_the_participant_level_needs_no_torch(tmp_path: Path) -> None:
    parts = [f"import bids_neurossm.{floor}.participant" for floor in ("cli", "workflows", "interfaces")]
    loaded = loaded_by("\n".join(parts), tmp_path)
    assert "nipype" in loaded  # the levels themselves were loaded
    assert "torch" not in loaded


def test_help_answers_in_under_half_a_second(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path)}
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        command = [sys.executable, "-m", "bids_neurossm", "--help"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
        assert "--participant-label" in done.stdout
        assert "exit codes" in done.stdout
    assert min(seconds) < 0.5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_unpickled(path: Path) -> None:
    """A pickle can run anything; the one reader that takes files of others admits listed types only."""
    names = {name.split(".")[0] for name in imported_at_run_time(path)}
    admitted = {"pickle"} if path.name == "restricted_pickle.py" else set()
    assert not names & {"pickle", "cloudpickle", "dill", "joblib"} - admitted


def test_the_rule_would_notice_a_breach(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import pandas\n"
        "def late():\n    import torch.nn as nn\n    from bids_neurossm.cli import run\n"
    )
    names = imported_at_run_time(path)
    assert {"torch.nn", "bids_neurossm.cli.run"} <= names
    assert "pandas" not in names
