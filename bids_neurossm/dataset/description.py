"""The files that make a folder a BIDS derivatives dataset: descriptions, README, ignore list, atlases.

A thousand jobs write them at the same time; all write the same bytes, and each write is atomic.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bids_neurossm import __version__
from bids_neurossm.dataset.outputs import BIDSIGNORE
from bids_neurossm.errors import UsageError
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.portable import portable_link
from bids_neurossm.files.record_format import RECORD_FORMAT
from bids_neurossm.files.shared_files import write_shared
from bids_neurossm.files.tables import read_table
from bids_neurossm.files.write import (
    json_text,
    replacing,
    rows_text,
    write_bytes,
    write_text,
)

BIDS_VERSION = "1.11.0"
_NAME = "bids-neurossm"

#: Entries of the files that jobs add to together (`bids_neurossm.files.shared_files`); the validator passes logs/ over.
_ENTRIES = Path("logs") / "shared"

_README = """\
# bids-neurossm derivatives

Written by bids-neurossm from fMRIPrep derivatives.

- `sub-*/.../func/*_stat-mean_desc-<strategy>_timeseries.tsv`: one row per kept volume, one named column per region;
  a region without enough coverage is `n/a` and never moves.
- `*_stat-coverage_bold.tsv`: per region, what its mean rests on.
- `*_stat-pearsoncorrelation_desc-<strategy>_relmat.tsv`: correlations between regions.
- `*_desc-<strategy>_outliers.tsv`: per volume of the image, framewise displacement and whether it was kept.
- `group/<analysis>/`: splits, predictions, metrics, baselines, controls and maps of one analysis.
- `models/<analysis>/`: checkpoints (safetensors and TOML) with a model card.
- `quality.tsv`: one row per run, atlas and strategy: motion, volumes, coverage, and why a run is left out.
- `sub-*.html`, `group_*.html`: reports. `logs/`: what was run, with every setting.

Every table has a sidecar that names its sources, settings and versions.
"""


_DESCRIPTIONS = (
    ("none", "No denoising: regional means as they are."),
    ("simple", "Cosine high-pass, 24 head-motion parameters, mean white-matter and CSF signals regressed out."),
    ("top25", "The quarter of the regions with the highest score."),
    ("dominantpathway", "The pathway (stream and time scale) that contributes most to each region's score."),
)


def write_description(out_dir: Path, sources: dict[str, Path], overwrite: bool = False) -> None:
    """Write or renew what stands at the root of the output dataset.

    Parameters
    ----------
    out_dir : Path
        The output dataset.
    sources : dict of str to Path
        Input datasets by name.
    overwrite : bool
        Take over a dataset whose records have another format.

    Raises
    ------
    UsageError
        If the folder already holds the dataset of another program, or records of another format.
    """
    path = out_dir / "dataset_description.json"
    mine = {name: portable_link(str(each.absolute()), out_dir) for name, each in sources.items()}
    if not path.is_file():
        # Of jobs that start at the same time one comes first; the others then see which version it was.
        with replacing(path, first=True) as temporary:
            temporary.write_text(_description(mine), encoding="utf-8")
    known = read_description(out_dir)
    _refuse_others(out_dir, known, overwrite)

    def render(entries: Mapping[str, str]) -> str:
        # Version 0.1.0 wrote absolute links.
        links = {**_known_links(known), **entries}
        return _description({name: portable_link(place, out_dir) for name, place in links.items()})

    write_shared(path, out_dir / _ENTRIES / "sources", mine, render)
    _write_bidsignore(out_dir / ".bidsignore")
    if not (out_dir / "README.md").exists():
        write_text(out_dir / "README.md", _README)


def _description(links: Mapping[str, str]) -> str:
    """Phrase the description; of a source without a link the name is written."""
    urls = [{"URL": url} for url in sorted({url for url in links.values() if url})]
    return json_text(
        {
            "Name": "bids-neurossm: regional series, models of their dynamics, and maps",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": _NAME, "Version": __version__}],
            "RecordFormat": RECORD_FORMAT,
            "SourceDatasets": urls + [{"Name": name} for name in sorted(links) if not links[name]],
            "DatasetLinks": {name: url for name, url in links.items() if url},
        }
    )


def _known_links(description: Mapping[str, Any]) -> dict[str, str]:
    """Read the links of a description, and the names that have none."""
    sources, links = description.get("SourceDatasets"), description.get("DatasetLinks")
    listed = [each for each in sources if isinstance(each, dict)] if isinstance(sources, list) else []
    names = {str(each["Name"]): "" for each in listed if "Name" in each and "URL" not in each}
    return names | ({str(name): str(url) for name, url in links.items()} if isinstance(links, dict) else {})


def _write_bidsignore(path: Path) -> None:
    """Add the patterns that are missing; lines of the user, or of another version, stay."""
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if path.is_file() else []
    missing = [pattern for pattern in BIDSIGNORE if pattern not in map(str.strip, lines)]
    if missing:
        write_bytes(path, "".join(f"{line}\n" for line in [*lines, *missing]).encode(errors="surrogateescape"))


def _refuse_others(out_dir: Path, known: Mapping[str, Any], overwrite: bool) -> None:
    """Keep apart what other programs have written, and versions of this one whose records have another format."""
    listed = known.get("GeneratedBy")
    generators = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    own = [each for each in generators if each.get("Name") == _NAME]
    if not own:
        names = ", ".join(str(each.get("Name")) for each in generators)
        raise UsageError(
            f"{out_dir} already holds a dataset by {names or 'another program'}; give a folder of its own to the "
            "output."
        )
    found = known.get("RecordFormat", 1)  # 0.1.0 did not state it
    if found != RECORD_FORMAT and not overwrite:
        versions = ", ".join(sorted(str(each["Version"]) for each in own if "Version" in each)) or "another version"
        raise UsageError(
            f"The records in {out_dir} have format {found} (bids-neurossm {versions}), this version writes format "
            f"{RECORD_FORMAT}: its series and models have to be computed again. Give another OUT_DIR, or --overwrite, "
            "which computes again what the command asks for."
        )


def read_description(dataset: Path) -> dict[str, Any]:
    """Read a dataset's description; an empty one where there is none.

    Raises
    ------
    UsageError
        If the file is there but is no JSON object.
    """
    path = dataset / "dataset_description.json"
    if not path.is_file():
        return {}
    return read_json_object(path, UsageError)


def write_desc_labels(out_dir: Path, labels: dict[str, str]) -> None:
    """Add to ``descriptions.tsv`` what ``desc-`` labels mean; jobs that add others at the same time lose nothing."""
    path = out_dir / "descriptions.tsv"
    known = {f"desc-{name}": text for name, text in _DESCRIPTIONS}
    if path.is_file():
        table = read_table(path, UsageError)
        known |= dict(zip(table["desc_id"], table["description"], strict=True))
    mine = {f"desc-{name}": text for name, text in labels.items()}
    write_shared(
        path,
        out_dir / _ENTRIES / "descriptions",
        mine,
        lambda entries: rows_text(("desc_id", "description"), sorted({**known, **entries}.items())),
    )
