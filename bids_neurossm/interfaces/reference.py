"""The literature's map of every class, as one value per region."""

from __future__ import annotations

import io
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from nipype.interfaces.base import TraitedSpec, traits

from bids_neurossm.analysis.cells import Analysis
from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.errors import ResourceMissingError, RunError
from bids_neurossm.files.hashing import hash_content, hash_file
from bids_neurossm.files.numpy_files import read_archive
from bids_neurossm.files.record_format import format_stamp
from bids_neurossm.files.write import replacing, write_tsv
from bids_neurossm.interfaces.base import RecordingInputSpec, RecordingInterface
from bids_neurossm.reference.regions import reference_region_maps
from bids_neurossm.reference.studies import (
    Studies,
    database_files,
    load_neurosynth,
    load_nimare_task_studies,
)
from bids_neurossm.reference.terms import load_term_table, match_classes, select_studies, term_table_file

#: The studies that NiMARE ships, which need no download.
SHIPPED_STUDIES = "nback-flanker"
#: What is kept of a computed reference, to be read in another run.
_STORED = ("maps", "n_studies", "source", "table", "terms", "notes")


class ComputeReferenceInputSpec(RecordingInputSpec):
    """Which studies, which classes, which atlas."""

    analysis = traits.Instance(Analysis, mandatory=True)
    classes = traits.List(traits.Str, mandatory=True)
    source = traits.Str(mandatory=True, desc="nback-flanker, or a folder with Neurosynth's files")
    terms = traits.Str(mandatory=True, desc="class-to-term table")
    parcellation = traits.Instance(Parcellation, mandatory=True, desc="the atlas in MNI152NLin6Asym")
    cache = traits.Str(desc="folder where voxel maps are kept", nohash=True)


class ComputeReferenceOutputSpec(TraitedSpec):  # type: ignore[misc]
    """Region values."""

    reference = traits.Str(desc="npz with maps (C, R), NaN for a class without one")
    notes = traits.List(traits.Str)


class ComputeReference(RecordingInterface):
    """Make association maps of the classes' terms and average them in the regions."""

    input_spec = ComputeReferenceInputSpec
    output_spec = ComputeReferenceOutputSpec

    def _work(self, cwd: Path) -> None:
        analysis: Analysis = self.inputs.analysis
        stored = self._stored()
        with (cwd / "reference.npz").open("wb") as stream:
            np.savez(stream, allow_pickle=False, **stored)
        terms = pd.read_json(io.StringIO(str(stored["terms"])), orient="split", dtype=False)
        write_tsv(analysis.outputs.table("reference_terms"), terms)
        self._results["reference"] = str(cwd / "reference.npz")
        self._results["notes"] = list(json.loads(str(stored["notes"])))

    def _stored(self) -> dict[str, npt.NDArray[Any]]:
        """Read what was computed from the same files before, else compute it; jobs may share the cache."""
        if not self.inputs.cache:
            return self._computed()
        parcellation: Parcellation = self.inputs.parcellation
        made_from = {
            "version": format_stamp(),
            "studies": studies_identity(self.inputs.source),
            "terms": hash_file(term_table_file(self.inputs.terms)),
            "classes": list(self.inputs.classes),
            "atlas": [parcellation.sha256, parcellation.labels],
        }
        path = Path(self.inputs.cache) / f"reference-{hash_content(made_from)[:32]}.npz"
        stored = _read_stored(path)
        if stored is not None:
            return stored
        computed = self._computed()
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **computed)
        return computed

    def _computed(self) -> dict[str, npt.NDArray[Any]]:
        """Average the association maps of the classes in the regions."""
        parcellation: Parcellation = self.inputs.parcellation
        matched = match_classes(load_term_table(self.inputs.terms), self.inputs.classes, "skip")
        image, affine, _ = parcellation.image()
        studies = load_studies(self.inputs.source)
        found = reference_region_maps(
            studies,
            matched.classes,
            image,
            affine,
            parcellation.labels,
            cache_dir=Path(self.inputs.cache) if self.inputs.cache else None,
        )
        nothing = np.full(parcellation.n_regions, np.nan)
        maps = [
            found.regions[name].to_numpy(dtype=np.float64) if name in found.regions else nothing
            for name in self.inputs.classes
        ]
        skipped = [f"No reference for the class {name}: {reason}." for name, reason in matched.skipped.items()]
        return {
            "maps": np.array(maps),
            "n_studies": np.array([_studies_of(studies, found.terms, name) for name in self.inputs.classes]),
            "source": np.array(studies.source),
            "table": np.array(Path(self.inputs.terms).name),
            "terms": np.array(found.terms.to_json(orient="split", index=False)),
            "notes": np.array(json.dumps([*found.notes, *skipped])),
        }


def _read_stored(path: Path) -> dict[str, npt.NDArray[Any]] | None:
    """Read a reference that was computed before; None, so that it is made anew, if it is not there or was cut short."""
    try:
        stored = read_archive(path)
    except RunError:
        return None
    return stored if set(_STORED) <= stored.keys() else None


def _studies_of(studies: Studies, terms: pd.DataFrame, name: str) -> int:
    """Count the studies behind a class; one that carries two of its terms counts once."""
    rows = terms[(terms["class"] == name) & terms["used"]]
    if rows.empty:
        return 0
    evidence = str(rows["evidence"].iloc[0])
    chosen = select_studies(studies, list(rows["term"]), evidence) & studies.has_peaks  # type: ignore[arg-type]
    return int(chosen.any(axis=0).sum())


def load_studies(source: str) -> Studies:
    """Load the studies of a reference.

    Raises
    ------
    ResourceMissingError
        If they are not there or are damaged.
    """
    if source == SHIPPED_STUDIES:
        return load_nimare_task_studies()
    folder = Path(source)
    if not folder.is_dir():
        raise ResourceMissingError(f"--reference {source}: there is no such folder with Neurosynth's files.")
    return load_neurosynth(folder)


def studies_identity(source: str) -> list[str]:
    """Tell studies apart without reading them: by the bytes of their files, or by the release that ships them."""
    if source == SHIPPED_STUDIES:
        return [source, version("nimare")]
    return [hash_file(path) for path in database_files(Path(source))]
