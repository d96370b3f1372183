"""A corpus of bad inputs, made by script: each has the exit code it is to end with, and is named in the message."""

from __future__ import annotations

import gzip
import io
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from reliability.cohort import AFFINE, N_REGIONS, SPACE, write_atlas, write_dataset
from reliability.outcome import Row, row

from bids_neurossm.errors import NeuroSSMError

PART = "inputs"
NAMES = [f"cube_{index}" for index in range(1, N_REGIONS + 1)]


@dataclass(frozen=True)
class Bad:
    """A bad input.

    Parameters
    ----------
    what : str
        In words; it is the name of the case too.
    code : int
        Exit code it is to end with.
    content : bytes or None
        Of the file; None leaves it away.
    name : str
        Of the file.
    use : callable
        What a command does with the file. It is to raise one of `bids_neurossm.errors`.
    """

    what: str
    code: int
    content: bytes | None
    name: str
    use: Callable[[Path], object]

    def try_it(self, folder: Path) -> list[str]:
        """Say what is wrong with how it ends; nothing where the message names the file and the code is right."""
        path = folder / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.content is not None:
            path.write_bytes(self.content)
        began = time.process_time()
        try:
            self.use(path)
        except NeuroSSMError as error:
            told = [] if error.exit_code == self.code else [f"exit code {error.exit_code}, {self.code} is expected"]
            told += [f"the file is not named in {error}"] * (path.name.partition(".")[0] not in str(error))
            told += ["too long a message"] * (len(str(error)) > 1500)
        except Exception as error:
            told = [f"a traceback: {type(error).__name__}: {error}"]
        else:
            told = ["nothing is said"]
        told += ["it took more than 10 s"] * (time.process_time() - began > 10)
        return [f"{self.what}: {each}" for each in told]


def rows(folder: Path, full: bool) -> list[Row]:
    """Try files one by one through what the commands read them with, and runs through a whole workflow."""
    cases = list(files(folder / "sound"))
    faults = [case.try_it(folder / f"case-{number}") for number, case in enumerate(cases)]
    found = [
        row(PART, "bad atlases, tables, strategies, recipes, filters, checkpoints, settings, series, arrays", faults)
    ]
    from reliability.spoilt_runs import runs

    spoilt = runs(folder / "runs")
    return [*found, row(PART, "bad images, headers, masks, sidecars, confounds, each a run of one command", spoilt)]


# ---------------------------------------------------------------------------------------------------------------------
# Files


def files(folder: Path) -> Iterator[Bad]:
    """List the bad files; `folder` gets sound ones that go with them."""
    folder.mkdir(parents=True, exist_ok=True)
    yield from atlases(folder)
    yield from strategies()
    yield from recipes()
    yield from settings(folder)
    yield from tables()
    yield from series()
    yield from checkpoints(folder)
    yield from arrays()


#: What is no text of any kind.
GARBAGE: dict[str, bytes | None] = {
    "not there": None,
    "empty": b"",
    "not text": bytes(range(128, 256)) * 20,
    "cut short": b'{"a": [1, 2',
    "too deep": b"[" * 100_000,
}


def image_bytes(data: np.ndarray, affine: np.ndarray = AFFINE) -> bytes:
    """Make a gzipped NIfTI image."""
    return gzip.compress(nib.Nifti1Image(data, affine).to_bytes(), compresslevel=1)


