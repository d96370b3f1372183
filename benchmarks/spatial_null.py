"""How often unrelated maps pass the spatial null at p < .05, by smoothness: 5 % is what it should be.

Usage: python benchmarks/spatial_null.py ATLAS.nii.gz [--pairs N] [--surrogates N]

Pairs of unrelated maps over the regions of a label image are drawn from Gaussian fields of known covariance, given
the covariates that a score has (size; size and the means of the other classes, as smooth as the maps). Each pair is
tested by the surrogates of `bids_neurossm.reference.nulls`, by Moran spectral randomisation (principal coordinates of
the distances, "pair" procedure; Wagner & Dray, 2015), and by plain permutation of regions.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from bids_neurossm.reference.nulls import (
    SpatialCovariance,
    fitted_covariances,
    freedman_lane_correlations,
    one_sided_p,
)
from bids_neurossm.reference.regions import region_geometry

TRUTHS = [
    SpatialCovariance("Gaussian", 20.0, 0.001),
    SpatialCovariance("Gaussian", 30.0, 0.001),
    SpatialCovariance("Gaussian", 60.0, 0.001),
    SpatialCovariance("Gaussian", 40.0, 0.2),
    SpatialCovariance("Matern 3/2", 40.0, 0.05),
    SpatialCovariance("exponential", 20.0, 0.1),
    SpatialCovariance("exponential", 60.0, 0.001),
]


def moran_correlations(
    values: np.ndarray,
    reference: np.ndarray,
    design: np.ndarray,
    basis: np.ndarray,
    random: np.random.Generator,
    n: int,
) -> np.ndarray:
    """Partial correlations of Moran surrogates of a residual with a reference residual."""

    def pairs(vector: np.ndarray) -> np.ndarray:
        coefficients = basis.T @ vector
        coefficients = np.append(coefficients, np.zeros(len(coefficients) % 2))
        return coefficients[0::2] + 1j * coefficients[1::2]

    power = pairs(values)
    turns = np.exp(2j * np.pi * random.uniform(size=(n, len(power))))
    product, *explained = ((turns @ (power * pairs(each).conj())).real for each in (reference, *design.T))
    left = np.maximum(values @ values - sum(each**2 for each in explained), np.finfo(float).tiny)
    return product / np.sqrt(left) / np.linalg.norm(reference)


def moran_basis(distances: np.ndarray) -> np.ndarray:
    n = len(distances)
    mean_zero = np.linalg.qr(np.hstack([np.ones((n, 1)), np.eye(n)[:, 1:]]))[0][:, 1:]
    return mean_zero @ np.linalg.eigh(mean_zero.T @ distances @ mean_zero)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("atlas", type=Path)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--surrogates", type=int, default=300)
    arguments = parser.parse_args()
    image = nib.load(arguments.atlas)
    labels = np.asarray(image.dataobj)
    sizes, centres = region_geometry(labels, image.affine, np.unique(labels[labels > 0]).astype(int).tolist())
    distances = np.linalg.norm(centres[:, None] - centres, axis=-1)
    n, basis, random = len(centres), moran_basis(distances), np.random.default_rng(0)
    print(f"{n} regions, {arguments.pairs} pairs, {arguments.surrogates} surrogates")
    rows = []
    for truth in TRUTHS:
        values, vectors = truth.spectrum(distances)
        for others in (0, 2):
            started = time.perf_counter()
            drawn = (random.standard_normal((arguments.pairs, 2 + others, n)) * np.sqrt(values)) @ vectors.T
            residuals, designs = [], []
            for maps in drawn:
                design = np.linalg.qr(np.stack([np.ones(n), np.log(sizes), *maps[2:]], axis=1))[0]
                residuals.append(maps[:2] - maps[:2] @ design @ design.T)
                designs.append(design)
            fitted = fitted_covariances(
                [(pair[0], design) for pair, design in zip(residuals, designs, strict=True)], distances
            )
            passed = np.zeros(3)
            for (one, other), design, covariance in zip(residuals, designs, fitted, strict=True):
                observed = float(np.corrcoef(one, other)[0, 1])
                normals = random.standard_normal((arguments.surrogates, n))
                shuffled = random.permuted(np.tile(one, (arguments.surrogates, 1)), axis=1)
                nulls = (
                    freedman_lane_correlations(other, design, covariance, distances, normals),
                    moran_correlations(one, other, design, basis, random, arguments.surrogates),
                    shuffled @ other / np.linalg.norm(one) / np.linalg.norm(other),
                )
                passed += [one_sided_p(observed, null) <= 0.05 for null in nulls]
            field = f"{truth.shape} {truth.scale:g} mm, nugget {truth.nugget:g}"
            rows.append((field, 1 + others, *(passed / arguments.pairs)))
            print(f"{field} with {1 + others} covariates after {time.perf_counter() - started:.0f} s", flush=True)
    columns = ["field", "covariates", "fitted field", "Moran", "permutation"]
    table = pd.DataFrame(rows, columns=columns)
    print("\nshare with p < .05\n" + table.round(3).to_string(index=False))
    print("\nmean " + table[columns[2:]].mean().round(3).to_string().replace("\n", ", "))


if __name__ == "__main__":
    main()
