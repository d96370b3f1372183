"""Files of random content: readers say what is wrong or read them; nothing crashes, hangs or fills memory.

Each parser is tried in a child of a fork server: ``python -m reliability.fuzzing --files 10000 --seed 1``.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from nibabel.nifti1 import header_dtype
from reliability import sound_files
from reliability.cohort import SPACE, write_atlas, write_dataset
from reliability.fork_server import ForkServer
from reliability.inputs import NAMES
from reliability.outcome import Row, row

PART = "fuzzing"
CHECKS = list(HealthCheck)

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


_PATTERN = st.lists(
    st.one_of(
        st.sampled_from(
            ["sub-01", "sub-", "*", "**", "/", "!", "#", "\\", "[", "]", "a-z", "?", "_bold.nii.gz", "func"]
        ),
        st.text(max_size=4),
    ),
    max_size=8,
).map("".join)
_IGNORED = st.one_of(
    st.lists(_PATTERN, max_size=6).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")),
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


@st.composite
def _changed(draw: st.DrawFn, *sound: bytes) -> bytes:
    """Change, repeat, remove or add a few stretches of a sound file."""
    raw = bytearray(draw(st.sampled_from(sound)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(raw) - 1, 0)))
        count = draw(st.sampled_from([1, 1, 2, 4, 8, 64, 1024]))
        new = draw(
            st.one_of(
                st.binary(min_size=1, max_size=8),
                st.sampled_from(
                    [b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0" * 8, b"\xff\xff\xff\x7f", b"(", b"[", b"\x85"]
                ),
            )
        )
        match draw(st.sampled_from(["replace", "insert", "repeat", "remove", "cut"])):
            case "replace":
                raw[place : place + len(new)] = new
            case "insert":
                raw[place:place] = new * count
            case "repeat":
                raw[place:place] = raw[place : place + count] * 4
            case "remove":
                del raw[place : place + count]
            case _:
                del raw[len(raw) - min(count, len(raw)) :]
    return bytes(raw)


def rows(folder: Path, full: bool) -> list[Row]:
    """Fuzz every parser of what users and other programs write."""
    return [fuzzed(folder, 300 if full else 12, seed=0)]


def fuzzed(folder: Path, files: int, seed: int, only: Sequence[str] = ()) -> Row:
    """Try each parser on so many random files.

    Parameters
    ----------
    folder : Path
        Where files are written.
    files : int
        For each parser.
    seed : int
        The same files for the same seed.
    only : sequence of str
        Names of parsers; all by default.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found, slowest, largest = [], 0.0, 0
    names = []
    for what, name, content, use in parsers(folder):
        if only and what not in only:
            continue
        with ForkServer(use) as server:
            found.append(_faults(what, folder / "fuzz" / name, content, server, files, seed))
            told = f"{what}: {server.seconds:.1f} s, {server.memory // 1024**2} MB, {len(found[-1])} faults"
            print(told, file=sys.stderr, flush=True)
            slowest, largest = max(slowest, server.seconds), max(largest, server.memory)
        names.append(what)
    tried = row(PART, "", found)
    measured = f"{', '.join(names)}; seed {seed}; at most {slowest:.1f} s and {largest // 1024**2} MB for a file"
    total = files * len(found)
    case = f"random files, {files} for each of {len(found)} parsers"
    return Row(PART, case, total, total - sum(map(len, found)), measured, tried.faults)


Parser = tuple[str, str, st.SearchStrategy[bytes], Callable[[Path], object]]

_XML = b"<atlas><data>" + b"".join(b"<label><index>%d</index><name>r%d</name></label>" % (n, n) for n in range(1, 5))
_XML += b"</data></atlas>"


