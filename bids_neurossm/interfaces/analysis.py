"""What one group analysis is, and the results of its cells on disk.

A cell is one model trained in one fold with one seed; fold 0 is the final model, trained on everybody but the
holdout. Every cell keeps its results beside the checkpoints, with the hash of what they were made from: a cell that
is there is not trained again, and cells can be made by different jobs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bids_neurossm import __version__
from bids_neurossm.config import Attribution, Evaluation, Execution, ModelSpec, Reference, Training
from bids_neurossm.dataset.hashing import hash_content
from bids_neurossm.dataset.outputs import GroupOutputs
from bids_neurossm.dataset.write import replacing

FINAL = 0


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

    def cell_file(self, model: str, fold: int, seed: int) -> Path:
        """Where the results of a cell are kept."""
        return self.outputs.models / "cells" / f"{model}_{_fold_name(fold)}_seed-{seed}.npz"

    def checkpoint_file(self, fold: int, seed: int) -> Path:
        """Where a trained model is kept."""
        name = "final" if fold == FINAL else f"{_fold_name(fold)}_seed-{seed}"
        return self.outputs.models / f"{name}.safetensors"

    def cell_hash(self, model: str, fold: int, seed: int, cohort: str, splits: str) -> str:
        """Hash what the results of a cell depend on."""
        mine = model == self.model.name
        return hash_content(
            {
                "version": __version__,
                "model": [model, asdict(self.model) if mine else None, asdict(self.training) if mine else None],
                "cell": [fold, seed, self.execution.random_seed],
                "data": [cohort, splits, list(self.covariates)],
                "arithmetic": [self.execution.device, self.execution.precision],
                "attribution": asdict(self.attribution) if mine else None,
            }
        )


def _fold_name(fold: int) -> str:
    return "final" if fold == FINAL else f"fold-{fold}"


@dataclass(frozen=True)
class Cell:
    """Results of one cell.

    Parameters
    ----------
    model : str
        Registered name.
    fold, seed : int
        Of the grid; fold 0 is the final model.
    digest : str
        Hash of what it was made from.
    indices : ndarray of int64, shape (n,)
        Rows of the cohort that were predicted.
    scores : ndarray of float64, shape (n, C)
        Logits, or values.
    attribution : dict of ndarray
        Empty, or fields of a `PathwayAttribution`; ``pathways`` holds their names.
    """

    model: str
    fold: int
    seed: int
    digest: str
    indices: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    attribution: dict[str, npt.NDArray[Any]]

    def save(self, path: Path) -> None:
        """Write the cell in one step, without pickle."""
        facts = json.dumps({"model": self.model, "fold": self.fold, "seed": self.seed, "digest": self.digest})
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
        OSError, ValueError, KeyError
            If the file is damaged.
        """
        with np.load(path, allow_pickle=False) as stored:
            facts = json.loads(str(stored["facts"]))
            prefix = "attribution_"
            attribution = {name.removeprefix(prefix): stored[name] for name in stored.files if name.startswith(prefix)}
            return cls(**facts, indices=stored["indices"], scores=stored["scores"], attribution=attribution)


def finished_cell(path: Path, digest: str) -> Cell | None:
    """Read a cell if it is there, whole, and made from what `digest` stands for."""
    if not path.is_file():
        return None
    try:
        cell = Cell.load(path)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # cut short or foreign: it is made anew
    return cell if cell.digest == digest else None
