"""From the name of an atlas, or the path of a label image, to a parcellation."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.atlas.combined import combined_name, load_combined
from bids_neurossm.atlas.grayordinates import read_dense_labels
from bids_neurossm.atlas.names import canonical_names
from bids_neurossm.atlas.orientation import has_orientation, missing_orientation
from bids_neurossm.atlas.parcellation import DENSE_EXTENSIONS, SPACE_ALIASES, Parcellation, read_label_image
from bids_neurossm.atlas.tables import LabelTable, read_label_table
from bids_neurossm.dataset.companions import LABEL_TABLE, Folders, find_companion
from bids_neurossm.dataset.names import parse_name, sanitised_label
from bids_neurossm.errors import ResourceMissingError, UsageError
from bids_neurossm.files.safe_reading import is_listed, missing_content

_DATA = Path(str(files("bids_neurossm"))) / "data" / "atlases"

#: Space of CIFTI series: the surfaces of the Human Connectome Project with subcortical voxels.
DENSE_SPACE = "fsLR"


def known_atlases() -> dict[str, dict[str, Any]]:
    """Atlases that are known by name, with their facts."""
    return tomllib.loads((_DATA / "catalogue.toml").read_text(encoding="utf-8"))


def load_parcellation(
    name_or_file: str | Path,
    space: str | None = None,
    resolution: int | None = None,
    *,
    atlas_dir: Path | None = None,
    atlas_space: str | None = None,
    download: bool = True,
    allow_missing_orientation: bool = False,
) -> Parcellation:
    """Find a parcellation.

    Parameters
    ----------
    name_or_file : str or Path
        ``Schaefer400`` (any size from 100 to 1000, ``Schaefer400_17Networks`` ...), ``AAL3``, ``HarvardOxford``,
        a label image with its table beside it (same name, ``.tsv``, ``.csv``, ``.txt`` or ``.xml``), a CIFTI-2 label
        image (``.dlabel.nii``), or a TOML file that combines several of them (`bids_neurossm.atlas.combined`).
    space : str, optional
        Space in which it will be used; an atlas of another space is refused.
    resolution : int, optional
        ``res-`` of the TemplateFlow image, 2 by default.
    atlas_dir : Path, optional
        Folder that is searched before TemplateFlow.
    atlas_space : str, optional
        Space of a label image whose name does not say it.
    download : bool
        Whether TemplateFlow's client may be asked for what is not there.
    allow_missing_orientation : bool
        Take a label image whose header has neither an sform nor a qform.

    Returns
    -------
    Parcellation
        Its regions have the newest names that are known for them, whichever table was read.

    Raises
    ------
    UsageError
        Unknown name, an atlas of another space, an image without orientation, a table that does not fit the image.
    ResourceMissingError
        If a file is missing, empty or damaged, and can not be fetched.
    """
    path = Path(name_or_file)
    if path.suffix == ".toml":

        def load(part: str, part_space: str | None) -> Parcellation:
            if part.endswith(".toml"):
                raise UsageError(f"--atlas {path}: a part can not be a combination itself; list its parts.")
            return load_parcellation(
                part,
                space,
                resolution,
                atlas_dir=atlas_dir,
                atlas_space=part_space or atlas_space,
                download=download,
                allow_missing_orientation=allow_missing_orientation,
            )

        parcellation = load_combined(path, load)
    elif path.name.endswith(DENSE_EXTENSIONS):
        parcellation = _from_dense(path, atlas_space)
    elif path.name.endswith((".nii", ".nii.gz")):
        parcellation = _from_file(path, atlas_space)
    else:
        parcellation = _by_name(str(name_or_file), space, resolution or 2, atlas_dir, download)
    checked = allow_missing_orientation or parcellation.dense or parcellation.layers
    if not (checked or has_orientation(parcellation.image_file)):
        raise UsageError(missing_orientation(parcellation.image_file))
    if space is not None and parcellation.dense != (space == DENSE_SPACE):
        raise UsageError(
            f"The runs are in {space}, the atlas {parcellation.image_file.name} is drawn in {parcellation.space}: runs "
            f"in {DENSE_SPACE} (CIFTI) take a .dlabel.nii as --atlas, runs on voxels take a NIfTI image."
        )
    if space is not None and parcellation.space != space and not parcellation.any_space:
        raise UsageError(
            f"The atlas {parcellation.image_file.name} is drawn in {parcellation.space}, the runs are in {space}: "
            "laid over each other their regions would be millimetres apart. Choose runs with "
            f"--space {parcellation.space}, or an atlas in {space}."
        )
    return parcellation


def _by_name(name: str, space: str | None, resolution: int, atlas_dir: Path | None, download: bool) -> Parcellation:
    _, facts, match = _recognise(name)
    entities = atlas_entities(name)
    if space == DENSE_SPACE:
        return _dense_by_name(name, match, atlas_dir)
    if facts["source"] == "templateflow":
        if space is not None and space not in facts["spaces"]:
            raise UsageError(f"--atlas {name} exists in {' and '.join(facts['spaces'])}, not in {space}.")
        networks = f"{match['networks'] or 7}Networks"
        image, table = _schaefer_files(
            match["parcels"], networks, space or facts["spaces"][0], resolution, atlas_dir, download
        )
        return _assemble(image, table, entities, space or facts["spaces"][0], facts)
    if facts["source"] == "aal3":
        image = _search(("AAL3v1.nii", "AAL3v1.nii.gz"), _aal3_folders(atlas_dir), f"--atlas {name}", _AAL3_REMEDY)
        table = _search(("AAL3v1.xml",), [image.parent], f"--atlas {name}", _AAL3_REMEDY)
        return _assemble(image, table, entities, facts["spaces"][0], facts)
    image = _nimare_folder() / "HarvardOxford-cort-maxprob-thr25-2mm.nii.gz"
    table = _DATA / "HarvardOxford48.tsv"
    return _assemble(image, table, entities, facts["spaces"][0], facts)


def atlas_entities(name_or_file: str, atlas_space: str | None = None) -> dict[str, str]:
    """Tell how an atlas is called in file names, without reading its image where the name is enough.

    Raises
    ------
    UsageError
        If the name is not known, or the file can not be used.
    """
    if name_or_file.endswith(".toml"):
        return {"atlas": combined_name(Path(name_or_file))}
    if name_or_file.endswith(DENSE_EXTENSIONS):
        return dict(_from_dense(Path(name_or_file), atlas_space).entities)
    if name_or_file.endswith((".nii", ".nii.gz")):
        return dict(_from_file(Path(name_or_file), atlas_space).entities)
    atlas, facts, match = _recognise(name_or_file)
    if facts["source"] == "templateflow":
        return {"atlas": atlas, "seg": f"{match['networks'] or 7}Networks", "scale": match["parcels"]}
    return {"atlas": atlas, "scale": str(facts["regions"])}


def absent_labels(name: str) -> tuple[int, ...]:
    """List the whole numbers up to the highest label of a known atlas that are no label (of AAL3 four).

    Raises
    ------
    UsageError
        If the name is not known.
    """
    return tuple(_recognise(name)[1].get("absent_labels", ()))


def _recognise(name: str) -> tuple[str, dict[str, Any], re.Match[str]]:
    for atlas, facts in known_atlases().items():
        match = re.fullmatch(facts["pattern"], name, flags=re.IGNORECASE)
        if match:
            return atlas, facts, match
    raise UsageError(
        f"--atlas {name} is not known; give Schaefer400 (100 to 1000, _17Networks), AAL3, HarvardOxford, the path of "
        "a label image with a TSV beside it, of a .dlabel.nii, or of a TOML file that combines several."
    )


def _from_file(path: Path, atlas_space: str | None) -> Parcellation:
    _require_content(path)
    entities, _, extension = parse_name(path)
    stem = path.name.removesuffix(extension)
    # CBIG's order files leave the template and the resolution out of their names.
    short = re.sub(r"_(FSLMNI152|space-).*$", "", stem)
    table = _label_table(path, short)
    if table is None:
        raise UsageError(f"--atlas {path}: no label table stands beside it; {stem}.tsv is expected.")
    space = atlas_space or entities.get("tpl") or entities.get("space")
    if space is None and "FSLMNI152" in stem:
        space = "FSLMNI152"
    if space is None:
        raise UsageError(f"--atlas {path}: its name does not say its space; add --atlas-space MNI152NLin6Asym or so.")
    labels = read_label_table(table)
    named = _named(entities, stem, short, len(labels.labels))
    return _assemble(path, table, named, SPACE_ALIASES.get(space, space), {"title": stem}, labels)


def _require_content(path: Path) -> None:
    """Refuse a file that was named and is not there, or whose content was not fetched."""
    problem = missing_content(path)
    if problem is not None:
        raise ResourceMissingError(problem)
    if not path.is_file():
        raise UsageError(f"--atlas {path}: there is no such file.")


def _label_table(image: Path, short: str) -> Path | None:
    """Find the table of a label image: by its entities, else under the shorter name that CBIG's order files have."""
    found = find_companion(image, LABEL_TABLE, Folders(), UsageError)
    if found is not None:
        return found
    tables = [image.with_name(short + end) for end in LABEL_TABLE.extensions]
    return next((each for each in tables if is_listed(each)), None)


