"""What one group analysis is, and the results of its cells on disk.

A cell is one model trained in one fold of one re-split with one seed; fold 0 is the final model, trained on everybody
but the holdout. A variant is the same on altered data: shuffled, with permuted labels, or fewer participants. Every
cell keeps its results beside the checkpoints, with the hash of what they were made from: a cell that is there is not
trained again, and cells can be made by different jobs.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bids_neurossm.config import Attribution, Evaluation, Execution, ModelSpec, Reference, Training
from bids_neurossm.dataset.outputs import GroupOutputs
from bids_neurossm.errors import RunError
from bids_neurossm.files.hashing import hash_content, hash_file
from bids_neurossm.files.json_files import parse_json
from bids_neurossm.files.numpy_files import read_archive
from bids_neurossm.files.record_format import format_stamp
from bids_neurossm.files.write import replacing
from bids_neurossm.registry import model_entry

#: Fields of a `PathwayAttribution` that are kept with a cell.
ATTRIBUTION_FIELDS = ("target", "logit", "reference", "importance", "importance_zero", "score", "share", "gap")


FINAL = 0


@dataclass(frozen=True)
class CellKey:
    """Which cell of the grid.

    Parameters
    ----------
    model : str
        Registered name.
    fold, seed : int
        Fold 0 is the final model.
    split : int
        Re-split, 1 for the first.
    variant : str
        Empty, or what was altered: see `bids_neurossm.cohort.surrogates`.
    """

    model: str
    fold: int
    seed: int
    split: int = 1
    variant: str = ""

    @property
    def place(self) -> str:
        """Name of the cell without its model: ``fold-1_seed-1``, ``split-2_fold-1_seed-1_time-shuffle``."""
        where = "final" if self.fold == FINAL else f"fold-{self.fold}"
        parts = [f"split-{self.split}" if self.split > 1 else "", where, f"seed-{self.seed}", self.variant]
        return "_".join(part for part in parts if part)


@dataclass(frozen=True)
class Analysis:
    """Everything that the nodes of a group workflow need to know.

    Parameters
    ----------
    outputs : GroupOutputs
        Names of the files.
    level : {"participant", "run"}
        Whether participants or runs are scored.
    model : ModelSpec
        With the settings of its recipe.
    baselines : tuple of str
        Models that ride along on the same splits.
    training, evaluation, execution, attribution, reference
        Settings.
    covariates : tuple of str
        Columns of the covariate baseline.
    recipe_path : str
        The recipe as it was given, with its folder; only the hashes of cells by 0.1.0 have it.
    """

    outputs: GroupOutputs
    level: Literal["participant", "run"]
    model: ModelSpec
    baselines: tuple[str, ...]
    training: Training
    evaluation: Evaluation
    execution: Execution
    attribution: Attribution
    reference: Reference
    covariates: tuple[str, ...] = ()
    recipe_path: str = ""

    def cell_file(self, key: CellKey) -> Path:
        """Where the results of a cell are kept."""
        return self.outputs.models / "cells" / f"{key.model}_{key.place}.npz"

    def checkpoint_file(self, fold: int, seed: int) -> Path:
        """Where a trained model is kept."""
        name = "final" if fold == FINAL else f"fold-{fold}_seed-{seed}"
        return self.outputs.models / f"{name}.safetensors"

    def checkpoint_hashes(self, key: CellKey) -> dict[str, str]:
        """Hash the files of a cell's model, by name; empty where the model is not saved or its files are missing."""
        model = self.checkpoint_file(key.fold, key.seed)
        files = (model, model.with_suffix(".toml")) if self.keeps_model(key) else ()
        return {path.name: hash_file(path) for path in files if path.is_file()}

    def state_file(self, key: CellKey) -> Path:
        """Where the training of a cell keeps its state while it is under way."""
        return self.outputs.models / f".{key.model}_{key.place}.state"

    def remove_states(self, key: CellKey) -> None:
        """Remove the state of a cell's training, and those of the trainings that it began with, named after it."""
        path = self.state_file(key)
        for each in (path, *path.parent.glob(f"{glob.escape(path.name)}.*")):
            each.unlink(missing_ok=True)

    def keeps_model(self, key: CellKey) -> bool:
        """Whether the model of a cell is saved and explained: the analysis's own, on the first split as it is."""
        return key.model == self.model.name and key.split == 1 and not key.variant

    def spec_of(self, model: str) -> ModelSpec:
        """Return the settings of a model of this analysis: those of the recipe where it follows one."""
        if model_entry(model).by_recipe:
            return ModelSpec(model, self.model.recipe, self.model.settings)
        settings: dict[str, Any] = {"covariates": list(self.covariates)}
        if self.evaluation.harmonise is not None:
            settings["harmonise"] = self.evaluation.harmonise
        return ModelSpec(model, "", settings)

    def cell_hash(self, key: CellKey, cohort: str, splits: str) -> str:
        """Hash what the results of a cell depend on: its place, the model, the cohort, and the digest of its split."""
        model = asdict(self.spec_of(key.model))
        # The hash of an encoder is among the settings; where it is does not count.
        model["settings"] = {name: value for name, value in model["settings"].items() if name != "encoder"}
        return self._hash_of_cell(key, model, cohort, splits)

    def cell_hash_of_0_1_0(self, key: CellKey, cohort: str, splits: str) -> str:
        """Hash a cell as 0.1.0 did: the places of recipe and encoder count."""
        model = asdict(self.spec_of(key.model))
        if model["recipe"]:
            model["recipe"] = self.recipe_path or model["recipe"]
        return self._hash_of_cell(key, model, cohort, splits)

    def _hash_of_cell(self, key: CellKey, model: dict[str, Any], cohort: str, splits: str) -> str:
        entry = model_entry(key.model)
        revision = entry.revision(model["settings"])
        if revision != 1:
            model = {**model, "revision": revision}
        if entry.versions:
            # What another version of somebody else's package does is not known: its models are trained again.
            model = {**model, "package": entry.versions}
        return hash_content(
            {
                "version": format_stamp(),
                "model": model,
                "training": asdict(self.training) if entry.by_recipe else self.training.class_weights,
                "cell": [*asdict(key).values(), self.execution.random_seed],
                "data": [cohort, splits, self.level],
                "arithmetic": [self.execution.device, self.execution.precision, self.execution.devices],
                "attribution": asdict(self.attribution) if self.keeps_model(key) else None,
            }
        )


