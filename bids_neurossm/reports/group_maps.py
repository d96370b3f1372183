"""The class maps of an analysis: side by side as pictures, and together in the interactive viewer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_neurossm.reports.figures.brain import MapStyle, brain_map, surface_map
from bids_neurossm.reports.figures.canvas import CATEGORIES, Picture
from bids_neurossm.reports.figures.display_grid import on_display_grid
from bids_neurossm.reports.html_tables import is_true, number, read_table
from bids_neurossm.reports.viewer import find_labels, label_grid, viewer_data

_MAP = re.compile(
    r"(?P<prefix>.+?)(?:_label-(?P<label>[0-9A-Za-z+]+))?_stat-(?P<stat>cpa|neurosynth)"
    r"(?:_desc-(?P<desc>[0-9A-Za-z+]+))?_(?P<suffix>boldmap|mask|dseg)\.nii(?:\.gz)?"
)

_KINDS = ("cpa", "cpa-top25", "cpa-dominantpathway", "neurosynth", "neurosynth-top25")
_OVERLAP = {1: "CPA only", 2: "reference only", 3: "both"}

#: A page stays well below 15 MB: classes beyond this many bytes of pictures get their cortex alone.
_PICTURE_BUDGET = 8_000_000


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


def map_sections(maps: list[ClassMaps], pathways: pd.DataFrame | None, tones: dict[str, str]) -> list[dict[str, Any]]:
    """Draw all classes: ``title``, ``cortex`` (pictures side by side), ``volume`` (glass brain and slices).

    Parameters
    ----------
    maps : list of ClassMaps
        What `find_maps` returns.
    pathways : DataFrame or None
        Says how many participants stand behind a map.
    tones : dict of str to str
        Colour of each pathway.
    """
    sections, spent = [], 0
    for item in maps:
        layers = _layers(item, _map_size(pathways, item.label), tones)
        cortex = [surface_map(values, style, caption) for values, style, caption in layers]
        spent += sum(len(each.source) for each in cortex)
        volume = []
        if spent < _PICTURE_BUDGET:
            volume = [brain_map(values, style, caption) for values, style, caption in layers]
            spent += sum(len(each.source) for each in volume)
        sections.append({"title": item.title, "cortex": cortex, "volume": volume})
    return sections


def expert_maps(folder: Path) -> list[Picture]:
    """Draw the mean weight of each expert of the second family on the cortex, all on one scale from 0 to 1."""
    pictures = []
    for path in sorted(folder.glob("*_stat-expertweight_desc-expert*_boldmap.nii.gz")):
        name = path.name.partition("_desc-expert")[2].partition("_")[0]
        style = MapStyle(f"Expert {name}", "mean weight over held-out runs", top=1.0)
        pictures.append(surface_map(on_display_grid(path), style, "Weight that the router gives to this expert."))
    return pictures


def _map_size(pathways: pd.DataFrame | None, label: str) -> float | None:
    """Return how many participants stand behind a map; file names hold labels without their punctuation."""
    if pathways is None or not {"label", "n"} <= set(pathways.columns):
        return None
    plain = pathways["label"].fillna("").map(_plain)
    wanted = ("", "discriminative") if not label else (_plain(label),)
    rows = pathways.loc[plain.isin(wanted), "n"].dropna()
    return float(rows.max()) if len(rows) else None


def _plain(text: object) -> str:
    return "".join(filter(str.isalnum, str(text)))


def _layers(maps: ClassMaps, n: float | None, tones: dict[str, str]) -> list[tuple[np.ndarray, MapStyle, str]]:
    """Return values, look and caption of what there is for a class, in the order in which it is shown."""
    size = f"n = {number(int(n))} participants" if n is not None and n == n else "n not on disk"
    found = []
    if "cpa" in maps.files:
        style = MapStyle("CPA", "CPA score (share of the attribution)")
        found.append((on_display_grid(maps.files["cpa"]), style, f"Importance of each region, {size}."))
    if "neurosynth" in maps.files:
        style = MapStyle("Reference", "Residual reference score (z)", "signed")
        text = "What the literature reports for this class beyond the others; n of studies in the table below."
        found.append((on_display_grid(maps.files["neurosynth"]), style, text))
    if "cpa-top25" in maps.files:
        found.append(_top_quarters(maps, size))
    if "cpa-dominantpathway" in maps.files:
        path = maps.files["cpa-dominantpathway"]
        style = MapStyle("Dominant pathway", "pathway", "labels", _label_names(path), tones)
        text = f"The pathway that leads in each region, where it does so in nine of ten bootstraps, {size}."
        found.append((on_display_grid(path), style, text))
    return found


def _top_quarters(maps: ClassMaps, size: str) -> tuple[np.ndarray, MapStyle, str]:
    """Lay the top quarter of the CPA map and that of the reference over each other."""
    values = np.nan_to_num(on_display_grid(maps.files["cpa-top25"])) > 0
    if "neurosynth-top25" not in maps.files:
        style = MapStyle("Top quarter", "region", "labels", {1: "top quarter of the CPA map"})
        return values.astype(np.float32), style, f"The quarter of the regions with the highest score, {size}."
    other = np.nan_to_num(on_display_grid(maps.files["neurosynth-top25"])) > 0
    style = MapStyle("Overlap", "region", "labels", _OVERLAP)
    share = (values & other).sum() / max(int(values.sum()), 1) * 100
    text = f"Top quarters of the CPA map and of the reference, {size}; "
    text += f"{share:.0f}\N{NO-BREAK SPACE}% of the CPA volume lies in both."
    return (values + np.float32(2) * other).astype(np.float32), style, text


def _label_names(path: Path) -> dict[int, str]:
    """Read the look-up table beside a label image; index 0 is where nothing is stable, and stays without colour."""
    table = read_table(path.with_name(re.sub(r"\.nii(\.gz)?$", ".tsv", path.name)))
    if table is None or not {"index", "name"} <= set(table.columns):
        return {}
    return {int(row["index"]): str(row["name"]) for row in table.to_dict(orient="records") if int(row["index"]) > 0}


def group_viewer(
    out_dir: Path, maps: list[ClassMaps], regions: pd.DataFrame | None, tones: dict[str, str]
) -> dict[str, Any] | None:
    """Feed the interactive viewer from the region table.

    Returns
    -------
    dict or None
        None where there are no maps, no region table or no label image of the atlas.
    """
    if regions is None or not maps or not {"index", "name", "importance"} <= set(regions.columns):
        return None
    labels = find_labels(out_dir, next(iter(maps[0].files.values())).name)
    if labels is None:
        return None
    keys = regions["label"].fillna("discriminative") if "label" in regions.columns else pd.Series("all", regions.index)
    layers = []
    for label in dict.fromkeys(keys):
        layers += _region_layers(str(label), regions[keys == label].drop_duplicates("index"), tones)
    first = regions[keys == keys.iloc[0]].drop_duplicates("index")
    return viewer_data(label_grid(labels), first, layers)


def _region_layers(label: str, rows: pd.DataFrame, tones: dict[str, str]) -> list[dict[str, Any]]:
    """Return what the viewer can show of one class."""
    group = "discriminative map" if label == "discriminative" else label
    layers = [_layer(group, "CPA score", "magnitude", "share of the attribution", _numbers(rows["importance"]))]
    if "reference" in rows.columns and rows["reference"].notna().any():
        layers.append(_layer(group, "Reference", "signed", "residual score, z", _numbers(rows["reference"])))
    if "top25" in rows.columns:
        top = is_true(rows["top25"]).astype(int)
        names = ["top quarter of the CPA map"]
        if "reference_top25" in rows.columns and rows["reference_top25"].notna().any():
            top, names = top + 2 * is_true(rows["reference_top25"]).astype(int), list(_OVERLAP.values())
        codes = [int(value) or None for value in top]
        layers.append(_layer(group, "Top quarters", "labels", "", codes, names, list(CATEGORIES[: len(names)])))
    if "dominant_pathway" in rows.columns:
        names = [name for name in tones if name in set(rows["dominant_pathway"])]
        codes = [names.index(name) + 1 if name in names else None for name in rows["dominant_pathway"]]
        if names:
            colours = [tones[name] for name in names]
            layers.append(_layer(group, "Dominant pathway", "labels", "", codes, names, colours))
    return layers


def _layer(
    group: str,
    name: str,
    kind: str,
    unit: str,
    values: list[Any],
    names: list[str] | None = None,
    tones: list[str] | None = None,
) -> dict[str, Any]:
    layer = {"group": group, "name": name, "kind": kind, "unit": unit, "values": values}
    return layer | ({"names": names, "tones": tones} if names else {})


def _numbers(column: pd.Series[Any]) -> list[float | None]:
    values = pd.to_numeric(column, errors="coerce")
    return [None if value != value else float(f"{value:.6g}") for value in values]