def _named(entities: Mapping[str, str], stem: str, fallback: str, n_regions: int) -> dict[str, str]:
    """Tell how an atlas that is a file is called in the names of others."""
    cbig = re.match(r"(Schaefer2018)_(\d+)Parcels_(7|17)Networks_order", stem)
    # TemplateFlow: atlas-Schaefer2018_desc-400Parcels7Networks.
    flow = re.fullmatch(r"(\d+)Parcels(7|17)Networks", entities.get("desc", ""))
    known = {"atlas": cbig[1], "seg": f"{cbig[3]}Networks", "scale": cbig[2]} if cbig else dict(entities)
    if flow:
        known = {"seg": f"{flow[2]}Networks", "scale": flow[1], **known}
    named = {key: sanitised_label(known[key]) for key in ("atlas", "seg", "scale") if known.get(key)}
    named.setdefault("atlas", sanitised_label(fallback))
    named.setdefault("scale", str(n_regions))
    return named


def _from_dense(path: Path, atlas_space: str | None) -> Parcellation:
    _require_content(path)
    entities, _, extension = parse_name(path)
    stem = path.name.removesuffix(extension)
    labels, _, own = read_dense_labels(path.absolute())
    beside = _label_table(path, stem) or path.with_name(f"{stem}.tsv")
    if own is None and not is_listed(beside):
        raise UsageError(
            f"--atlas {path}: it carries no names and no table stands beside it; {beside.name} is expected."
        )
    table = own or read_label_table(beside)
    if len(set(table.names)) < len(table.names):
        raise UsageError(f"{path} gives one name to several labels; each region needs its own.")
    space = atlas_space or entities.get("tpl") or entities.get("space") or DENSE_SPACE
    named = _named(entities, stem, stem, len(table.labels))
    table_file = beside if own is None else path
    return _checked(labels, path.absolute(), table_file.absolute(), named, space, {"title": stem}, table)


