"""Files of random content: whatever reads them says what is wrong, or reads them, in a short time."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel.nifti1 import header_dtype
from reliability.cohort import SPACE, write_atlas, write_dataset
from reliability.inputs import NAMES
from reliability.outcome import Row, row

from bids_neurossm.errors import NeuroSSMError

PART = "fuzzing"
SECONDS = 5.0

_CELL = st.one_of(
    st.text(max_size=8),
    st.floats(width=32).map(str),
    st.integers().map(str),
    st.sampled_from(["n/a", "", "NaN", "inf", "-9999", '"', "sub-01", "#", "participant_id", "1e999", "\0", "０"]),
)
_LINE = st.lists(_CELL, max_size=6)
_TABLE = st.lists(_LINE, max_size=8)


def _text(separators: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    tables = st.tuples(_TABLE, separators).map(lambda each: "\n".join(each[1].join(line) for line in each[0]))
    return st.one_of(tables.map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary(max_size=200))


_WORDS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        ["bold", "task", "subject", "Name", "Confounds", "model", "training", "epochs", "plugin", "classes"]
    ),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=8,
)
_DOCUMENT = st.one_of(_JSON.map(lambda value: json.dumps(value).encode()), st.binary(max_size=120))
_TOML = st.one_of(
    st.dictionaries(
        st.sampled_from(["model", "training", "classes", "skipped", "x", "labels"]),
        st.dictionaries(
            st.sampled_from(["epochs", "width", "nback", "streams", "window"]),
            st.one_of(st.integers(), st.floats(), st.text(max_size=5), st.booleans(), st.lists(st.text(max_size=4))),
        ),
        max_size=3,
    ).map(lambda tables: _toml(tables)),
    st.binary(max_size=120),
)


def _toml(tables: dict[str, dict[str, Any]]) -> bytes:
    import tomli_w

    try:
        return tomli_w.dumps(tables).encode("utf-8", "surrogatepass")
    except (ValueError, TypeError):
        return repr(tables).encode("utf-8", "surrogatepass")


@st.composite
def _images(draw: st.DrawFn, sound: bytes) -> bytes:
    """Change a few fields or bytes of a sound image."""
    raw = bytearray(sound)
    header = np.frombuffer(bytes(raw[:348]), dtype=header_dtype).copy()
    for _ in range(draw(st.integers(0, 3))):
        field = draw(st.sampled_from(["dim", "datatype", "bitpix", "pixdim", "vox_offset", "scl_slope", "sform_code"]))
        value = draw(st.integers(-32768, 32767) if header[field].dtype.kind == "i" else st.floats(width=32))
        if header[field].ndim == 2:
            header[field][0, draw(st.integers(0, 7))] = value
        else:
            header[field] = value
    raw[:348] = header.tobytes()
    for _ in range(draw(st.integers(0, 2))):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    packed = gzip.compress(bytes(raw), compresslevel=1, mtime=0)
    cut = draw(st.integers(0, len(packed))) if draw(st.booleans()) else len(packed)
    return packed[:cut]


def rows(folder: Path, full: bool) -> list[Row]:
    """Fuzz every parser of what users and other programs write."""
    folder.mkdir(parents=True, exist_ok=True)
    examples = 400 if full else 12
    found = []
    for what, name, content, use in parsers(folder):
        found.append(_fuzzed(what, folder / "fuzz" / name, content, use, examples))
    tried = [row(PART, "random files for each of the parsers", [fault]) for fault in found]
    total = Row(PART, f"random files, {examples} for each of {len(found)} parsers", 0, 0)
    total.tried = examples * len(found)
    total.survived = total.tried - sum(each.tried - each.survived for each in tried)
    total.measured = ", ".join(what for what, *_ in parsers(folder))
    total.faults = [fault for each in tried for fault in each.faults]
    return [total]


def parsers(folder: Path) -> list[tuple[str, str, st.SearchStrategy[bytes], Callable[[Path], object]]]:
    """Name each parser, the file it reads, what the file may hold, and how it is read."""
    from bids_neurossm.atlas.parcellation import read_label_image
    from bids_neurossm.atlas.tables import read_label_table
    from bids_neurossm.cli.engine import read_plugin_file
    from bids_neurossm.config import Selection
    from bids_neurossm.dataset.participants import read_participants
    from bids_neurossm.dataset.query import find_bold_runs
    from bids_neurossm.dataset.series import read_series
    from bids_neurossm.dataset.sources import find_arrays
    from bids_neurossm.reference.terms import load_term_table
    from bids_neurossm.signal.confounds_table import numbers, read_table
    from bids_neurossm.signal.strategy import load_strategy
    from bids_neurossm.signal.stream import read_header, volumes
    from bids_neurossm.training.recipes import load_recipe
    from bids_neurossm.training.splits import read_splits

    atlas = write_atlas(folder)
    dataset = folder / "fmriprep"
    if not dataset.is_dir():
        write_dataset(dataset, atlas, 1)
    bold = gzip.decompress(next(dataset.rglob("*_bold.nii.gz")).read_bytes())
    labels = gzip.decompress(atlas.read_bytes())
    tabs, any_separator = _text(st.just("\t")), _text(st.sampled_from(["\t", ",", ";", " "]))

    def image(path: Path) -> object:
        header = read_header(path)
        return [volume.sum() for volume in volumes(path, header)]

    def confounds(path: Path) -> object:
        content = read_table(path, 3)
        return numbers(content, list(content.columns), path)

    def arrays(path: Path) -> object:
        found = find_arrays(path)
        return found.runs

    def filtered(path: Path) -> object:
        return find_bold_runs(dataset, Selection(bids_filter_file=path, space=SPACE))

    head = b"\t".join(name.encode() for name in NAMES) + b"\n"
    splits = tabs.map(lambda text: b"participant_id\tgroup\tset\tfold\n" + text)
    pickles = st.binary(max_size=60).map(lambda tail: b"\x80\x04" + tail + b".")
    matlab = st.binary(max_size=300).map(lambda tail: b"MATLAB 5.0 MAT-file".ljust(124) + tail)
    return [
        ("participants", "participants.tsv", tabs.map(lambda text: b"participant_id\tx\n" + text), read_participants),
        ("any participants", "participants.tsv", any_separator, read_participants),
        ("splits", "splits.tsv", splits, read_splits),
        ("series", "sub-01_timeseries.tsv", tabs.map(lambda t: head + t), lambda path: read_series(path, NAMES)),
        ("confounds", "confounds.tsv", tabs, confounds),
        ("tables of regions", "atlas.tsv", any_separator, read_label_table),
        ("strategies", "mine.json", _DOCUMENT, lambda path: load_strategy(str(path))),
        ("recipes", "mine.toml", _TOML, load_recipe),
        ("terms", "terms.toml", _TOML, load_term_table),
        ("filters", "filter.json", _DOCUMENT, filtered),
        ("plugin files", "plugin.yml", _DOCUMENT, read_plugin_file),
        ("NIfTI runs", "sub-01_bold.nii.gz", _images(bold), image),
        ("NIfTI labels", "atlas.nii.gz", _images(labels), read_label_image),
        (".1D", "series.1D", any_separator, arrays),
        (".csv", "series.csv", any_separator, arrays),
        (".mat", "series.mat", matlab, arrays),
        (".npy", "series.npy", st.binary(max_size=200).map(lambda tail: b"\x93NUMPY\x01\x00" + tail), arrays),
        ("pickles", "series.pkl", pickles, arrays),
    ]


def _fuzzed(
    what: str, path: Path, content: st.SearchStrategy[bytes], use: Callable[[Path], object], examples: int
) -> list[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    faults: dict[str, str] = {}

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(content)
    def try_it(written: bytes) -> None:
        path.write_bytes(written)
        began = time.process_time()
        try:
            use(path)
        except NeuroSSMError:
            pass
        except Exception as error:  # what a user would see as a traceback
            import traceback

            place = traceback.extract_tb(error.__traceback__)[-1]
            key = f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}"
            faults.setdefault(key, f"{what}: {key}: {str(error)[:150]} for {written[:100]!r}")
        if time.process_time() - began > SECONDS:
            faults.setdefault("slow", f"{what}: {time.process_time() - began:.1f} s for {written[:100]!r}")

    try_it()
    return list(faults.values())