def atlases(folder: Path) -> Iterator[Bad]:
    """Label images, their tables, and combinations of atlases."""
    from bids_neurossm.atlas import load_parcellation

    sound = write_atlas(folder)
    labels = np.asanyarray(nib.load(sound).dataobj)
    table = sound.with_name(sound.name.replace(".nii.gz", ".tsv")).read_bytes()
    name = sound.name
    nothing = np.zeros_like(labels)
    images: dict[str, bytes | None] = {
        "an atlas that is not there": None,
        "an empty atlas": b"",
        "an atlas that is no gzip file": b"not an image" * 100,
        "an atlas that is compressed text": gzip.compress(b"not an image" * 100),
        "an atlas cut in the middle": sound.read_bytes()[:-40],
        "an atlas without a region": image_bytes(nothing),
        "an atlas of fractions": image_bytes(labels.astype(np.float32) + np.float32(0.5) * (labels > 0)),
        "an atlas with negative labels": image_bytes(-labels),
        "an atlas with a time axis": image_bytes(np.stack([labels, labels[::-1]], axis=-1)),
        "an atlas with labels that its table lacks": image_bytes(labels * 7),
    }

    def use(path: Path, with_table: bytes | None = table) -> object:
        if with_table is not None:
            path.with_name(path.name.replace(".nii.gz", ".tsv")).write_bytes(with_table)
        return load_parcellation(path, SPACE)

    for what, content in images.items():
        yield Bad(what, 2 if content is None or "lacks" in what else 4, content, name, use)
    bad_tables: dict[str, bytes | None] = {
        "no table beside the atlas": None,
        "an empty table of regions": b"",
        "a table of regions that is not text": bytes(range(128, 256)) * 20,
        "a table of regions without names": b"index\n1\n2\n",
        "a table with a region twice": table + b"1\tcube_1\n",
        "a table with labels that are no numbers": table.replace(b"1\tcube_1", b"one\tcube_1"),
        "a table without rows": b"index\tname\n",
    }
    for what, rows_of_it in bad_tables.items():
        code = 4 if what == "an empty table of regions" else 2
        yield Bad(what, code, sound.read_bytes(), name, lambda path, rows_of_it=rows_of_it: use(path, rows_of_it))
    yield Bad("an atlas of another space", 2, sound.read_bytes(), "tpl-OASIS_atlas-X_dseg.nii.gz", use)
    for what, content in GARBAGE.items():
        yield Bad(f"a combination that is {what}", 2, content, "combined.toml", lambda path: load_parcellation(path))
    yield Bad("a combination of nothing", 2, b"name = 'x'\nparts = []\n", "combined.toml", load_parcellation)


def strategies() -> Iterator[Bad]:
    """Denoising strategies."""
    from bids_neurossm.signal.strategy import load_strategy

    bad: dict[str, bytes | None] = {f"a strategy that is {what}": content for what, content in GARBAGE.items()}
    bad |= {
        "a strategy that is a list of numbers": b"[1, 2]",
        "a strategy that is a number": b"3",
        "a strategy with an unknown key": b'{"name": "x", "magic": true}',
        "a strategy with a number for a name": b'{"name": 3}',
        "a strategy with text for a list": b'{"name": "x", "strategy": "motion"}',
        "a strategy of unknown parts": b'{"name": "x", "strategy": ["magic"]}',
        "a strategy with a name that is a path": b'{"name": "../x"}',
    }
    for what, content in bad.items():
        yield Bad(what, 2, content, "mine.json", lambda path: load_strategy(str(path)))


def recipes() -> Iterator[Bad]:
    """Model recipes and class-to-term tables."""
    from bids_neurossm.reference.terms import load_term_table
    from bids_neurossm.training.recipes import load_recipe

    bad: dict[str, bytes | None] = {f"a recipe that is {w}": c for w, c in GARBAGE.items() if w != "empty"}
    bad |= {
        "a recipe with an unknown table": b"[magic]\nx = 1\n",
        "a recipe with an unknown setting": b"[training]\nmagic = 1\n",
        "a recipe with text for a number": b'[training]\nepochs = "ten"\n',
        "a recipe with a truth value for a number": b"[training]\nepochs = true\n",
        "a recipe with no epochs": b"[training]\nepochs = 0\n",
        "a recipe with a rate of nan": b"[training]\nlearning_rate = nan\n",
        "a recipe with a key twice": b"[training]\nepochs = 1\nepochs = 2\n",
        "a recipe whose table is a number": b"training = 3\n",
        "a recipe in another code page": "[training]\n# größe\n".encode("utf-16"),
    }
    for what, content in bad.items():
        yield Bad(what, 2, content, "mine.toml", load_recipe)
    terms: dict[str, bytes | None] = {f"a table of terms that is {w}": c for w, c in GARBAGE.items() if w != "empty"}
    terms |= {
        "a table of terms with a number for a term": b"[classes]\nnback = [3]\n",
        "a table of terms with a class that is a number": b"[classes]\nnback = 3\n",
        "a table of terms with an unknown table": b"[magic]\nx = 1\n",
    }
    for what, content in terms.items():
        yield Bad(what, 2, content, "terms.toml", load_term_table)