def _dense_by_name(name: str, match: re.Match[str], atlas_dir: Path | None) -> Parcellation:
    """Take CBIG's own CIFTI-2 file from `atlas_dir`; other atlases by name have no version on grayordinates."""
    named = match.groupdict()
    if "parcels" in named and atlas_dir is not None:
        file = atlas_dir / f"Schaefer2018_{named['parcels']}Parcels_{named['networks'] or 7}Networks_order.dlabel.nii"
        if _filled(file):
            return _from_dense(file, None)
    raise UsageError(
        f"--atlas {name} is an image of voxels; for runs in {DENSE_SPACE} give the path of a label image on "
        "grayordinates as --atlas FILE.dlabel.nii."
    )


def _assemble(
    image: Path,
    table: Path,
    entities: Mapping[str, str],
    space: str,
    facts: Mapping[str, Any],
    labels: LabelTable | None = None,
) -> Parcellation:
    """Check that image and table speak of the same regions."""
    data, _, _ = read_label_image(image)
    return _checked(data, image, table, entities, space, facts, labels or read_label_table(table))


def _checked(
    data: npt.NDArray[np.int32],
    image: Path,
    table: Path,
    entities: Mapping[str, str],
    space: str,
    facts: Mapping[str, Any],
    labels: LabelTable,
) -> Parcellation:
    unnamed = sorted(set(np.unique(data).tolist()) - {0} - set(labels.labels))
    if unnamed:
        raise UsageError(
            f"{image} has {len(unnamed)} label(s) that {table.name} does not name, the first is {unnamed[0]}; "
            "image and table must belong together."
        )
    return Parcellation(
        entities=dict(entities),
        space=space,
        image_file=image,
        table_file=table,
        labels=labels.labels,
        names=canonical_names(labels.labels, labels.names),
        networks=labels.networks,
        any_space=bool(facts.get("any_space", False)),
        facts={key: str(facts[key]) for key in ("title", "license", "citation", "doi") if key in facts},
    )


