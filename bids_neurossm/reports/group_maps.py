"""Finding the class maps of an analysis and drawing them side by side."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bids_neurossm.reports.brain import MapStyle, brain_map, on_display_grid
from bids_neurossm.reports.canvas import CATEGORIES, Picture
from bids_neurossm.reports.tables import number, read_table

_MAP = re.compile(
    r"(?P<prefix>.+?)(?:_label-(?P<label>[0-9A-Za-z+]+))?_stat-(?P<stat>cpa|neurosynth)"
    r"(?:_desc-(?P<desc>[0-9A-Za-z+]+))?_(?P<suffix>boldmap|mask|dseg)\.nii(?:\.gz)?"
)

_KINDS = ("cpa", "cpa-top25", "cpa-dominantpathway", "neurosynth", "neurosynth-top25")


@dataclass
class ClassMaps:
    """The maps of one class, or of the discriminative contrast.

    Parameters
    ----------
    label : str
        Class as the file name has it; empty for the discriminative map of two classes.
    files : dict of str to Path
        Kind of map to its file.
    """

    label: str
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Heading on the page."""
        return self.label or "Discriminative map"


def find_maps(folder: Path) -> list[ClassMaps]:
    """List the maps of an analysis by class, the map without a label first."""
    found: dict[str, ClassMaps] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = _MAP.fullmatch(path.name)
        if not match:
            continue
        kind = match["stat"] + (f"-{match['desc']}" if match["desc"] else "")
        if kind in _KINDS:
            label = match["label"] or ""
            found.setdefault(label, ClassMaps(label)).files[kind] = path
    return [found[label] for label in sorted(found)]


def pathway_colours(pathways: list[str]) -> dict[str, str]:
    """Give each pathway its colour, in the order in which the tables name them."""
    return {name: CATEGORIES[place % len(CATEGORIES)] for place, name in enumerate(dict.fromkeys(pathways))}


def draw_maps(maps: ClassMaps, n: float | None, tones: dict[str, str]) -> list[Picture]:
    """Draw what there is for a class: CPA, the reference, their top quarters over each other, the dominant pathway.

    Parameters
    ----------
    maps : ClassMaps
        Files.
    n : float or None
        Participants behind the CPA map, where the tables say so.
    tones : dict of str to str
        Colour of each pathway.
    """
    size = f"n = {number(int(n))} participants" if n is not None and n == n else "n not on disk"
    pictures = []
    if "cpa" in maps.files:
        style = MapStyle(f"{maps.title}: CPA map", "CPA score (share of the attribution)")
        pictures.append(
            brain_map(on_display_grid(maps.files["cpa"]), style, f"CPA: importance of each region, {size}.")
        )
    if "neurosynth" in maps.files:
        style = MapStyle(f"{maps.title}: meta-analytic reference", "Residual reference score (z)", "signed")
        text = (
            "Reference: what the literature reports for this class beyond the others; n of studies in the table below."
        )
        pictures.append(brain_map(on_display_grid(maps.files["neurosynth"]), style, text))
    quarters = _top_quarters(maps, size)
    if quarters is not None:
        pictures.append(quarters)
    if "cpa-dominantpathway" in maps.files:
        path = maps.files["cpa-dominantpathway"]
        style = MapStyle(f"{maps.title}: dominant pathway", "pathway", "labels", _label_names(path), tones)
        text = f"The pathway that dominates each region, where it does so in nine of ten bootstraps, {size}."
        pictures.append(brain_map(on_display_grid(path), style, text))
    return pictures


def _top_quarters(maps: ClassMaps, size: str) -> Picture | None:
    """Lay the top quarter of the CPA map and that of the reference over each other."""
    if "cpa-top25" not in maps.files:
        return None
    values = np.nan_to_num(on_display_grid(maps.files["cpa-top25"])) > 0
    if "neurosynth-top25" not in maps.files:
        names = {1: "top quarter of the CPA map"}
        style = MapStyle(f"{maps.title}: top quarter", "region", "labels", names)
        return brain_map(
            values.astype(np.float64), style, f"The quarter of the regions with the highest score, {size}."
        )
    other = np.nan_to_num(on_display_grid(maps.files["neurosynth-top25"])) > 0
    names = {1: "CPA only", 2: "reference only", 3: "both"}
    style = MapStyle(f"{maps.title}: top quarters of CPA and of the reference", "region", "labels", names)
    share = (values & other).sum() / max(int(values.sum()), 1) * 100
    text = f"Top quarter of the CPA map and of the reference, {size}; "
    text += f"{share:.0f}\N{NO-BREAK SPACE}% of the CPA volume lies in both."
    return brain_map(values + 2.0 * other, style, text)


def _label_names(path: Path) -> dict[int, str]:
    """Read the look-up table beside a label image; index 0 is where nothing is stable, and stays without colour."""
    table = read_table(path.with_name(re.sub(r"\.nii(\.gz)?$", ".tsv", path.name)))
    if table is None or not {"index", "name"} <= set(table.columns):
        return {}
    return {int(row["index"]): str(row["name"]) for row in table.to_dict(orient="records") if int(row["index"]) > 0}
