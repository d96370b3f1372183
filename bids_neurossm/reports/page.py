"""Filling the page templates."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from bids_neurossm import __version__
from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.files.escaping import escaped
from bids_neurossm.reports.html_tables import Table, number

TEMPLATES = Path(__file__).resolve().parents[1] / "data" / "report"


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        # Participant ids, class labels and region names come from files that anyone may have written.
        autoescape=True,
        # They may hold marks that change the direction of text.
        finalize=lambda value: escaped(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment


def render(template: str, context: Mapping[str, Any], scripts: Sequence[str] = ("report.js",)) -> str:
    """Fill a template of ``data/report``; everything put in but style sheet and scripts is escaped.

    Parameters
    ----------
    template : str
        Name of the template.
    context : mapping
        What it speaks of.
    scripts : sequence of str
        Files of ``data/report``, in order. The page's policy names their hash, so that no other script can run.
    """
    # They are ours and stand in <style> and <script>, where an escaped quote would stay escaped.
    style = markupsafe.Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    script = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return (
        _environment()
        .get_template(template)
        .render(
            style=style,
            script=markupsafe.Markup(script),
            script_hash=f"sha256-{digest}",
            version=__version__,
            **context,
        )
    )


def markdown_card(path: Path) -> markupsafe.Markup | None:
    """Turn a model card into HTML: headings two levels down, no HTML, no link, no picture of its own.

    Raises
    ------
    RunError
        If the file can not be read.
    """
    if not path.is_file():
        return None
    from markdown_it import MarkdownIt

    try:
        text = escaped(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is not readable text ({error}); delete it and run again.") from error
    parser = MarkdownIt("js-default", {"html": False, "linkify": False})
    parser.disable(["image", "link", "autolink", "reference", "html_inline", "html_block"])
    tokens = parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
    # markdown-it escapes text; what it makes itself is safe.
    return markupsafe.Markup(parser.renderer.render(tokens, parser.options, {}))


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
