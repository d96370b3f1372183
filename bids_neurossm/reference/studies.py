"""Published studies as the meta-analysis needs them: peaks in MNI space, weights of words and topics, titles.

Two sources are read: a copy of the Neurosynth database on disk, and the n-back and flanker studies that come
with NiMARE and need no download.
"""

from __future__ import annotations

import functools
import hashlib
import io
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bids_neurossm.errors import ResourceMissingError, RunError, UsageError
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.numpy_files import check_archive
from bids_neurossm.files.safe_reading import MAX_TABLE_BYTES, is_listed, read_gzip, read_utf8

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

_TASK_STUDYSET = "nback_vs_flanker_studyset_2026-07"
_TASK_NAME_COLUMN = re.compile(r"Tasks\[\d+\]\.TaskName$")
_HOW_TO_FETCH = (
    "download it with `python -c \"from nimare.extract import fetch_neurosynth; fetch_neurosynth('FOLDER')\"` "
    "on a machine with a network and name the folder"
)


@dataclass(frozen=True, eq=False)
class Studies:
    """Studies, or analyses within studies, with the peaks they report.

    Parameters
    ----------
    ids : tuple of str
        One identifier per study; S of them.
    titles : tuple of str
        Title of each study, empty where unknown.
    peaks : ndarray, shape (P, 3)
        Peaks in mm, MNI152NLin6Asym, studies one after the other.
    peak_study : ndarray, shape (P,)
        Study of each peak as an index into `ids`, never decreasing.
    source : str
        Name and version of the source, for the report.
    spaces : mapping of str to int
        How many studies stated which space before conversion; ``UNKNOWN`` ones are taken as MNI.
    terms : tuple of str
        Vocabulary of the words; may be there without weights.
    term_weights : csr_matrix, shape (S, number of terms), or None
        Weight of each word in each study.
    topics : tuple of str
        Names of the topics.
    topic_weights : ndarray, shape (S, number of topics), or None
        Weight of each topic in each study.

    Raises
    ------
    UsageError
        If the shapes do not belong together.
    """

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    peaks: NDArray[np.float64]
    peak_study: NDArray[np.int64]
    source: str
    spaces: Mapping[str, int] = field(default_factory=dict)
    terms: tuple[str, ...] = ()
    term_weights: csr_matrix | None = None
    topics: tuple[str, ...] = ()
    topic_weights: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        n_studies, n_peaks = len(self.ids), len(self.peak_study)
        if self.peaks.shape != (n_peaks, 3) or not np.isfinite(self.peaks).all():
            raise UsageError(f"{self.source}: peaks of shape {self.peaks.shape} for {n_peaks} peaks, or not finite.")
        if len(self.titles) != n_studies or len(set(self.ids)) != n_studies:
            raise UsageError(f"{self.source}: {n_studies} studies need as many titles and different identifiers.")
        if n_peaks and (
            self.peak_study[0] < 0 or self.peak_study[-1] >= n_studies or (np.diff(self.peak_study) < 0).any()
        ):
            raise UsageError(f"{self.source}: the peaks are not in the order of the studies.")
        for names, weights in ((self.terms, self.term_weights), (self.topics, self.topic_weights)):
            if weights is not None and weights.shape != (n_studies, len(names)):
                raise UsageError(f"{self.source}: weights {weights.shape}, expected {(n_studies, len(names))}.")

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def has_peaks(self) -> NDArray[np.bool_]:
        """Studies that report at least one peak, shape (S,); only these enter a meta-analysis."""
        present = np.zeros(len(self.ids), dtype=bool)
        present[self.peak_study] = True
        return present

    @functools.cached_property
    def content_hash(self) -> str:
        """SHA-256 of identifiers and peaks: what a modelled activation map depends on."""
        digest = hashlib.sha256("\n".join(self.ids).encode())
        digest.update(np.ascontiguousarray(self.peaks, dtype="<f8").tobytes())
        digest.update(np.ascontiguousarray(self.peak_study, dtype="<i8").tobytes())
        return digest.hexdigest()

    def subset(self, wanted: NDArray[np.bool_]) -> Studies:
        """Keep the studies of a boolean mask, shape (S,)."""
        kept = np.flatnonzero(wanted)
        of_kept = wanted[self.peak_study]
        position = np.cumsum(wanted) - 1
        return Studies(
            ids=tuple(self.ids[index] for index in kept),
            titles=tuple(self.titles[index] for index in kept),
            peaks=self.peaks[of_kept],
            peak_study=position[self.peak_study[of_kept]].astype(np.int64),
            source=f"{self.source}, {kept.size} of {len(self)} studies",
            terms=self.terms,
            term_weights=None if self.term_weights is None else self.term_weights[kept],
            topics=self.topics,
            topic_weights=None if self.topic_weights is None else self.topic_weights[kept],
        )


