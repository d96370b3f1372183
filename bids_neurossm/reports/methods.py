"""The methods section for a paper, from what was run: as Markdown, LaTeX and BibTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bids_neurossm.files.write import write_text
from bids_neurossm.reports.bibliography import Reference, bibtex, cited_in
from bids_neurossm.reports.html_tables import is_true, read_table

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "–": "--",
    "−": "$-$", "×": r"$\times$", "“": "``", "”": "''",
}  # fmt: skip

_PASSES = (("HighPass", "above"), ("LowPass", "below"))


@dataclass(frozen=True)
class Methods:
    """A methods section.

    Parameters
    ----------
    paragraphs : tuple of (str, str)
        Heading and text.
    sources : tuple of Reference
        What is cited.
    """

    paragraphs: tuple[tuple[str, str], ...]
    sources: tuple[Reference, ...]

    def markdown(self) -> str:
        """Return Markdown with Pandoc's citations."""
        parts = ["# Methods", ""]
        for heading, text in self.paragraphs:
            keys = self._keys(text)
            cited = f" [{'; '.join(f'@{key}' for key in keys)}]" if keys else ""
            parts += [f"## {heading}", "", _escaped_markdown(text) + cited, ""]
        parts += ["## References", "", *(f"{place}. {each.text()}" for place, each in enumerate(self.sources, 1)), ""]
        return "\n".join(parts)

    def latex(self) -> str:
        r"""Return LaTeX that cites ``methods.bib`` with ``\cite``."""
        parts = ["% With \\bibliography{methods}", "\\section{Methods}", ""]
        for heading, text in self.paragraphs:
            keys = self._keys(text)
            cited = f"~\\cite{{{','.join(keys)}}}" if keys else ""
            parts += [f"\\subsection{{{_escaped_latex(heading)}}}", _escaped_latex(text) + cited, ""]
        return "\n".join(parts)

    def bibtex(self) -> str:
        """Return the BibTeX file."""
        return bibtex(self.sources)

    def _keys(self, text: str) -> list[str]:
        known = {each.key for each in self.sources}
        return [each.key for each in cited_in(text) if each.key in known]

    def write(self, folder: Path) -> None:
        """Write ``methods.md``, ``methods.tex`` and ``methods.bib``."""
        write_text(folder / "methods.md", self.markdown())
        write_text(folder / "methods.tex", self.latex())
        write_text(folder / "methods.bib", self.bibtex())


def _escaped_latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _escaped_markdown(text: str) -> str:
    # Names of people's classes and columns may hold characters that Markdown reads as markup.
    return re.sub(r"([\\`*_{}\[\]<>#|@$])", r"\\\1", text)


def make_methods(paragraphs: Sequence[tuple[str, str]]) -> Methods:
    """Make a methods section; what it cites follows from its words."""
    kept = tuple((heading, text.strip()) for heading, text in paragraphs if text.strip())
    return Methods(kept, tuple(cited_in(" ".join(text for _, text in kept))))


def group_methods(
    summary: dict[str, Any], reference: pd.DataFrame | None, terms: pd.DataFrame | None, preprocessed: str
) -> Methods:
    """Make the methods section of an analysis.

    Parameters
    ----------
    summary : dict
        ``summary.json``: ``methods`` is what the analysis says of itself, ``versions`` what it was made with.
    reference, terms : DataFrame or None
        ``reference.tsv`` and ``reference_terms.tsv``.
    preprocessed : str
        How the series came about; may be empty.
    """
    paragraphs = [("Regional time series", preprocessed)]
    paragraphs.append(("Model, evaluation and attribution", str(summary.get("methods") or "")))
    paragraphs.append(("Comparison with the literature", _reference_text(reference, terms)))
    paragraphs.append(("Software", _software_text(summary.get("versions"))))
    return make_methods(paragraphs)