def settings(folder: Path) -> Iterator[Bad]:
    """Filters, plugin files, settings files, descriptions of datasets."""
    from bids_neurossm.cli.parser import parse_config
    from bids_neurossm.cli.workflow_engine import read_plugin_file
    from bids_neurossm.config import Selection
    from bids_neurossm.dataset.description import read_description, write_description
    from bids_neurossm.dataset.query import find_bold_runs

    dataset = write_dataset(folder / "fmriprep", write_atlas(folder), 1)

    def filtered(path: Path) -> object:
        return find_bold_runs(dataset, Selection(bids_filter_file=path, space=SPACE))

    filters: dict[str, bytes | None] = {f"a filter that is {what}": content for what, content in GARBAGE.items()}
    filters |= {"a filter that is a list": b"[]", "a filter whose bold is text": b'{"bold": "x"}'}
    filters |= {"a filter of an unknown entity": b'{"bold": {"magic": "x"}}'}
    for what, content in filters.items():
        yield Bad(what, 2, content, "filter.json", filtered)
    plugins: dict[str, bytes | None] = {f"a plugin file that is {what}": content for what, content in GARBAGE.items()}
    plugins |= {
        "a plugin that Nipype has not": b"plugin: Magic\n",
        "a plugin file with a list": b"- plugin\n",
        "a plugin with text for arguments": b"plugin: Linear\nplugin_args: x\n",
        "a plugin file that makes objects": b"plugin: !!python/object/apply:os.system ['true']\n",
    }
    for what, content in plugins.items():
        yield Bad(what, 2, content, "plugin.yml", read_plugin_file)
    given: dict[str, bytes | None] = {f"a settings file that is {w}": c for w, c in GARBAGE.items() if w != "empty"}
    given |= {
        "settings with an unknown table": b"[magic]\nx = 1\n",
        "settings with an unknown name": b"[extraction]\nmagic = 1\n",
        "settings with text for a number": b'[execution]\nnprocs = "two"\n',
    }
    for what, content in given.items():
        yield Bad(
            what, 2, content, "extraction.toml" if "name" in what else "execution.toml" if "text" in what else "s.toml",
            lambda path: parse_config(["in", "out", "participant", "--config-file", str(path)]),
        )  # fmt: skip
    described = {"a description that is cut short": b'{"a": [1', "a description that is a list": b"[]"}
    described["a description that is too deep"] = b"[" * 100_000
    for what, content in described.items():
        yield Bad(what, 2, content, "dataset_description.json", lambda path: read_description(path.parent))
    foreign = {"an output of another program": b'{"GeneratedBy": [{"Name": "fMRIPrep"}]}'}
    own = b'"GeneratedBy": [{"Name": "bids-neurossm", "Version": "9.0.0"}]'
    foreign["an output with records of another format"] = b'{"RecordFormat": 99, ' + own + b"}"
    foreign["an output whose generators are text"] = b'{"GeneratedBy": "bids-neurossm"}'
    for what, content in foreign.items():
        yield Bad(what, 2, content, "out/dataset_description.json", lambda path: _named(write_description, path.parent))


def _named(write: Callable[..., None], out: Path) -> None:
    """Call what names the folder where others name the file."""
    try:
        write(out, {})
    except NeuroSSMError as error:
        raise type(error)(str(error).replace(str(out), str(out / "dataset_description.json"))) from error


def tables() -> Iterator[Bad]:
    """Tables of participants, and splits."""
    from bids_neurossm.cohort.split_table import read_splits
    from bids_neurossm.phenotype.participants import read_participants

    bad: dict[str, bytes | None] = {f"a table of participants that is {w}": c for w, c in GARBAGE.items()}
    bad |= {
        "participants without participant_id": b"id\tage\nsub-01\t3\n",
        "participants with commas": b"participant_id,age\nsub-01,3\n",
        "a participant twice": b"participant_id\tage\nsub-01\t3\nsub-01\t4\n",
        "a row with too many cells": b"participant_id\tage\nsub-01\t3\t4\t5\nsub-02\t3\n",
        "participants with zero bytes": b"\0\0\0\0",
    }
    for what, content in bad.items():
        yield Bad(what, 7, content, "participants.tsv", read_participants)
    head = b"participant_id\tgroup\tset\tfold\n"
    splits: dict[str, bytes | None] = {f"splits that are {w}": c for w, c in GARBAGE.items()}
    splits |= {
        "splits without columns": b"participant_id\nsub-01\n",
        "splits with a fold that is text": head + b"01\t01\tdevelopment\tone\n02\t02\tdevelopment\t2\n",
        "splits with one fold": head + b"01\t01\tdevelopment\t1\n02\t02\tdevelopment\t1\n",
        "splits with a fold left out": head + b"01\t01\tdevelopment\t1\n02\t02\tdevelopment\t3\n",
        "splits with an unknown set": head + b"01\t01\tmagic\t1\n02\t02\tdevelopment\t2\n",
    }
    for what, content in splits.items():
        yield Bad(what, 7, content, "splits.tsv", read_splits)


