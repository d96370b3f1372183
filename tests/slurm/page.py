"""The commands of the page on clusters, typed as they stand there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hpc.md"


def commands(section: str) -> list[str]:
    """Return the blocks of commands of a section, given the number in its title."""
    text = re.split(rf"^## {section}\. ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1]
    return re.findall(r"```bash\n(.*?)```", re.split(r"^## ", text, flags=re.MULTILINE)[0], flags=re.DOTALL)


def typed(
    block: str, places: dict[str, str], folder: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a block in a folder, with its example paths and options replaced.

    Raises
    ------
    AssertionError
        If the page does not say what is to be replaced.
    """
    for said, meant in places.items():
        assert said in block, f"{said} is not in:\n{block}"
        block = block.replace(said, meant)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