def load_nimare_task_studies() -> Studies:
    """Read the n-back and flanker analyses that come with NiMARE; nothing is downloaded.

    The unit is the analysis (one contrast of a paper). The two "terms" are ``n-back`` and ``flanker`` with weight
    1, told apart by the regular expressions that the studyset itself states, over all of its task names.

    Returns
    -------
    Studies
        500 n-back and 406 flanker analyses with NiMARE 0.22.

    Raises
    ------
    ResourceMissingError
        If the installed NiMARE has no such studyset.
    """
    import pandas as pd

    # NiMARE logs each space that it does not transform; the counts are in `spaces`, and in the report.
    logging.getLogger("nimare").setLevel(logging.ERROR)
    from nimare.nimads import Studyset
    from nimare.utils import get_resource_path
    from scipy.sparse import csr_matrix

    folder = Path(get_resource_path()) / _TASK_STUDYSET
    try:
        summary = read_json_object(folder / "selection_summary.json", ResourceMissingError)
        stated_space = pd.read_parquet(folder / "coordinates.parquet", columns=["id", "space"])
        studyset = Studyset.from_parquet(str(folder))
        matching = summary["matching"]
        patterns = [re.compile(matching[name], re.IGNORECASE) for name in ("nback_regex", "flanker_regex")]
    except (OSError, KeyError, ValueError, ResourceMissingError) as error:
        raise ResourceMissingError(
            f"{folder} is missing or damaged ({error}): the n-back and flanker studies of NiMARE 0.22 are "
            "expected; mend it with `pip install --force-reinstall 'nimare>=0.22,<0.23'`."
        ) from error
    annotations = studyset.annotations_df.set_index("id")
    task_columns = [name for name in annotations.columns if _TASK_NAME_COLUMN.search(name)]
    # A line break keeps a pattern from matching across two task names.
    task_names = annotations[task_columns].apply(lambda row: "\n".join(map(str, row.dropna())), axis=1)
    ids = tuple(str(name) for name in studyset.ids)
    weights = np.array([[bool(pattern.search(task_names[name])) for pattern in patterns] for name in ids])
    if (weights.sum(axis=1) == 2).any() and matching.get("excluded_rows_matching_both"):
        weights[weights.sum(axis=1) == 2] = False
    titles = studyset.metadata.set_index("id")["study_name"].fillna("").astype(str)
    # NiMARE has brought Talairach peaks to MNI when it hands them over.
    peaks, peak_study = _peaks_in_order(studyset.coordinates, ids, str(folder))
    return Studies(
        ids=ids,
        titles=tuple(titles.get(name, "") for name in ids),
        peaks=peaks,
        peak_study=peak_study,
        source=f"NiMARE {summary['source_release']}, n-back and flanker",
        spaces=_count_spaces(stated_space.drop_duplicates("id")["space"]),
        terms=("n-back", "flanker"),
        term_weights=csr_matrix(weights.astype(np.float64)),
    )


def load_neurosynth(folder: Path, version: str = "7") -> Studies:
    """Read a copy of the Neurosynth database in its text format.

    Peaks of studies that state Talairach space are converted with the transform of Lancaster et al. (2007), as
    NiMARE has it; peaks of unknown space are taken as MNI, which is what Neurosynth and NiMARE do.

    Parameters
    ----------
    folder : Path
        Holds ``data-neurosynth_version-7_coordinates.tsv.gz`` and ``..._metadata.tsv.gz``, in it or in its
        folder ``neurosynth``; features of terms and of topics (LDA50) are used where they are.
    version : str
        Version of the database.

    Raises
    ------
    ResourceMissingError
        If a file is missing or damaged, or the files do not belong together; it is named.
    """
    folder = _database_folder(folder, version)
    stem = f"data-neurosynth_version-{version}"
    metadata = _read_table(folder / f"{stem}_metadata.tsv.gz", ("id", "space", "title"), "one row per study")
    coordinates = _read_table(folder / f"{stem}_coordinates.tsv.gz", ("id", "x", "y", "z"), "one row per peak")
    ids = tuple(metadata["id"])
    if len(set(ids)) != len(ids):
        raise _damaged(folder / f"{stem}_metadata.tsv.gz", "a study is listed twice", "one row per study")
    peaks, peak_study = _peaks_in_order(coordinates, ids, str(folder / f"{stem}_coordinates.tsv.gz"))
    talairach = (metadata["space"].str.upper().str.startswith("TAL")).to_numpy()[peak_study]
    if talairach.any():
        from nimare.utils import tal2mni

        peaks[talairach] = tal2mni(peaks[talairach])
    terms, term_weights = _read_features(folder, stem, "terms", len(ids))
    topics, topic_weights = _read_features(folder, stem, "LDA50", len(ids))
    return Studies(
        ids=ids,
        titles=tuple(metadata["title"]),
        peaks=peaks,
        peak_study=peak_study,
        source=f"Neurosynth version {version}",
        spaces=_count_spaces(metadata["space"]),
        terms=terms,
        term_weights=term_weights,
        topics=topics,
        topic_weights=None if topic_weights is None else topic_weights.toarray(),
    )


