"""Filling the page templates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from bids_neurossm.errors import UsageError
from bids_neurossm.reports.tables import Table, number

TEMPLATES = Path(__file__).resolve().parents[1] / "data" / "report"

CITATIONS = {
    "NeuroSSM": "The model follows the public description of NeuroSSM (arXiv:2601.01229); this is an independent "
    "implementation.",
    "fMRIPrep": "Esteban O, et al. (2019). fMRIPrep: a robust preprocessing pipeline for functional MRI. "
    "Nature Methods 16, 111–116.",
    "nilearn": "Nilearn contributors. Nilearn: machine learning for neuroimaging in Python. "
    "https://doi.org/10.5281/zenodo.8397156",
    "Schaefer": "Schaefer A, et al. (2018). Local-global parcellation of the human cerebral cortex from intrinsic "
    "functional connectivity MRI. Cerebral Cortex 28, 3095–3114.",
    "AAL3": "Rolls ET, et al. (2020). Automated anatomical labelling atlas 3. NeuroImage 206, 116189.",
    "HarvardOxford": "Desikan RS, et al. (2006). An automated labeling system for subdividing the human cerebral "
    "cortex on MRI scans into gyral based regions of interest. NeuroImage 31, 968–980.",
    "Neurosynth": "Yarkoni T, et al. (2011). Large-scale automated synthesis of human functional neuroimaging data. "
    "Nature Methods 8, 665–670.",
    "NiMARE": "Salo T, et al. (2023). NiMARE: Neuroimaging Meta-Analysis Research Environment. Aperture Neuro 3, 1–32.",
}


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        # Participant ids, class labels and region names come from files that anyone may have written.
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment


def render(template: str, context: Mapping[str, Any]) -> str:
    """Fill a template of ``data/report``; everything put in but the style sheet is escaped."""
    # The style sheet is ours and stands in <style>, where an escaped quote would stay escaped.
    style = markupsafe.Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    return _environment().get_template(template).render(style=style, **context)


def citations(*names: str) -> list[str]:
    """Return the references that belong to what was used, in the order given."""
    return [CITATIONS[name] for name in names]


def atlas_citation(atlas: str) -> list[str]:
    """Return the reference of an atlas that is known by name, or nothing."""
    return [text for name, text in CITATIONS.items() if name in ("Schaefer", "AAL3", "HarvardOxford") and name in atlas]


def error_table(errors: list[dict[str, Any]] | None) -> Table | None:
    """Lay out what went wrong, whichever of the known keys each record has.

    Parameters
    ----------
    errors : list of dict
        ``run`` (or ``node``), ``kind`` (``failed`` or ``excluded``) or ``step``, ``message`` and ``remedy``; all
        optional.
    """
    if not errors:
        return None
    rows = tuple(
        (
            str(error.get("run") or error.get("node") or error.get("participant_id") or "–"),
            str(error.get("kind") or (f"failed at {error['step']}" if error.get("step") else "failed")),
            str(error.get("message") or "no message was kept; see the crash file in OUT_DIR/logs"),
            str(
                error.get("remedy")
                or error.get("what_to_do")
                or "what the message says, then run the same command again; finished runs are kept"
            ),
        )
        for error in errors
    )
    return Table("Runs that failed or were excluded", ("Run", "What", "Message", "What to do"), rows, (False,) * 4)


def checked_label(label: str, pattern: str, what: str) -> str:
    """Return a label that is safe in a file name.

    Raises
    ------
    UsageError
        If it is not.
    """
    if not re.fullmatch(pattern, label):
        raise UsageError(f"{what} {label!r} can not be part of a file name: {pattern} is expected.")
    return label