def series() -> Iterator[Bad]:
    """Tables of series for the group level."""
    from bids_neurossm.dataset.series import read_series

    head = "\t".join(NAMES).encode() + b"\n"
    line = b"\t".join([b"1.5"] * N_REGIONS) + b"\n"
    bad: dict[str, bytes | None] = {f"series that are {what}": content for what, content in GARBAGE.items()}
    bad |= {
        "series with a word": head + line + line.replace(b"1.5", b"word", 1),
        "series with too few columns": b"cube_1\tcube_2\n1\t2\n",
        "series with other columns": head.replace(b"cube_3", b"other") + line,
        "series with longer rows": head + line.replace(b"\n", b"\t3\n") * 3,
        "series with infinite numbers": head + line.replace(b"1.5", b"inf"),
    }
    for what, content in bad.items():
        yield Bad(what, 1, content, "sub-01_timeseries.tsv", lambda path: read_series(path, NAMES))


def checkpoints(folder: Path) -> Iterator[Bad]:
    """Checkpoints, of which each is two files."""
    from bids_neurossm.training.checkpoint_tensors import load_checkpoint

    tensors = struct.pack("<Q", 2) + b"{}"
    from hashlib import sha256

    digest = sha256(tensors).hexdigest()
    facts = b'format = 1\nsha256 = "' + digest.encode() + b'"\n'

    def use(path: Path, beside: bytes | None = facts) -> object:
        if beside is not None:
            path.with_suffix(".toml").write_bytes(beside)
        return load_checkpoint(path)

    bad: dict[str, bytes | None] = {f"a checkpoint that is {what}": content for what, content in GARBAGE.items()}
    bad["a checkpoint that is a pickle"] = (
        b"\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system"
    )
    bad["a checkpoint whose header is larger than it"] = struct.pack("<Q", 1 << 60) + b"{}"
    for what, content in bad.items():
        yield Bad(what, 8, content, "final.safetensors", use)
    besides: dict[str, bytes | None] = {f"facts of a checkpoint that are {what}": c for what, c in GARBAGE.items()}
    besides |= {
        "facts of another format": b"format = 99\n",
        "facts with another hash": facts.replace(digest[:8].encode(), b"00000000"),
        "facts with an unknown name": facts + b"magic = 1\n",
    }
    for what, content in besides.items():
        yield Bad(what, 8, tensors, "final.safetensors", lambda path, content=content: use(path, content))


def arrays() -> Iterator[Bad]:
    """Arrays for the import."""
    from bids_neurossm.roi_arrays.discovery import find_arrays
    from bids_neurossm.roi_arrays.plan import Layout, PlannedRun

    def use(path: Path) -> object:
        found = find_arrays(path)
        if found.failures:
            raise found.failures[0]
        return [
            PlannedRun(
                run.key, run.source, "", "time-roi", run.load, {}, path, Layout(None, {}, ["r"] * run.shape[1])
            ).read()
            for run in found.runs
        ]

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (9, 9)}")
    endings = {".npy": 1, ".npz": 1, ".mat": 1, ".csv": 1, ".1D": 1, ".pkl": 2, ".save": 2}
    for ending, code in endings.items():
        for what, content in GARBAGE.items():
            expected = 3 if content is None else code if content else 1
            yield Bad(f"a {ending} that is {what}", expected, content, f"array{ending}", use)
    yield Bad("a .npz whose array is cut short", 1, stream.getvalue(), "array.npz", use)
    yield Bad("a pickle that runs a command", 2, b"cposix\nsystem\n(S'true'\ntR.", "array.pkl", use)
    yield Bad("a .csv of words", 1, b"a,b\nc,d\ne,f\n", "array.csv", use)
    yield Bad("a .1D with ragged rows", 1, b"1 2 3\n1 2\n1 2 3\n", "array.1D", use)
