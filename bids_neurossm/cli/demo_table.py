"""What the demo planted against what the analysis found."""

from __future__ import annotations

from pathlib import Path

from bids_neurossm.cli.terminal.console import Console
from bids_neurossm.errors import RunError
from bids_neurossm.files.tables import read_output
from bids_neurossm.reports.wording import interval_text
from bids_neurossm.simulation import PlantedTruth, read_truth


def print_findings(dataset: Path, results: Path) -> None:
    """Print the table at the end of the demo.

    Parameters
    ----------
    dataset : Path
        The simulated derivatives.
    results : Path
        Output dataset with the analysis ``demo``.
    """
    truth = read_truth(dataset)
    folder = results / "group" / "demo"
    rows = [*_scores(folder), *_regions(folder, truth), *_reference(folder)]
    console = Console()
    console.table("What was planted, and what was found", ("question", "answer"), rows)
    console.event("done", f"Group report:       {results / 'group_demo.html'}")
    console.event("done", f"A participant:      {results / 'sub-01.html'}")
    console.event("done", f"Tables and maps:    {folder}")
    console.event("done", f"The planted truth:  {dataset / 'planted_truth.json'}")


def _scores(folder: Path) -> list[tuple[str, str]]:
    metrics = read_output(folder / "metrics.tsv", RunError)
    overall = metrics[(metrics["metric"] == "auc") & (metrics["fold"].astype(str) == "all")].set_index("model")

    def told(model: str) -> str:
        row = overall.loc[model]
        return f"{row['value']:.3f} ({interval_text('auc', row['ci_low'], row['ci_high'])})"

    n = int(overall["n"].loc["neurossm"])
    return [
        (f"Held-out AUC of NeuroSSM, n-back against flanker (95 % interval, n = {n} runs)", told("neurossm")),
        ("The same of Pearson connectivity with logistic regression", told("pearson-connectivity")),
    ]


def _regions(folder: Path, truth: PlantedTruth) -> list[tuple[str, str]]:
    from sklearn.metrics import roc_auc_score

    table = read_output(next(folder.glob("*stat-cpa_regions.tsv")), RunError)
    table = table[table["label"] == "discriminative"].set_index("name")
    planted = [name for names in truth.regions.values() for name in names]
    area = roc_auc_score(table.index.isin(planted), table["importance"])
    rows = [(f"AUROC of the CPA map for the {len(planted)} planted regions among {len(table)}", f"{area:.3f}")]
    for task, names in truth.regions.items():
        found = table.loc[names, "dominant_pathway"].value_counts()
        most = ", ".join(f"{name} in {count}" for name, count in found.items())
        rows.append(
            (f"Pathway that dominates the {len(names)} {task} regions (planted period {truth.period[task]:g} s)", most)
        )
    return rows


def _reference(folder: Path) -> list[tuple[str, str]]:
    path = folder / "reference.tsv"
    if not path.is_file():
        return [("Partial correlation of the maps with the literature", "not scored")]
    row = read_output(path, RunError).iloc[0]
    return [
        (
            f"Partial correlation of {row['row_class']} with the literature ({int(row['n_studies'])} real analyses, "
            f"{int(row['n_surrogates'])} spatial surrogates)",
            f"{row['rho']:.2f} (p = {row['p']:.3f})",
        )
    ]
