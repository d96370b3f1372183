"""What the page on Python says runs, from top to bottom, in an empty folder; the page of floors is the contract."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "python.md"
CLASSES = ("NeuroSSMClassifier", "NeuroSSMRegressor", "NeuroSSM", "NeuroSSMConfig", "Mamba")
FUNCTIONS = ("simulate_derivatives", "load_parcellation", "parcel_means", "selective_scan", "cpa", "class_maps")


@pytest.fixture(scope="module")
def blocks():
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_every_public_name_has_an_example(blocks):
    code = "".join(blocks)
    for name in (*CLASSES, *FUNCTIONS, "association_maps"):
        assert re.search(rf"\b{name}\(", code), name


@pytest.mark.slow
def test_the_examples_run(blocks, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "".join(blocks)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    printed = done.stdout.splitlines()
    assert any(re.fullmatch(r"accuracy (0\.[89]\d*|1\.0)", line) for line in printed), printed


def test_the_page_has_the_floors_of_the_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    floors = [line.split(" : ") for line in contracts[0]["layers"]]
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+) \| [^|]+ \|$", text.partition("## Rules")[0], flags=re.MULTILINE)
    assert [re.findall(r"`(\w+)`", row) for row in rows] == floors