def _damaged(path: Path, found: str, expected: str) -> ResourceMissingError:
    return ResourceMissingError(f"{path}: {found}; expected is {expected} of the Neurosynth database: {_HOW_TO_FETCH}.")


def database_files(folder: Path, version: str = "7") -> list[Path]:
    """List the files of a copy of the database that :func:`load_neurosynth` could read, sorted by name.

    Raises
    ------
    ResourceMissingError
        If the table of peaks is not there.
    """
    return sorted(_database_folder(folder, version).glob(f"data-neurosynth_version-{version}_*"))


def _database_folder(folder: Path, version: str) -> Path:
    """Find the files in the folder named, or in the one that NiMARE's download makes in it."""
    name = f"data-neurosynth_version-{version}_coordinates.tsv.gz"
    for candidate in (folder, folder / "neurosynth"):
        if (candidate / name).is_file():
            return candidate
    raise _damaged(folder / name, "there is no such file", "the table of peaks")


def _read_table(path: Path, columns: tuple[str, ...], what: str) -> pd.DataFrame:
    """Read a gzipped table with text identifiers, or say what is wrong with it."""
    import pandas as pd

    if not is_listed(path):
        raise _damaged(path, "there is no such file", f"a table with {what}")
    try:
        content = io.BytesIO(read_gzip(path, RunError, MAX_TABLE_BYTES))
        table = pd.read_csv(content, sep="\t", dtype={"id": str}, keep_default_na=False, low_memory=False)
    except (RunError, ValueError) as error:
        raise _damaged(path, f"the file is damaged ({error})", f"a table with {what}") from error
    absent = [name for name in columns if name not in table.columns]
    if absent or table.empty:
        found = f"column {absent[0]!r} is missing" if absent else "the table is empty"
        raise _damaged(path, found, f"a table with {what} and the columns {', '.join(columns)}")
    return table


def _peaks_in_order(
    table: pd.DataFrame, ids: tuple[str, ...], where: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Peaks sorted by study, with the index of their study."""
    position = {name: index for index, name in enumerate(ids)}
    study = table["id"].astype(str).map(position)
    if study.isna().any():
        unknown = str(table["id"][study.isna()].iloc[0])
        raise ResourceMissingError(f"{where}: study {unknown} has peaks but no metadata; the files do not match.")
    try:
        peaks = table[["x", "y", "z"]].to_numpy(dtype=np.float64)
    except ValueError as error:
        raise ResourceMissingError(f"{where}: a coordinate is not a number ({error}); mm are expected.") from error
    finite = np.isfinite(peaks).all(axis=1)
    index = study.to_numpy(dtype=np.int64)[finite]
    order = np.argsort(index, kind="stable")
    return peaks[finite][order], index[order]


def _read_features(
    folder: Path, stem: str, vocabulary: str, n_studies: int
) -> tuple[tuple[str, ...], csr_matrix | None]:
    """Names and weights of one vocabulary; names alone where the weights are not there, nothing where neither is."""
    from scipy.sparse import csr_matrix, load_npz

    names_file = folder / f"{stem}_vocab-{vocabulary}_vocabulary.txt"
    features = sorted(folder.glob(f"{stem}_vocab-{vocabulary}_*_features.npz"))
    if not names_file.is_file():
        if features:
            raise _damaged(names_file, "there is no such file", f"the vocabulary of {features[0].name}")
        return (), None
    names = tuple(
        line for line in read_utf8(names_file, ResourceMissingError, MAX_TABLE_BYTES).splitlines() if line.strip()
    )
    if not features:
        return names, None
    expected = f"a sparse matrix of {n_studies} studies and {len(names)} columns"
    try:
        # Sparse npz files are read without pickle, so a damaged or foreign one is refused, not run.
        check_archive(features[0], "biufS")
        weights: Any = load_npz(features[0])
    except (RunError, OSError, KeyError, ValueError) as error:
        raise _damaged(features[0], f"the file is damaged ({error})", expected) from error
    if weights.shape != (n_studies, len(names)):
        raise _damaged(features[0], f"the matrix has shape {tuple(weights.shape)}", expected)
    return names, csr_matrix(weights)


def _count_spaces(spaces: pd.Series[str]) -> dict[str, int]:
    return {str(name): int(count) for name, count in spaces.value_counts().sort_index().items()}
