"""What the user reads while a command works: a bar on a terminal, lines elsewhere, JSON lines on request.

Every event also goes to ``logs/<run id>/run.jsonl``.
"""

from __future__ import annotations

import errno
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from bids_neurossm.files.escaping import escaped, printable

#: Where nothing can be shown in place, what is under way is told this seldom.
_QUIET_SECONDS = 30.0


class _Rich(RichConsole):
    """Leaves a closed pipe to the command; rich would end it with exit code 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "nothing reads the output")


class Console:
    """Progress, messages and tables of one command.

    Parameters
    ----------
    log_format : {"text", "json"}
        How events are printed.
    log_file : Path, optional
        JSON lines of every event.
    """

    def __init__(self, log_format: str = "text", log_file: Path | None = None) -> None:
        self._json = log_format == "json"
        self._rich = _Rich(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())
        self._log_file = log_file
        self._progress: Progress | None = None
        self._task: Any = None
        self._done = 0
        self._total = 0
        self._started = time.monotonic()
        self._last_told = self._started
        self._lines = True

    def event(self, kind: str, text: str, **facts: Any) -> None:
        """Say one thing."""
        record = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": kind, "message": text, **facts}
        line = json.dumps(record, default=str, ensure_ascii=False)
        if self._log_file is not None:
            self._log_file.parent.mkdir(parents=True, exist_ok=True)
            with self._log_file.open("a", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(line + "\n")
        if self._json:
            print(escaped(line), flush=True)
            return
        style = {"error": "red", "warning": "yellow", "done": "green"}.get(kind)
        target = self._progress.console if self._progress else self._rich
        target.print(escape(printable(text)), style=style)

    def verbatim(self, kind: str, text: str) -> None:
        """Print a text as it is, without a line broken or a bracket read as a style: a script to be saved."""
        if self._json:
            self.event(kind, text)
        else:
            self._rich.print(text, soft_wrap=True, markup=False, emoji=False, highlight=False)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Print a table; as JSON it is one event per row."""
        if self._json:
            for row in rows:
                self.event("row", title, **dict(zip(header, row, strict=True)))
            return
        table = Table(title=escape(printable(title)), title_justify="left", header_style="bold")
        for name in header:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*(escape(printable(cell)) for cell in row))
        self._rich.print(table)

    def start(self, total: int, what: str, lines: bool = True) -> Self:
        """Begin to count units of work; use as a context.

        Parameters
        ----------
        total : int
            Units there are.
        what : str
            What they are called.
        lines : bool
            Tell of each unit where there is no terminal; failures are always told.
        """
        self._lines = lines
        self._done, self._total, self._started = 0, total, time.monotonic()
        self._last_told = self._started
        if not self._json and self._rich.is_terminal:
            self._progress = Progress(
                TextColumn(f"{what:<8}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("so far,"),
                TimeRemainingColumn(),
                TextColumn("left"),
                TextColumn("{task.fields[under_way]}"),
                console=self._rich,
            )
            self._task = self._progress.add_task(what, total=total, under_way="")
        return self

    def __enter__(self) -> Self:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress:
            self._progress.stop()
            self._progress = None

    def under_way(self, texts: Sequence[str], share: float) -> None:
        """Show how far the units are that are being worked on.

        On a terminal it stands behind the bar, which moves with it; elsewhere it is a line, at most every half minute.

        Parameters
        ----------
        texts : sequence of str
            One for each unit.
        share : float
            What they come to together, in units.
        """
        if self._progress:
            more = f" and {len(texts) - 1} more" if len(texts) > 1 else ""
            shown = escape(printable(texts[0] + more)) if texts else ""
            self._progress.update(self._task, completed=self._done + share, under_way=shown)
        elif texts and time.monotonic() - self._last_told >= _QUIET_SECONDS:
            self._last_told = time.monotonic()
            self.event("training", "; ".join(texts), units=list(texts))

    def advance(self, unit: str, failed: bool = False) -> None:
        """Count one unit as ended."""
        self._done += 1
        seconds = time.monotonic() - self._started
        self._last_told = time.monotonic()
        if self._progress:
            self._progress.update(self._task, completed=self._done, under_way="")
            if not failed:
                return
        if not (self._lines or failed):
            return
        left = seconds / self._done * (self._total - self._done)
        state = "failed" if failed else "done"
        self.event(
            "failed" if failed else "progress",
            f"[{self._done}/{self._total}] {unit} {state}, {seconds:.0f} s so far, about {left:.0f} s left",
            unit=unit,
            done=self._done,
            total=self._total,
            seconds=round(seconds, 1),
        )