@dataclass(frozen=True)
class Cell:
    """Results of one cell.

    Parameters
    ----------
    key : CellKey
        Its place in the grid.
    digest : str
        Hash of what it was made from.
    indices : ndarray of int64, shape (n,)
        Rows of the cohort that were predicted.
    scores : ndarray of float64, shape (n, C)
        Logits, or values.
    attribution : dict of ndarray
        Empty, or fields of a `PathwayAttribution`; ``pathways`` holds their names.
    n_training : int
        Split groups (participants, most often) that were trained on.
    files : dict of str to str
        SHA-256 of the files of its model, by name; empty where it is not saved.
    """

    key: CellKey
    digest: str
    indices: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    attribution: dict[str, npt.NDArray[Any]]
    n_training: int = 0
    files: dict[str, str] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """Registered name."""
        return self.key.model

    @property
    def fold(self) -> int:
        """Fold; 0 is the final model."""
        return self.key.fold

    @property
    def seed(self) -> int:
        """Seed number."""
        return self.key.seed

    def save(self, path: Path) -> None:
        """Write the cell in one step, without pickle."""
        facts = json.dumps(
            {"key": asdict(self.key), "digest": self.digest, "n_training": self.n_training, "files": self.files}
        )
        arrays = {f"attribution_{name}": value for name, value in self.attribution.items()}
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(
                stream,
                allow_pickle=False,
                facts=np.array(facts),
                indices=self.indices,
                scores=self.scores,
                **arrays,
            )

    @classmethod
    def load(cls, path: Path) -> Cell:
        """Read a cell that `save` wrote.

        Raises
        ------
        RunError
            If the file is damaged or foreign.
        """
        stored = read_archive(path)
        prefix = "attribution_"
        attribution = {name.removeprefix(prefix): stored[name] for name in stored if name.startswith(prefix)}
        try:
            facts = parse_json(str(stored["facts"]))
            key = CellKey(**facts.pop("key"))
            return cls(key, indices=stored["indices"], scores=stored["scores"], attribution=attribution, **facts)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{path} does not hold the results of a cell ({error}); delete it and run again.") from error


def matching_cell(analysis: Analysis, key: CellKey, digests: Collection[str]) -> Cell | None:
    """Read a cell if it is there, whole, and made from what one of `digests` stands for."""
    path = analysis.cell_file(key)
    if not path.is_file():
        return None
    try:
        cell = Cell.load(path)
    except RunError:
        return None  # cut short or foreign: it is made again
    return cell if cell.digest in digests else None


def has_its_model(analysis: Analysis, cell: Cell) -> bool:
    """Whether the files of a cell's model are the ones that it names; true where no model is saved."""
    if not analysis.keeps_model(cell.key) or not cell.n_training:
        return True
    return bool(cell.files) and cell.files == analysis.checkpoint_hashes(cell.key)
