"""Mean-pooled MLP on raw series: what a network reaches that looks at each volume alone.

A small network for single volumes, averaged over time, and a linear layer: no order of time enters. Popov et al., 2024
("A simple but tough-to-beat baseline for fMRI time-series classification", NeuroImage) found it hard to beat. It is
trained as the recipe says (docs/methods.md, section 2).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bids_neurossm.checkpoint import Facts
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import LabelError, UsageError
from bids_neurossm.training.checkpoint import save_checkpoint
from bids_neurossm.training.cohort import Cohort
from bids_neurossm.training.cohort_runs import CohortRuns
from bids_neurossm.training.device import torch_device
from bids_neurossm.training.estimator import Estimator
from bids_neurossm.training.facts import facts_of
from bids_neurossm.training.steps import class_weights, run_losses
from bids_neurossm.training.windows import Batch, Window, assemble, chosen_window, training_window

#: Runs that are predicted together.
_AT_ONCE = 16


class MeanPooledMLP(nn.Module):
    """Two layers per volume, mean over the volumes of a run, one linear layer.

    Parameters
    ----------
    n_regions, width, n_outputs : int
        R, W, and C (1 for a continuous target).
    dropout : float
        Behind each layer.
    """

    def __init__(self, n_regions: int, width: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for size in (n_regions, width):
            layers += [nn.Linear(size, width), nn.LayerNorm(width), nn.GELU(), nn.Dropout(dropout)]
        self.volume = nn.Sequential(*layers)
        self.head = nn.Linear(width, n_outputs)

    def forward(self, batch: Batch) -> Tensor:
        """Logits (n, C) of the runs whose pieces are in the batch; padding does not enter."""
        hidden = self.volume(batch.series)
        valid = torch.arange(hidden.shape[1], device=hidden.device) < batch.lengths[:, None]
        sums = (hidden * valid[:, :, None]).sum(dim=1)
        runs = int(batch.owners.max()) + 1
        total = hidden.new_zeros(runs, hidden.shape[2]).index_add(0, batch.owners, sums)
        volumes = hidden.new_zeros(runs).index_add(0, batch.owners, batch.lengths.to(hidden.dtype))
        logits: Tensor = self.head(total / volumes[:, None])
        return logits


class MLPBaseline:
    """The mean-pooled MLP as an estimator.

    Parameters
    ----------
    spec : ModelSpec
        ``width`` and ``dropout`` of the recipe.
    training : Training
        How it is fitted.
    execution : Execution
        Device.
    """

    name = "mean-pooled-mlp"

    def __init__(self, spec: ModelSpec, training: Training, execution: Execution) -> None:
        self.width = int(spec.settings.get("width", 48))
        self.dropout = float(spec.settings.get("dropout", 0.5))
        self.training = training
        self.execution = execution
        self.model: MeanPooledMLP | None = None
        self.facts: Facts | None = None
        self.centre, self.spread = 0.0, 1.0
        self.classes: list[str] = []

    def fit(self, cohort: Cohort, indices: NDArray[np.int64], seed: int) -> None:
        """Learn from the runs ``indices``, from random windows of them.

        Raises
        ------
        LabelError
            If they all have the same label.
        """
        labels = cohort.labels(indices)
        if len(np.unique(labels)) < 2:
            raise LabelError(f"The {len(indices)} training runs all have the label {cohort.runs['label'][indices[0]]}.")
        self.classes = list(cohort.classes)
        if not self.classes:
            self.centre, self.spread = float(labels.mean()), float(labels.std())
            labels = (labels - self.centre) / self.spread
        device = torch_device(self.execution.device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            outputs = max(len(self.classes), 1)
            model = MeanPooledMLP(len(cohort.regions), self.width, outputs, self.dropout).to(device)
            self._train(model, CohortRuns(cohort, np.asarray(indices)), torch.from_numpy(labels).to(device), seed)
        self.model = model.eval()
        shape = {"width": self.width, "dropout": self.dropout}
        self.facts = facts_of(
            cohort, indices, shape, seed, self.name, target_mean=self.centre, target_scale=self.spread
        )

    def _train(self, model: MeanPooledMLP, runs: CohortRuns, goal: Tensor, seed: int) -> None:
        settings = self.training
        generator = torch.Generator().manual_seed(seed)
        window = chosen_window(settings.window, [runs.segments(number) for number in range(len(runs))])
        steps = -(-len(runs) // settings.batch_size)
        decayed = [value for value in model.parameters() if value.ndim > 1]
        free = [value for value in model.parameters() if value.ndim == 1]
        groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": free, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=settings.learning_rate, total_steps=settings.epochs * steps
        )
        weights = class_weights(goal, model.head.out_features, settings.class_weights)
        model.train()
        for _ in range(settings.epochs):
            order = torch.randperm(len(runs), generator=generator)
            for part in order.tensor_split(steps):
                drawn = [(runs[i][0], training_window(runs[i][1], window, generator)) for i in part.tolist()]
                chosen = goal[part.to(goal.device)]
                losses = run_losses(model(assemble(drawn).to(goal.device)), chosen, settings.label_smoothing)
                share = torch.ones_like(losses) if weights is None else weights[chosen]
                loss = (share * losses).sum() / share.sum()
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
                optimizer.step()
                schedule.step()

    def predict(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Logits, shape (n, C), or values, shape (n, 1), over the whole of each run."""
        if self.model is None:
            raise UsageError(f"{self.name} predicts only after it was fitted.")
        runs = CohortRuns(cohort, np.asarray(indices))
        device = next(self.model.parameters()).device
        found = []
        with torch.no_grad():
            for start in range(0, len(runs), _AT_ONCE):
                numbers = range(start, min(start + _AT_ONCE, len(runs)))
                whole: list[tuple[NDArray[np.float32], Window]] = [(runs[i][0], list(runs[i][1])) for i in numbers]
                found.append(self.model(assemble(whole).to(device)).cpu().double().numpy())
        values = np.concatenate(found)
        return values if self.classes else values * self.spread + self.centre

    def save(self, path: Path) -> None:
        """Write the checkpoint."""
        if self.model is None or self.facts is None:
            raise UsageError(f"{self.name} is saved only after it was fitted.")
        save_checkpoint(path, self.model.state_dict(), self.facts)


def create(name: str, spec: ModelSpec, training: Training, execution: Execution) -> Estimator:
    """Make the baseline with the settings of a recipe."""
    return MLPBaseline(spec, training, execution)
