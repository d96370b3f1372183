"""Partial correlations between class maps and their references, with their null (docs/methods.md, section 4).

Maps of different classes resemble each other, as references do, and large regions differ from small ones; what
counts is whether a map meets its own reference beyond all that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bids_neurossm.errors import UsageError
from bids_neurossm.reference.nulls import (
    diagonal_permutation,
    fitted_covariances,
    freedman_lane_correlations,
    holm,
    one_sided_p,
)
from bids_neurossm.reference.regions import z_over_regions

if TYPE_CHECKING:
    import pandas as pd

FEWEST_REGIONS = 20
"""With fewer regions a partial correlation has next to no degrees of freedom."""

# A residual shorter than this share of its map is rounding error: the covariates explain the map wholly.
_NOTHING_LEFT = 1e-6


@dataclass(frozen=True, eq=False)
class ReferenceScores:
    """How the maps of C classes over R regions meet the literature.

    Parameters
    ----------
    table : DataFrame
        One row per cell: ``row_class`` (map), ``column_class`` (reference), ``rho``, ``p`` (one-sided),
        ``p_holm`` (over the classes, on the diagonal; NaN elsewhere), ``n_regions``, ``n_surrogates``.
        With two classes one row, the contrast ``A - B`` on both sides.
    residual_reference : ndarray, shape (C, R)
        z(e_R): the reference given the covariates of the class's own cell; NaN where there is none.
    top_quarter : ndarray of bool, shape (C, R)
        Top quarter of the regions of `residual_reference`.
    product : ndarray, shape (C, R)
        q = z(e_M) z(e_R), whose mean over regions is rho.
    diagonal_excess, diagonal_p : float or None
        Own against other references and its p by label permutation; from four classes on.
    notes : list of str
        What was left out or could not be computed, in words.
    """

    table: pd.DataFrame
    residual_reference: NDArray[np.float64]
    top_quarter: NDArray[np.bool_]
    product: NDArray[np.float64]
    diagonal_excess: float | None
    diagonal_p: float | None
    notes: list[str]


@dataclass(frozen=True, eq=False)
class _Side:
    """A map or a reference as it enters the cells: of one class, or the contrast of two.

    `others` are the covariates that it brings along, and `signs` tells which classes it speaks of (class -> sign).
    """

    name: str
    values: NDArray[np.float64]
    others: list[NDArray[np.float64]]
    signs: dict[int, float]


@dataclass(frozen=True, eq=False)
class _Cell:
    """Residuals of one map and one reference given the same covariates."""

    row: _Side
    column: _Side
    map_residual: NDArray[np.float64]
    reference_residual: NDArray[np.float64]
    design: NDArray[np.float64]

    @property
    def defined(self) -> bool:
        least = _NOTHING_LEFT * float(len(self.map_residual)) ** 0.5
        lengths = [float(np.linalg.norm(values)) for values in (self.map_residual, self.reference_residual)]
        return bool(min(lengths) > least)

    @property
    def own(self) -> bool:
        """Whether map and reference are those of the same class, or of the same contrast."""
        return self.row.name == self.column.name

    @property
    def rho(self) -> float:
        lengths = np.linalg.norm(self.map_residual) * np.linalg.norm(self.reference_residual)
        return float(self.map_residual @ self.reference_residual / lengths)


def _cell(row: _Side, column: _Side, log_size: NDArray[np.float64]) -> _Cell:
    """Residualise a map and a reference on a constant and covariates; collinear covariates count once."""
    columns = np.stack([np.ones_like(log_size), *row.others, *column.others, log_size], axis=1)
    columns = columns / np.linalg.norm(columns, axis=0).clip(min=np.finfo(float).tiny)
    left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    design = left[:, sizes > 1e-10 * sizes[0]]
    residuals = [side.values - design @ (design.T @ side.values) for side in (row, column)]
    return _Cell(row, column, residuals[0], residuals[1], design)


def score_maps(
    cpa_maps: NDArray[np.float64],
    reference_maps: NDArray[np.float64],
    region_sizes: NDArray[np.float64],
    centroids: NDArray[np.float64],
    class_names: Sequence[str],
    n_surrogates: int = 1000,
    seed: int = 42,
) -> ReferenceScores:
    """Correlate class maps with references, given the other classes and region size.

    Three classes or more: the cell (c, k) conditions map c and reference k on the mean of the other maps, the mean
    of the other references and log region size. Two classes: one test of the signed contrasts. One reference:
    given log region size alone.

    Parameters
    ----------
    cpa_maps : ndarray, shape (C, R)
        Map of each class; a row of NaN is a class without a map.
    reference_maps : ndarray, shape (C, R)
        Reference of each class; a row of NaN is a class without one.
    region_sizes : ndarray, shape (R,)
        Voxels of each region.
    centroids : ndarray, shape (R, 3)
        Centre of each region in mm.
    class_names : sequence of str
        C names.
    n_surrogates : int
        Maps in the spatial null, at least 100.
    seed : int
        Seed of the null.

    Raises
    ------
    UsageError
        If no class has both, or fewer than 20 regions have all values.
    """
    maps = np.asarray(cpa_maps, dtype=np.float64)
    references = np.asarray(reference_maps, dtype=np.float64)
    sizes, centres = np.asarray(region_sizes, dtype=np.float64), np.asarray(centroids, dtype=np.float64)
    _check_shapes(maps, references, sizes, centres, class_names, n_surrogates)
    notes: list[str] = []
    mapped = _usable(maps, class_names, "map", notes)
    referenced = _usable(references, class_names, "reference", notes)
    used = _regions_with_all_values(maps[mapped], references[referenced], sizes, centres, notes)
    maps, references = z_over_regions(maps[:, used]), z_over_regions(references[:, used])
    # A map can vary over all regions and yet not over those that are used.
    mapped = [index for index in mapped if np.isfinite(maps[index]).all()]
    referenced = [index for index in referenced if np.isfinite(references[index]).all()]
    scored = [index for index in mapped if index in referenced]
    if not scored:
        raise UsageError("no class has both a map and a reference: there is nothing to score; use --reference none.")
    log_size = np.log(sizes[used])
    contrast = len(scored) == len(mapped) == 2
    if contrast or len(scored) == 1:
        mapped = referenced = scored
    rows = _sides(maps, mapped, class_names, contrast)
    columns = _sides(references, referenced, class_names, contrast)
    cells = [_cell(row, column, log_size) for row in rows for column in columns]
    if len(cells) == 1:
        notes.append(_why_one_test(contrast, cells[0].row.name))
    distances = np.linalg.norm(centres[used][:, None] - centres[used], axis=-1)
    normals = np.random.default_rng(seed).standard_normal((n_surrogates, len(log_size)))
    table = _table(cells, distances, normals, notes)
    excess, permuted_p = _own_against_others(table, [class_names[index] for index in scored], seed, notes)
    score, top, product = _region_scores(cells, len(class_names), used)
    return ReferenceScores(table, score, top, product, excess, permuted_p, notes)


def _why_one_test(contrast: bool, name: str) -> str:
    why = "Two classes: one test, of the contrast" if contrast else "One class has both map and reference: one test, of"
    return f"{why} {name}, given region size."


def _check_shapes(
    maps: NDArray[np.float64],
    references: NDArray[np.float64],
    sizes: NDArray[np.float64],
    centres: NDArray[np.float64],
    class_names: Sequence[str],
    n_surrogates: int,
) -> None:
    n_classes, n_regions = len(class_names), len(sizes)
    expected = (n_classes, n_regions)
    if maps.shape != expected or references.shape != expected or centres.shape != (n_regions, 3):
        raise UsageError(
            f"maps {maps.shape}, references {references.shape} and centroids {centres.shape} do not fit "
            f"{n_classes} classes and {n_regions} regions."
        )
    if len(set(class_names)) != n_classes or n_surrogates < 100:
        raise UsageError(f"class names must differ, and {n_surrogates} surrogates are too few: at least 100.")


def _usable(values: NDArray[np.float64], class_names: Sequence[str], what: str, notes: list[str]) -> list[int]:
    """Classes whose row has values that are not all the same; the others are noted."""
    usable = []
    for index, name in enumerate(class_names):
        finite = values[index][np.isfinite(values[index])]
        if finite.size and np.ptp(finite) > 0:
            usable.append(index)
        else:
            notes.append(f"{name} has no {what}{' that varies over regions' if finite.size else ''}.")
    return usable


def _regions_with_all_values(
    maps: NDArray[np.float64],
    references: NDArray[np.float64],
    sizes: NDArray[np.float64],
    centres: NDArray[np.float64],
    notes: list[str],
) -> NDArray[np.bool_]:
    """Regions that every map and reference has, so that all cells speak of the same ones."""
    used = np.isfinite(maps).all(axis=0) & np.isfinite(references).all(axis=0)
    used &= (sizes > 0) & np.isfinite(centres).all(axis=1)
    n_used = int(used.sum())
    if n_used < FEWEST_REGIONS:
        raise UsageError(
            f"only {n_used} of {used.size} regions have a value in every map and reference; at least "
            f"{FEWEST_REGIONS} are needed: take a finer atlas, or --reference none."
        )
    if n_used < used.size:
        notes.append(f"{used.size - n_used} of {used.size} regions lack a value in a map or a reference: left out.")
    return used


def _sides(values: NDArray[np.float64], classes: list[int], class_names: Sequence[str], contrast: bool) -> list[_Side]:
    """Bring the maps, or the references, of some classes into the form that a cell takes.

    Two classes make one `contrast`: each is all that the other could be conditioned on, and next to nothing would be
    left. Else each is conditioned on the mean of the others; one alone has no others.
    """
    if contrast:
        first, second = classes
        name = f"{class_names[first]} - {class_names[second]}"
        return [_Side(name, values[first] - values[second], [], {first: 1.0, second: -1.0})]
    others = [[other for other in classes if other != each] for each in classes]
    return [
        _Side(class_names[each], values[each], [values[rest].mean(axis=0)] if rest else [], {each: 1.0})
        for each, rest in zip(classes, others, strict=True)
    ]


def _table(
    cells: list[_Cell], distances: NDArray[np.float64], normals: NDArray[np.float64], notes: list[str]
) -> pd.DataFrame:
    """Correlation and p of each cell; Holm over the classes' own cells."""
    import pandas as pd

    rows = []
    tested = [(cell.map_residual, cell.design) for cell in cells if cell.defined]
    fitted = iter(fitted_covariances(tested, distances))
    for cell in cells:
        rho = p = np.nan
        if cell.defined:
            rho = cell.rho
            null = freedman_lane_correlations(cell.reference_residual, cell.design, next(fitted), distances, normals)
            p = one_sided_p(rho, null)
        else:
            pair = f"{cell.row.name} against {cell.column.name}"
            notes.append(f"{pair}: the other classes explain the map or reference wholly.")
        rows.append((cell.row.name, cell.column.name, rho, p, np.nan, len(cell.map_residual), len(normals)))
    columns = ["row_class", "column_class", "rho", "p", "p_holm", "n_regions", "n_surrogates"]
    table = pd.DataFrame(rows, columns=columns)
    diagonal = (table["row_class"] == table["column_class"]).to_numpy()
    table.loc[diagonal, "p_holm"] = holm(table.loc[diagonal, "p"].to_numpy(dtype=np.float64))
    return table