def _reference_text(reference: pd.DataFrame | None, terms: pd.DataFrame | None) -> str:
    """Say how the maps were scored against the literature, if they were."""
    if reference is None or reference.empty:
        return ""
    text = "Class maps were compared with meta-analytic association maps (MKDA chi-square"
    if terms is not None and {"class", "term"} <= set(terms.columns):
        used = terms[is_true(terms["used"])] if "used" in terms.columns else terms
        parts = [f"{name}: {', '.join(map(str, rows['term']))}" for name, rows in used.groupby("class", sort=False)]
        text += f"; terms of {'; '.join(parts)}"
    text += "), averaged within regions. The score is the partial correlation over "
    text += _largest(reference, "n_regions", "the") + " regions given region size"
    text += " and the other classes' maps and references" if len(reference) > 1 else ""
    surrogates = _largest(reference, "n_surrogates", "")
    if surrogates:
        text += (
            f"; p-values are one-sided, from {surrogates} surrogate maps that keep the spatial autocorrelation "
            "(after Freedman and Lane), corrected by Holm's method over classes"
        )
    return text + "."


def _largest(frame: pd.DataFrame, column: str, otherwise: str) -> str:
    values = pd.to_numeric(frame[column], errors="coerce").dropna() if column in frame.columns else pd.Series()
    return f"{int(values.max()):,}" if len(values) else otherwise


def _software_text(versions: object) -> str:
    if not isinstance(versions, dict) or not versions:
        return ""
    names = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return f"Analyses ran with {names}."


def write_citations(out_dir: Path) -> None:
    """Write ``logs/CITATION.md``: what everything in an output dataset owes to others.

    Parameters
    ----------
    out_dir : Path
        Output dataset; its atlases, denoising strategies and analyses are looked at, never its single runs.

    Raises
    ------
    OutputNotWritableError
        If it can not be written.
    """
    words = ["bids-neurossm", "fMRIPrep", "nilearn", "nipype"]
    words += [path.name for path in out_dir.glob("atlas-*_description.json")]
    labels = read_table(out_dir / "descriptions.tsv")
    if labels is not None and "desc_id" in labels.columns:
        words += [f"denoising {str(name).removeprefix('desc-')}" for name in labels["desc_id"]]
    for path in sorted(out_dir.glob("group/*/methods.md")):
        words.append(path.read_text(encoding="utf-8").partition("## References")[0])
    lines = ["# Please cite", "", *(f"- {source.text()}" for source in cited_in(" ".join(words))), ""]
    write_text(out_dir / "logs" / "CITATION.md", "\n".join(lines))


def series_text(facts: dict[str, Any], strategy: str, regions: int) -> str:
    """Say how a series was made, from its sidecar alone.

    Parameters
    ----------
    facts : dict
        Sidecar of the series.
    strategy : str
        Name of the denoising strategy, where the sidecar has none.
    regions : int
        R.
    """
    atlas = facts.get("Atlas") or {}
    name = atlas.get("Name", "the atlas") if isinstance(atlas, dict) else str(atlas)
    columns = [str(column) for column in facts.get("ConfoundColumns") or []]
    versions = facts.get("SoftwareVersions") or {}
    version = versions.get("bids_neurossm") or versions.get("bids-neurossm")
    made = f" with bids-neurossm{f' {version}' if version else ''}"
    kind = "fMRIPrep-preprocessed BOLD series" if _from_fmriprep(facts) else "Preprocessed BOLD series"
    text = f"{kind} were averaged within the {regions} regions of {name}{made}. "
    dropped = facts.get("NumberOfVolumesDropped")
    text += f"The first {dropped} volumes were dropped. " if dropped else ""
    text += f"Series were cleaned with the denoising strategy “{facts.get('DenoisingStrategy') or strategy}”"
    description = str(facts.get("DenoisingDescription") or "").strip().rstrip(".")
    text += f": {description}" if description else ""
    text += f" ({len(columns)} confound columns: {', '.join(columns)})" if columns else ""
    bands = [f"{word} {facts[key]} Hz" for key, word in _PASSES if isinstance(facts.get(key), (int, float))]
    text += f", and filtered to frequencies {' and '.join(bands)}. " if bands else ". "
    threshold, censored = facts.get("FramewiseDisplacementThreshold"), facts.get("NumberOfVolumesCensored")
    if isinstance(threshold, (int, float)):
        text += f"Volumes with a framewise displacement above {threshold} mm were censored"
        text += f" ({censored} in this run)" if censored else ""
        text += ", and the pieces between them kept as separate segments. "
    elif censored:
        text += f"{censored} volumes were censored, and the pieces between them kept as separate segments. "
    return text.strip()


def _from_fmriprep(facts: dict[str, Any]) -> bool:
    return any("fmriprep" in str(source).lower() for source in facts.get("Sources") or [])
