"""Denoising strategies: a strategy is a JSON file, shipped or the user's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from bids_neurossm.dataset.names import sanitised_label
from bids_neurossm.errors import UsageError

_SHIPPED = Path(str(files("bids_neurossm"))) / "data" / "denoise"
_KEYS = {"Description", "Confounds", "Detrend", "HighPass", "LowPass", "Citation", "Name"}


@dataclass(frozen=True)
class Strategy:
    """What is regressed out of the series.

    Parameters
    ----------
    name : str
        Label in file names.
    description : str
        For sidecars and the methods text.
    columns : tuple of str
        Columns of the confounds table, with ``*`` and ``?`` as wildcards.
    nilearn : mapping
        Arguments of `nilearn.interfaces.fmriprep.load_confounds`.
    detrend : bool
        Whether a linear trend is removed.
    high_pass, low_pass : float or None
        Cut-off frequencies in Hz.
    citation : str
        Source of the strategy.
    """

    name: str
    description: str = ""
    columns: tuple[str, ...] = ()
    nilearn: Mapping[str, Any] = field(default_factory=dict)
    detrend: bool = False
    high_pass: float | None = None
    low_pass: float | None = None
    citation: str = ""

    @property
    def needs_confounds(self) -> bool:
        """Whether a confounds table has to be there."""
        return bool(self.columns or self.nilearn)

    @property
    def cleans(self) -> bool:
        """Whether anything is done to the series at all."""
        return self.needs_confounds or self.detrend or self.high_pass is not None or self.low_pass is not None


def shipped_strategies() -> list[str]:
    """Names of the strategies that come with the package."""
    return sorted(path.stem for path in _SHIPPED.glob("*.json"))


def load_strategy(name_or_file: str, high_pass: float | None = None, low_pass: float | None = None) -> Strategy:
    """Read a denoising strategy.

    Parameters
    ----------
    name_or_file : str
        Name of a shipped strategy or path of a JSON file.
    high_pass, low_pass : float, optional
        Cut-off frequencies in Hz that take the place of the strategy's own.

    Returns
    -------
    Strategy

    Raises
    ------
    UsageError
        If there is no such strategy, or its file is not what is expected.
    """
    path = Path(name_or_file)
    if path.suffix != ".json":
        path = _SHIPPED / f"{name_or_file}.json"
        if not path.is_file():
            raise UsageError(
                f"--denoise {name_or_file} is not known; shipped are {', '.join(shipped_strategies())}; a JSON "
                "file of your own is taken too."
            )
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--denoise {path} is not readable JSON: {error}.") from error
    if isinstance(content, list):
        content = {"Confounds": content}
    if not isinstance(content, dict) or set(content) - _KEYS:
        unknown = sorted(set(content) - _KEYS)[0] if isinstance(content, dict) else type(content).__name__
        raise UsageError(f"--denoise {path}: {unknown!r} is not expected; known keys are {', '.join(sorted(_KEYS))}.")
    label = sanitised_label(str(content.get("Name", path.stem)))
    if not label:
        raise UsageError(f"--denoise {path} has no name with a letter or digit in it.")
    columns, nilearn = _confounds(content.get("Confounds"), path)
    return Strategy(
        name=label,
        description=str(content.get("Description", f"Confounds from {path.name}.")),
        columns=columns,
        nilearn=nilearn,
        detrend=_flag(content, path, bool(columns or nilearn)),
        high_pass=high_pass if high_pass is not None else _frequency(content, "HighPass", path),
        low_pass=low_pass if low_pass is not None else _frequency(content, "LowPass", path),
        citation=str(content.get("Citation", "")),
    )


def _confounds(value: Any, path: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
    if value is None:
        return (), {}
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value), {}
    if isinstance(value, dict) and set(value) == {"nilearn"} and isinstance(value["nilearn"], dict):
        arguments = dict(value["nilearn"])
        if isinstance(arguments.get("strategy"), list):
            return (), arguments
    raise UsageError(
        f'--denoise {path}: "Confounds" must be a list of column names, or '
        '{"nilearn": {"strategy": ["motion", ...], ...}}.'
    )


def _flag(content: Mapping[str, Any], path: Path, default: bool) -> bool:
    value = content.get("Detrend", default)
    if not isinstance(value, bool):
        raise UsageError(f'--denoise {path}: "Detrend" must be true or false.')
    return value


def _frequency(content: Mapping[str, Any], key: str, path: Path) -> float | None:
    value = content.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise UsageError(f'--denoise {path}: "{key}" must be a positive frequency in Hz.')
    return float(value)