def _own_against_others(
    table: pd.DataFrame, scored: list[str], seed: int, notes: list[str]
) -> tuple[float | None, float | None]:
    """Label permutation over the classes that have both, from four classes on."""
    if len(scored) < 4:
        return None, None
    matrix = table.pivot(index="row_class", columns="column_class", values="rho").loc[scored, scored].to_numpy()
    if not np.isfinite(matrix).all():
        notes.append("Own against other references is not tested: a cell of the matrix is undefined.")
        return None, None
    return diagonal_permutation(matrix, seed)


def _region_scores(
    cells: list[_Cell], n_classes: int, used: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """z(e_R), its top quarter, and q of each class, over all regions."""
    score = np.full((n_classes, used.size), np.nan)
    product = np.full((n_classes, used.size), np.nan)
    top = np.zeros((n_classes, used.size), dtype=bool)
    regions = np.flatnonzero(used)
    for cell in cells:
        if not (cell.own and cell.defined):
            continue
        for index, sign in cell.row.signs.items():
            score[index, used] = sign * z_over_regions(cell.reference_residual)
            product[index, used] = sign * z_over_regions(cell.map_residual) * score[index, used]
            strongest = np.argsort(-score[index, used], kind="stable")[: max(1, round(regions.size / 4))]
            top[index, regions[strongest]] = True
    return score, top, product
