"""Model recipes: TOML files with the tables [model] and [training], shipped or the user's own."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from bids_neurossm.config import Training
from bids_neurossm.errors import UsageError
from bids_neurossm.files.toml_files import read_toml, section_from


def shipped_recipes() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def load_recipe(name_or_path: str | Path) -> tuple[dict[str, Any], Training]:
    """Read a recipe.

    Parameters
    ----------
    name_or_path : str or Path
        A shipped name (``hcp-rest``, ``hcp-task``, ``ppmi``, ``multisite``, ``demo``, ``camcan-age``,
        ``camcan-fluid``) or a TOML file.

    Returns
    -------
    dict, Training
        Arguments of the model's own configuration, and how it is trained.

    Raises
    ------
    UsageError
        If there is no such recipe, or it has an unknown table or setting.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = _folder() / f"{name_or_path}.toml"
        if not path.is_file():
            known = ", ".join(shipped_recipes())
            raise UsageError(f"The recipe {str(name_or_path)!r} is not known; {known} or a .toml file is expected.")
    tables = read_toml(path)
    unknown = sorted(set(tables) - {"model", "training"})
    if unknown:
        raise UsageError(f"{path}: unknown table {unknown[0]!r}; [model] and [training] are known.")
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(f"{path}: {name} is a {type(table).__name__}; a table, [{name}], is expected.")
    try:
        return dict(tables.get("model", {})), section_from(Training, tables.get("training", {}), "[training]")
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _folder() -> Path:
    return Path(str(files("bids_neurossm").joinpath("data/recipes")))
