"""What a ``.bidsignore`` says about runs.

The file is written for the BIDS validator: most of its patterns (``*_timeseries.tsv``, ``*.html``, ``figures/``) name
what the validator does not know, and say nothing about whether a run is usable. Only patterns that name a participant
or a recording by its label, or a folder that has no place in BIDS, are read as "leave this out".
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from bids_neurossm.dataset.companions import contradicts
from bids_neurossm.errors import UsageError
from bids_neurossm.files.safe_reading import MAX_TOML_BYTES, is_listed, missing_content, read_content

#: ``sub-`` with a label that is spelled out.
_PARTICIPANT = re.compile(r"(?:^|/)sub-[0-9A-Za-z+]+(?=$|[/_.])")
#: ``sub-`` with a label of which some is spelled out.
_SOME_PARTICIPANTS = re.compile(r"(?:^|/)sub-[^/_.]*[0-9A-Za-z+]")
#: Folders that BIDS, or fMRIPrep, has below a participant: naming one says nothing about its runs.
_PLACES = re.compile(
    r"(?:sub|ses)-.*|func|anat|dwi|fmap|perf|eeg|meg|ieeg|beh|pet|micr|motion|nirs|mrs|figures|logs?|xfm", re.IGNORECASE
)

#: What can follow the name of an image.
_IMAGES = ("", "*", "nii", "nii.gz", "nii*")


@dataclass(frozen=True)
class IgnoreRules:
    """Patterns of one ``.bidsignore``, in its order.

    Parameters
    ----------
    patterns : tuple of str
        Those that can concern a run.
    spec : GitIgnoreSpec
        The same, compiled.
    vague : tuple of str
        Patterns such as ``sub-0*`` that name participants without spelling a label, and are not honoured.
    """

    patterns: tuple[str, ...]
    spec: GitIgnoreSpec
    vague: tuple[str, ...] = ()

    @classmethod
    def read(cls, dataset: Path) -> IgnoreRules:
        """Read the file at the root of a dataset; no rules where there is none.

        Raises
        ------
        UsageError
            If its content was not fetched, it is no file, or larger than 1 MiB.
        """
        path = dataset / ".bidsignore"
        if not is_listed(path) or (path.is_file() and path.stat().st_size == 0):
            return cls((), GitIgnoreSpec.from_lines(()))
        problem = missing_content(path)
        if problem is not None:
            raise UsageError(f"{problem} It may say which runs to leave out.")
        lines = read_content(path, UsageError, MAX_TOML_BYTES).decode("utf-8-sig", errors="replace").splitlines()
        kept = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of Python's regular expressions, on odd patterns
            vague = {line for line in kept if _is_vague(line)}
            patterns = tuple(line for line in kept if line not in vague)
            return cls(patterns, GitIgnoreSpec.from_lines(patterns), tuple(line for line in kept if line in vague))

    def reason(self, place: str, entities: Mapping[str, str]) -> str | None:
        """Find the pattern that leaves a run out.

        Parameters
        ----------
        place : str
            Path of its file within the dataset, with forward slashes.
        entities : mapping
            Of its name.

        Returns
        -------
        str or None
            The pattern; the last one that matches decides, as in ``.gitignore``.
        """
        found = None
        for index, pattern in enumerate(self.patterns):
            if pattern.startswith("!"):
                found = None if self._matches(index, place) else found
            elif _PARTICIPANT.search(pattern):
                found = pattern if self._matches(index, place) or _names_recording(pattern, entities) else found
            elif self._matches_odd_folder(index, place):
                found = pattern
        return found

    def folder_pattern(self, folder: str) -> str | None:
        """Find the pattern that names a folder at the root of the dataset."""
        found = self.spec.check_file(f"{folder}/")
        return self.patterns[found.index] if found.include and found.index is not None else None

    def _matches(self, index: int, place: str) -> bool:
        return self.spec.patterns[index].match_file(place) is not None

    def _matches_odd_folder(self, index: int, place: str) -> bool:
        """Tell whether a pattern names a folder above a file that BIDS has no place for, and no place that it has."""
        folders = place.split("/")[:-1]
        for depth, folder in enumerate(folders, start=1):
            if self._matches(index, "/".join(folders[:depth]) + "/"):
                return not _PLACES.fullmatch(folder)
        return False


def _is_vague(pattern: str) -> bool:
    """Tell whether a pattern names participants without spelling a label, or is none that git knows (``!``)."""
    try:
        GitIgnoreSpec.from_lines([pattern])
    except (ValueError, re.error):
        return True
    return bool(_SOME_PARTICIPANTS.search(pattern)) and not _PARTICIPANT.search(pattern)


def vague_sentences(rules: Sequence[IgnoreRules]) -> list[str]:
    """Warn of patterns that name participants without spelling a label."""
    vague = dict.fromkeys(pattern for each in rules for pattern in each.vague)
    return [f".bidsignore: {each} names no single participant and is not followed; use --exclude." for each in vague]


def _names_recording(pattern: str, entities: Mapping[str, str]) -> bool:
    """Tell whether a pattern is the name of an image of this recording, without wildcards before the suffix.

    ezBIDS and others write ``sub-07/func/sub-07_task-rest_run-2_bold.nii.gz``, the name in the raw dataset.
    """
    stem, _, extension = pattern.rstrip("/").rpartition("/")[2].partition(".")
    parts = stem.split("_")
    if parts[-1] == "bold":
        parts.pop()
    if len(parts) < 2 or re.search(r"[*?\[]", stem) or any("-" not in part for part in parts):
        return False
    stated = dict(part.split("-", 1) for part in parts)
    return extension in _IMAGES and not contradicts(stated, entities)