def parsers(folder: Path) -> list[Parser]:
    """Name each parser, the file it reads, what the file may hold, and how it is read."""
    from bids_neurossm.atlas.parcellation import read_label_image
    from bids_neurossm.atlas.tables import read_label_table
    from bids_neurossm.cli.workflow_engine import read_plugin_file
    from bids_neurossm.cohort.split_table import read_splits
    from bids_neurossm.config import Selection
    from bids_neurossm.dataset.bidsignore import IgnoreRules
    from bids_neurossm.dataset.query import find_bold_runs
    from bids_neurossm.dataset.series import read_series
    from bids_neurossm.errors import RunError
    from bids_neurossm.files.json_files import read_json_object
    from bids_neurossm.phenotype.participants import read_participants
    from bids_neurossm.reference.terms import load_term_table
    from bids_neurossm.roi_arrays.isolated import IsolatedReader
    from bids_neurossm.roi_arrays.reader_choice import runs_in
    from bids_neurossm.signal.confounds_table import numbers, read_table
    from bids_neurossm.signal.strategy import load_strategy
    from bids_neurossm.signal.stream import read_header, volumes
    from bids_neurossm.training.recipes import load_recipe

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

    reader = IsolatedReader()

    def arrays(path: Path) -> object:
        return [run.load().sum() for run in runs_in(path, [], None, reader)]

    def filtered(path: Path) -> object:
        return find_bold_runs(dataset, Selection(bids_filter_file=path, space=SPACE))

    def ignored(path: Path) -> object:
        rules = IgnoreRules.read(path.parent)
        place = "sub-01/func/sub-01_task-rest_run-1_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"
        return rules.reason(place, {"subject": "01", "task": "rest", "run": "1"}), rules.folder_pattern("sub-01")

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
        *_binary(arrays),
        ("sidecars", "sidecar.json", _DOCUMENT, lambda path: read_json_object(path, RunError)),
        ("label XML", "atlas.xml", _changed(_XML), read_label_table),
        (".bidsignore", ".bidsignore", _IGNORED, ignored),
    ]


#: Between the tensors and the settings of a checkpoint, where both are changed as one file.
_SEAM = b"\n# settings\n"


def _binary(arrays: Callable[[Path], object]) -> list[Parser]:
    """Name the parsers whose files are sound ones that were changed."""
    from bids_neurossm.analysis.cells import Cell
    from bids_neurossm.atlas.grayordinates import read_dense_labels
    from bids_neurossm.estimators.load import load_estimator
    from bids_neurossm.training.checkpoint_tensors import load_checkpoint

    tensors, settings = sound_files.checkpoint()

    def forge(path: Path, beside: bytes) -> Path:
        """Write settings whose hash fits the tensors, as somebody would who changed them."""
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        beside = re.sub(rb'(?m)^sha256 = ".*"', f'sha256 = "{digest}"'.encode(), beside)
        path.with_suffix(".toml").write_bytes(beside)
        return path

    def forged(path: Path) -> object:
        return load_checkpoint(forge(path, settings))

    def baseline(path: Path) -> object:
        weights, _, beside = path.read_bytes().partition(_SEAM)
        path.with_suffix(".safetensors").write_bytes(weights)
        return load_estimator(forge(path.with_suffix(".safetensors"), beside))

    def facts(path: Path) -> object:
        path.with_suffix(".safetensors").write_bytes(tensors)
        return load_estimator(path.with_suffix(".safetensors"))

    return [
        ("changed .npz", "series.npz", _changed(*sound_files.npz()), arrays),
        ("changed .npy", "series.npy", _changed(*sound_files.npy()), arrays),
        ("changed pickles", "series.pkl", _changed(*sound_files.pickles()), arrays),
        ("changed files of torch", "series.pt", _changed(*sound_files.torch_files()), arrays),
        ("changed .mat", "series.mat", _changed(*sound_files.matlab()), arrays),
        ("tensors of checkpoints", "model.safetensors", _changed(tensors), forged),
        ("settings of checkpoints", "settings.toml", _changed(settings), facts),
        ("baselines", "model.both", _changed(*map(_SEAM.join, sound_files.baselines())), baseline),
        ("cells", "cell.npz", _changed(*sound_files.cells()), Cell.load),
        ("CIFTI labels", "atlas.dlabel.nii", _changed(sound_files.dense_labels()), read_dense_labels.__wrapped__),
    ]


def _faults(
    what: str, path: Path, content: st.SearchStrategy[bytes], server: ForkServer, files: int, number: int
) -> list[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    faults: dict[str, str] = {}

    @seed(number)
    @settings(max_examples=files, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=CHECKS)
    @given(content)
    def try_it(written: bytes) -> None:
        path.write_bytes(written)
        fault = server.fault(path)
        if fault is not None and fault[:40] not in faults:
            faults[fault[:40]] = f"{what}: {fault} for {written[:100]!r}"
            (path.parent / f"fault-{len(faults)}-{path.name}").write_bytes(written)

    try_it()
    return list(faults.values())


def main() -> int:
    """Fuzz as often as asked for, and print the line of the table."""
    parser = argparse.ArgumentParser(prog="reliability.fuzzing", description=__doc__)
    parser.add_argument("--files", type=int, default=300, help="random files for each parser")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the files go; those with a fault stay there")
    parser.add_argument("--only", nargs="+", default=[], metavar="PARSER", help="names of parsers, as in the table")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="reliability-fuzzing-"))
    total = fuzzed(folder, options.files, options.seed, options.only)
    print(total.case, f"{total.survived} of {total.tried} survived", total.measured, *total.faults, sep="\n")
    return 1 if total.faults else 0


if __name__ == "__main__":
    sys.exit(main())
