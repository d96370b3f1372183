"""Figure of the experts of the second family: which networks each of them is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bids_neurossm.reports.figures.canvas import CATEGORIES, Picture, new_figure, picture, themed
from bids_neurossm.reports.html_tables import gathered_tables


def expert_networks(folder: Path) -> Picture | None:
    """Draw the figure of an analysis from its region table; None where there is no such table."""
    regions = gathered_tables(folder, "stat-expertweight_regions.tsv")
    return None if regions is None else weights_by_network(regions)


def weights_by_network(regions: pd.DataFrame) -> Picture | None:
    """Draw the mean weight of each expert in each network, as bars that add up to one.

    Parameters
    ----------
    regions : DataFrame
        ``network``, and one column per expert (``expert-1`` ...) with the mean weights of the regions.

    Returns
    -------
    Picture or None
        None where there are no experts; without names of networks one bar stands for all regions.
    """
    experts = [str(name) for name in regions.columns if str(name).startswith("expert-")]
    if not experts or regions.empty:
        return None
    if "network" in regions.columns:
        network = regions["network"].fillna("").astype(str).replace({"": "all regions", "-": "all regions"})
    else:
        network = pd.Series("all regions", index=regions.index)
    means = regions[experts].apply(pd.to_numeric, errors="coerce").groupby(network).mean()
    counts = network.value_counts()
    with themed():
        figure = new_figure(6.4, 0.9 + 0.3 * len(means))
        axes = figure.subplots()
        places, left = np.arange(len(means)), np.zeros(len(means))
        for number, name in enumerate(experts):
            width = means[name].to_numpy(dtype=np.float64)
            axes.barh(places, width, left=left, height=0.7, color=CATEGORIES[number % len(CATEGORIES)], label=name)
            left = left + width
        axes.set_yticks(places, [f"{name} ({counts[name]})" for name in means.index])
        axes.set_ylim(len(means) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.set_xlabel("Mean weight over held-out runs")
        axes.legend(ncols=min(len(experts), 4), loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
        return picture(
            figure,
            f"Weights of {len(experts)} experts in {len(means)} networks, as stacked bars.",
            "Which experts the regions of each network (number of regions in brackets) are given by the router. "
            "Experts are matched over models by their regions; they have no meaning of their own.",
        )
