"""How series are taken from the images and cleaned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bids_neurossm.config.checking import require

#: Measures of connectivity that can be written beside Pearson's correlation.
CONNECTIVITY = ("partial-correlation", "covariance")
DEFAULT_SPACES = ("MNI152NLin2009cAsym", "MNI152NLin6Asym")


@dataclass(frozen=True)
class Extraction:
    """How series are taken from the images and cleaned.

    Parameters
    ----------
    atlas : tuple of str
        Names (``Schaefer400``, ``AAL3``, ``HarvardOxford``) or label images with a TSV beside them. Empty means
        Schaefer400 at participant level, and whatever the series have at group level.
    atlas_dir : Path or None
        Folder where atlas files are looked for before TemplateFlow.
    atlas_space : str or None
        Space of a label image given as a file; by default read from its ``space-`` or ``tpl-`` entity.
    denoise : str or None
        Name of a shipped strategy (``simple``, ``scrubbing``, ``compcor+gsr`` ...) or a JSON file. None means
        ``simple`` at participant level, and whatever the series have at group level.
    dummy_scans : int or None
        Volumes dropped at the start; None counts the ``non_steady_state_outlier`` columns.
    fd_threshold : float or None
        Framewise displacement in mm above which a volume is censored.
    high_pass, low_pass : float or None
        Cut-off frequencies in Hz of a Butterworth filter; None leaves the filter out.
    min_coverage : float
        Smallest share of a region's voxels that must carry signal, in [0, 1].
    min_volumes : int
        A run that keeps fewer volumes is excluded.
    max_uncovered : float
        A run in which more than this share of the regions has no usable signal is excluded.
    min_dof : int
        A run to which denoising leaves fewer degrees of freedom is excluded.
    connectivity : tuple of str
        Measures that are written beside Pearson's correlation: ``partial-correlation``, ``covariance``.
    allow_missing_orientation : bool
        Take images whose header has neither an sform nor a qform; their orientation is a guess.
    """

    atlas: tuple[str, ...] = ()
    atlas_dir: Path | None = None
    atlas_space: str | None = None
    denoise: str | None = None
    dummy_scans: int | None = None
    fd_threshold: float | None = None
    high_pass: float | None = None
    low_pass: float | None = None
    min_coverage: float = 0.5
    min_volumes: int = 50
    max_uncovered: float = 0.2
    min_dof: int = 15
    connectivity: tuple[str, ...] = ()
    allow_missing_orientation: bool = False

    def __post_init__(self) -> None:
        require(len(set(self.atlas)) == len(self.atlas), f"--atlas names one atlas twice: {' '.join(self.atlas)}.")
        require(self.dummy_scans is None or self.dummy_scans >= 0, "--dummy-scans must be auto or 0 or more.")
        require(
            self.fd_threshold is None or self.fd_threshold > 0,
            "--fd-threshold must be a positive number of mm.",
        )
        require(0 <= self.min_coverage <= 1, "--min-coverage must lie between 0 and 1.")
        require(0 <= self.max_uncovered <= 1, "--max-uncovered must lie between 0 and 1.")
        require(self.min_volumes >= 1, "--min-volumes must be at least 1.")
        require(self.min_dof >= 1, "--min-dof must be at least 1.")
        for measure in self.connectivity:
            require(
                measure in CONNECTIVITY, f"--connectivity {measure} is not known; known are {', '.join(CONNECTIVITY)}."
            )
        for name in ("high_pass", "low_pass"):
            value = getattr(self, name)
            require(value is None or value > 0, f"--{name.replace('_', '-')} must be a positive frequency in Hz.")
        if self.high_pass is not None and self.low_pass is not None:
            require(self.high_pass < self.low_pass, "--high-pass must lie below --low-pass.")
