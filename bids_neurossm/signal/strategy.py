"""Denoising strategies: a strategy is a JSON file, shipped or the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from bids_neurossm.dataset.names import sanitised_label
from bids_neurossm.dataset.query import PREPROCESSED
from bids_neurossm.errors import UsageError
from bids_neurossm.files.json_files import read_json
from bids_neurossm.signal.nilearn_confounds import checked_arguments

_SHIPPED = Path(str(files("bids_neurossm"))) / "data" / "denoise"
_KEYS = {"Description", "Confounds", "NonAggressive", "Image", "Detrend", "HighPass", "LowPass", "Citation", "Name"}

#: ``desc-`` of the image that fMRIPrep smoothed and cleaned with ICA-AROMA.
SMOOTH_AROMA = "smoothAROMAnonaggr"


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
        Arguments of `nilearn.interfaces.fmriprep.load_confounds`, checked.
    detrend : bool
        Whether a linear trend is removed.
    high_pass, low_pass : float or None
        Cut-off frequencies in Hz.
    citation : str
        Source of the strategy.
    non_aggressive : str
        ``ica_aroma`` where ICA-AROMA's noise components are taken out with the signal components in the same fit;
        empty where none are.
    image : str
        ``desc-`` of the image that the strategy is made for.
    """

    name: str
    description: str = ""
    columns: tuple[str, ...] = ()
    nilearn: Mapping[str, Any] = field(default_factory=dict)
    detrend: bool = False
    high_pass: float | None = None
    low_pass: float | None = None
    citation: str = ""
    non_aggressive: str = ""
    image: str = PREPROCESSED

    @property
    def needs_confounds(self) -> bool:
        """Whether a confounds table has to be there."""
        return bool(self.columns or self.nilearn or self.non_aggressive)

    @property
    def scrubs(self) -> bool:
        """Whether it drops volumes by thresholds of its own."""
        return "scrub" in self.nilearn.get("strategy", ())

    @property
    def filters(self) -> bool:
        """Whether series and regressors go through a Butterworth filter."""
        return self.high_pass is not None or self.low_pass is not None

    @property
    def cleans(self) -> bool:
        """Whether anything is done to the series at all."""
        return self.needs_confounds or self.detrend or self.filters


def shipped_strategies() -> list[str]:
    """Names of the strategies that come with the package."""
    return sorted(path.stem for path in _SHIPPED.glob("*.json"))


def load_strategy(name_or_file: str, high_pass: float | None = None, low_pass: float | None = None) -> Strategy:
    """Read a denoising strategy.

    Parameters
    ----------
    name_or_file : str
        Name of a shipped strategy, with ``+gsr`` behind it for global signal regression on top, its label in file
        names, or path of a JSON file.
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
    if Path(name_or_file).suffix == ".json":
        strategy = _read(Path(name_or_file))
    else:
        name = _spelled_out(name_or_file)
        plain = name.removesuffix("+gsr")
        if plain not in shipped_strategies():
            raise UsageError(
                f"--denoise {name_or_file} is not known; shipped are {', '.join(shipped_strategies())}, all but none "
                "and 36p also with +gsr behind them; a JSON file of your own is taken too."
            )
        strategy = _read(_SHIPPED / f"{plain}.json")
        if plain != name:
            strategy = _with_global_signal(strategy, plain)
    strategy = replace(
        strategy,
        high_pass=high_pass if high_pass is not None else strategy.high_pass,
        low_pass=low_pass if low_pass is not None else strategy.low_pass,
    )
    cuts = strategy.high_pass, strategy.low_pass
    if cuts[0] is not None and cuts[1] is not None and cuts[0] >= cuts[1]:
        raise UsageError(f"--denoise {name_or_file}: the high-pass, {cuts[0]} Hz, must lie below {cuts[1]} Hz.")
    return strategy


def _spelled_out(name: str) -> str:
    """Give a name as it is listed for the label that stands in file names (``simplegsr`` for ``simple+gsr``)."""
    listed = [each + suffix for each in shipped_strategies() for suffix in ("", "+gsr")]
    return {sanitised_label(each): each for each in listed}.get(name, name)


def _with_global_signal(strategy: Strategy, name: str) -> Strategy:
    """Regress the global signal out on top of a strategy of nilearn's components."""
    components = strategy.nilearn.get("strategy", [])
    if not components or "global_signal" in components:
        why = "has the global signal already" if components else "has no regressors that it could be added to"
        raise UsageError(f"--denoise {name}+gsr is not known: {name} {why}.")
    return replace(
        strategy,
        name=strategy.name + "gsr",
        description=f"{strategy.description.removesuffix('.')}, and the global signal.",
        nilearn={**strategy.nilearn, "strategy": [*components, "global_signal"], "global_signal": "basic"},
    )


def _read(path: Path) -> Strategy:
    """Read and check one file."""
    content = read_json(path, UsageError)
    if isinstance(content, list):
        content = {"Confounds": content}
    if not isinstance(content, dict) or set(content) - _KEYS:
        unknown = sorted(set(content) - _KEYS)[0] if isinstance(content, dict) else type(content).__name__
        raise UsageError(f"--denoise {path}: {unknown!r} is not expected; known keys are {', '.join(sorted(_KEYS))}.")
    label = sanitised_label(str(content.get("Name", path.stem)))
    if not label:
        raise UsageError(f"--denoise {path} has no name with a letter or digit in it.")
    columns, nilearn = _confounds(content.get("Confounds"), path)
    non_aggressive, image = str(content.get("NonAggressive") or ""), str(content.get("Image", PREPROCESSED))
    _check_aroma(non_aggressive, image, columns, nilearn, path)
    return Strategy(
        name=label,
        description=str(content.get("Description", f"Confounds from {path.name}.")),
        columns=columns,
        nilearn=nilearn,
        detrend=_flag(content, path, bool(columns or nilearn or non_aggressive)),
        high_pass=_frequency(content, "HighPass", path),
        low_pass=_frequency(content, "LowPass", path),
        citation=str(content.get("Citation", "")),
        non_aggressive=non_aggressive,
        image=image,
    )


def _check_aroma(
    non_aggressive: str, image: str, columns: tuple[str, ...], nilearn: Mapping[str, Any], path: Path
) -> None:
    """Make sure that ICA-AROMA's noise components are taken out once."""
    if non_aggressive not in ("", "ica_aroma"):
        raise UsageError(f'--denoise {path}: "NonAggressive" is {non_aggressive!r}; "ica_aroma" is known.')
    if image not in (PREPROCESSED, SMOOTH_AROMA):
        raise UsageError(f'--denoise {path}: "Image" is {image!r}; known are "{PREPROCESSED}" and "{SMOOTH_AROMA}".')
    aggressive = "ica_aroma" in nilearn.get("strategy", ()) or any("aroma" in name for name in columns)
    if sum((bool(non_aggressive), image == SMOOTH_AROMA, aggressive)) > 1:
        raise UsageError(
            f"--denoise {path} takes ICA-AROMA's noise components out twice: choose one of the regressors, "
            f'"NonAggressive", and the image {SMOOTH_AROMA}.'
        )


def _confounds(value: Any, path: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
    if value is None:
        return (), {}
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value), {}
    if isinstance(value, dict) and set(value) == {"nilearn"} and isinstance(value["nilearn"], dict):
        return (), checked_arguments(value["nilearn"], f"--denoise {path}")
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
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise UsageError(f'--denoise {path}: "{key}" must be a positive frequency in Hz.')
    return float(value)