def _schaefer_files(
    parcels: str, networks: str, space: str, resolution: int, atlas_dir: Path | None, download: bool
) -> tuple[Path, Path]:
    """Find Schaefer's image and table: in `atlas_dir`, in TemplateFlow's home, or through its client."""
    atlas = f"atlas-Schaefer2018_desc-{parcels}Parcels{networks}_dseg"
    image = f"tpl-{space}_res-{resolution:02d}_{atlas}.nii.gz"
    table = f"tpl-{space}_{atlas}.tsv"
    home = templateflow_home()
    for folder in [atlas_dir, atlas_dir and atlas_dir / f"tpl-{space}", home / f"tpl-{space}"]:
        if folder and _filled(folder / image) and _filled(folder / table):
            return folder / image, folder / table
    if atlas_dir and space == "MNI152NLin6Asym" and resolution == 2:
        # CBIG's own files are in FSL's MNI152, which is this space.
        order = f"Schaefer2018_{parcels}Parcels_{networks}_order"
        if _filled(atlas_dir / f"{order}_FSLMNI152_2mm.nii.gz") and _filled(atlas_dir / f"{order}.txt"):
            return atlas_dir / f"{order}_FSLMNI152_2mm.nii.gz", atlas_dir / f"{order}.txt"
    if download:
        _fetch_from_templateflow(space, f"{parcels}Parcels{networks}", resolution, home / f"tpl-{space}" / image)
    for needed in (image, table):
        if not _filled(home / f"tpl-{space}" / needed):
            raise ResourceMissingError(_templateflow_remedy(home / f"tpl-{space}" / needed, space, download))
    return home / f"tpl-{space}" / image, home / f"tpl-{space}" / table


def templateflow_home() -> Path:
    """Folder of the TemplateFlow cache, as its client finds it."""
    default = Path.home() / ".cache" / "templateflow"
    return Path(os.environ.get("TEMPLATEFLOW_HOME") or default).expanduser().absolute()


def _fetch_from_templateflow(space: str, desc: str, resolution: int, missing: Path) -> None:
    """Ask TemplateFlow's client, which downloads what it has not; offline this is an error with the remedy."""
    try:
        from templateflow.api import get

        get(space, atlas="Schaefer2018", desc=desc, suffix="dseg", resolution=resolution, extension=".nii.gz")
        get(space, atlas="Schaefer2018", desc=desc, suffix="dseg", extension=".tsv")
    except Exception as error:  # the client lets every kind of network and file error through
        raise ResourceMissingError(_templateflow_remedy(missing, space) + f" ({type(error).__name__})") from error


def _templateflow_remedy(missing: Path, space: str, tried: bool = True) -> str:
    state = "is empty" if missing.exists() else "is missing"
    return (
        f"{missing} {state}{' and could not be downloaded' if tried else ''}; where there is internet run "
        f"`bids-neurossm-fetch DIR` and set TEMPLATEFLOW_HOME to it, or give --atlas-dir with the {space} "
        "file in it."
    )


_AAL3_REMEDY = (
    "it is not shipped for want of a licence: where there is internet run `bids-neurossm-fetch DIR`, or "
    "unpack AAL3v1.nii and AAL3v1.xml anywhere and give that folder as --atlas-dir"
)


def _aal3_folders(atlas_dir: Path | None) -> list[Path]:
    """Folders in which nilearn's `fetch_atlas_aal('3v2')`, or a user, may have put AAL3."""
    nilearn = [os.environ.get(name) for name in ("NILEARN_SHARED_DATA", "NILEARN_DATA")]
    homes = [*(Path(folder) for folder in nilearn if folder), Path.home() / "nilearn_data"]
    roots = [*([atlas_dir, atlas_dir / "aal3"] if atlas_dir else []), templateflow_home() / "tpl-MNIColin27"]
    return [*roots, *(home / "aal_3v2" / "AAL3" for home in homes), *(home / "aal_3v2" for home in homes)]


def _search(names: tuple[str, ...], folders: list[Path], wanted: str, remedy: str) -> Path:
    for folder in folders:
        for name in names:
            if _filled(folder / name):
                return folder / name
    places = ", ".join(str(folder) for folder in folders)
    raise ResourceMissingError(f"{wanted}: {names[0]} is in none of {places}; {remedy}.")


def _nimare_folder() -> Path:
    """Folder of the atlases that NiMARE's package carries; finding it does not import NiMARE."""
    spec = find_spec("nimare")
    if spec is None or not spec.submodule_search_locations:
        raise ResourceMissingError("The package nimare is not installed; it carries the Harvard-Oxford atlas.")
    return Path(next(iter(spec.submodule_search_locations))) / "resources" / "atlases"


def _filled(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0
