"""What a masked autoencoder does not see: blocks in time with homologous regions, or tokens at random.

A smooth haemodynamic response gives a hidden volume away to its neighbours in time, and a homologous region to its
twin; the local mask hides both (docs/methods.md, section 5; after the abstract of arXiv 2508.16597).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bids_neurossm.errors import UsageError

Hidden = NDArray[np.bool_]


@dataclass(frozen=True)
class Masking:
    """How tokens are hidden.

    Parameters
    ----------
    kind : {"local", "random"}
        Blocks in time with homologous regions; or as many tokens at random, which is the control.
    share : float
        Share of the regions that a block hides.
    blocks : tuple of int
        Lengths of blocks in patches, one of which is drawn for each: 16 and 24 s with patches of 8 s.
    homologues : int
        Regions that are hidden with each: those whose series correlate most with its own in the training runs.
    """

    kind: Literal["local", "random"] = "local"
    share: float = 0.5
    blocks: tuple[int, ...] = (2, 3)
    homologues: int = 3

    def __post_init__(self) -> None:
        if self.kind not in ("local", "random"):
            raise UsageError(f"pretraining.kind {self.kind!r} must be 'local' or 'random'.")
        if not 0 < self.share < 1:
            raise UsageError(
                f"pretraining.share {self.share} must lie between 0 and 1: with all regions of a patch hidden, nothing "
                "is left to tell them from."
            )
        if not self.blocks or min(self.blocks) < 1:
            raise UsageError(f"pretraining.blocks {list(self.blocks)} must be lengths of 1 patch or more.")
        if self.homologues < 0:
            raise UsageError("pretraining.homologues must be 0 or more.")

    def draw(self, n_patches: int, twins: NDArray[np.int64], generator: np.random.Generator) -> Hidden:
        """Draw what is hidden of a piece.

        Parameters
        ----------
        n_patches : int
            N.
        twins : array (R, 1 + homologues)
            Each region with its homologues, see `homologues`.
        generator : numpy.random.Generator
            Source of the draw.

        Returns
        -------
        array (R, N), bool
            Blocks follow each other with one patch between them in which everything is shown; where N is less than
            the shortest block, all of it is one block.

        Raises
        ------
        UsageError
            If a region and its homologues are all the regions there are.
        """
        hidden = np.zeros((n_patches, len(twins)), dtype=bool)
        start = int(generator.integers(0, max(min(self.blocks), 1)))
        start = min(start, max(n_patches - min(self.blocks), 0))
        while start < n_patches:
            length = int(generator.choice(self.blocks))
            hidden[start : start + length] = hidden_regions(twins, self.share, generator)
            start += length + 1
        if self.kind == "local":
            return hidden.T
        # As many tokens of the piece, wherever they are; a patch that has lost all of its regions gets one back.
        loose = generator.permutation(hidden.ravel()).reshape(hidden.shape)
        full = loose.all(axis=1)
        loose[full, generator.integers(0, len(twins), int(full.sum()))] = False
        return np.asarray(loose.T)


def hidden_regions(twins: NDArray[np.int64], share: float, generator: np.random.Generator) -> Hidden:
    """Draw regions, each with its homologues, until a share of all is hidden, (R,)."""
    n_regions = len(twins)
    wanted = max(1, round(share * n_regions))
    hidden = np.zeros(n_regions, dtype=bool)
    for region in generator.permutation(n_regions):
        hidden[twins[region]] = True
        if hidden.sum() >= wanted:
            break
    if hidden.all():
        raise UsageError(
            f"All {n_regions} regions of a patch would be hidden, each with {twins.shape[1] - 1} homologues: lower "
            "pretraining.share or pretraining.homologues."
        )
    return hidden


def homologues(correlation: NDArray[np.floating], number: int) -> NDArray[np.int64]:
    """Return each region with the regions that its series correlates with most, (R, 1 + number).

    `correlation` (R, R) is the mean over training runs. A region without signal has itself only.
    """
    values = np.nan_to_num(np.array(correlation, dtype=np.float64))
    n_regions = len(values)
    alone = ~values.any(axis=1)
    np.fill_diagonal(values, np.inf)
    order = np.argsort(-values, axis=1, kind="stable")[:, : 1 + min(number, n_regions - 1)]
    order[alone] = np.flatnonzero(alone)[:, None]
    return order.astype(np.int64)


def mean_correlation(series: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Average Pearson's correlations (R, R) over standardised series (T_i, R); the diagonal is 0."""
    total = np.zeros((series[0].shape[1],) * 2)
    for values in series:
        total += values.T.astype(np.float64) @ values / len(values)
    np.fill_diagonal(total, 0.0)
    return total / len(series)
