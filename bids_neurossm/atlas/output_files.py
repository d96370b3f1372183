"""The files of an atlas in the output dataset: description, label image and table, once per atlas and space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.dataset.description import BIDS_VERSION
from bids_neurossm.dataset.names import build_name
from bids_neurossm.errors import UsageError
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.write import write_bytes, write_json, write_nifti, write_rows

#: Grayordinates of the Human Connectome Project by the vertices of a hemisphere.
_DENSITIES = {
    32492: ("91k", "91,282 grayordinates, 2 mm"),
    59292: ("170k", "170,494 grayordinates, 1.6 mm"),
}


def write_atlas(out_dir: Path, parcellations: Sequence[Parcellation]) -> None:
    """Write atlas descriptions, label images and tables, once per atlas and space."""
    for parcellation in parcellations:
        atlas = parcellation.entities["atlas"]
        folder = out_dir / f"tpl-{parcellation.space}"
        entities = {"tpl": parcellation.space, **parcellation.entities}
        table = folder / build_name(entities, "dseg", ".tsv")
        if _is_written(out_dir, parcellation):
            continue
        facts = parcellation.facts
        write_json(
            out_dir / f"atlas-{atlas}_description.json",
            {
                "Name": facts.get("title", atlas),
                "License": facts.get("license", "not stated"),
                "BIDSVersion": BIDS_VERSION,
                "ReferencesAndLinks": [each for each in (facts.get("citation"), facts.get("doi")) if each],
            },
        )
        image, size = (_dense_labels if parcellation.dense else _label_image)(folder, entities, parcellation)
        sources = [layer.image_file for layer in parcellation.layers] or [parcellation.image_file]
        write_json(
            image.with_name(image.name.partition(".")[0] + ".json"),
            {
                "Description": f"{facts.get('title', atlas)}, {parcellation.n_regions} regions.",
                **size,
                "SpatialReference": f"TemplateFlow {parcellation.space}",
                "Sources": [each.name for each in sources],
                "SourceSHA256": parcellation.sha256,
                "LabelsSHA256": parcellation.drawing.sha256,
            },
        )
        rows = zip(parcellation.labels, parcellation.names, parcellation.networks, strict=True)
        write_rows(table, ("index", "name", "network"), rows)
        # Written last: its presence says that this atlas is complete.
        write_json(
            table.with_suffix(".json"),
            {
                "index": {"Description": "Value of the region in the label image."},
                "name": {"Description": "Name of the region, as in the columns of the series."},
                "network": {"Description": "Network or lobe that the region belongs to, n/a where there is none."},
            },
        )


def _is_written(out_dir: Path, parcellation: Parcellation) -> bool:
    """Tell whether an atlas is there; another drawing under its name is replaced."""
    if not all(path.is_file() for path in atlas_files(out_dir, parcellation)):
        return False
    folder, entities = out_dir / f"tpl-{parcellation.space}", {"tpl": parcellation.space, **parcellation.entities}
    stem = build_name(entities, "", "").removesuffix("_")
    known = [read_json_object(path, UsageError) for path in folder.glob(f"{stem}_*dseg.json")]
    stated = [each for each in known if "LabelsSHA256" in each]  # 0.1.0 did not state it
    return not stated or any(
        each.get("SourceSHA256") == parcellation.sha256 or each["LabelsSHA256"] == parcellation.drawing.sha256
        for each in stated
    )


def atlas_files(out_dir: Path, parcellation: Parcellation) -> list[Path]:
    """Name the files of an atlas whose names do not depend on its image."""
    entities = {"tpl": parcellation.space, **parcellation.entities}
    table = out_dir / f"tpl-{parcellation.space}" / build_name(entities, "dseg", ".tsv")
    return [out_dir / f"atlas-{parcellation.entities['atlas']}_description.json", table, table.with_suffix(".json")]


def _label_image(
    folder: Path, entities: dict[str, str], parcellation: Parcellation
) -> tuple[Path, dict[str, dict[str, str]]]:
    """Write the label image of a parcellation of voxels; say where, and how fine it is."""
    labels, affine, header = parcellation.image()
    spacing = "x".join(f"{size:g}" for size in np.linalg.norm(affine[:3, :3], axis=0))
    resolution = {2.0: "02", 1.0: "01"}.get(float(np.linalg.norm(affine[:3, 0])), "native")
    image = folder / build_name({**entities, "res": resolution}, "dseg", ".nii.gz")
    write_nifti(image, labels.astype(np.int16), affine, header)
    return image, {"Resolution": {resolution: f"{spacing} mm"}}


def _dense_labels(
    folder: Path, entities: dict[str, str], parcellation: Parcellation
) -> tuple[Path, dict[str, dict[str, str]]]:
    """Keep a copy of a label image on grayordinates."""
    import nibabel as nib

    vertices = set(nib.load(parcellation.image_file).header.get_axis(1).nvertices.values())
    density, text = _DENSITIES.get(max(vertices, default=0), ("native", "as in the label image"))
    extension = "." + parcellation.image_file.name.rsplit(".", 2)[-2] + ".nii"
    image = folder / build_name({**entities, "den": density}, "dseg", extension)
    write_bytes(image, parcellation.image_file.read_bytes())
    return image, {"Density": {density: text}}
