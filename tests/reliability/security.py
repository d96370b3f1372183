"""Input that tries to get out of the dataset, to fill memory, into a page, or onto the network."""

from __future__ import annotations

import ast
import gzip
import json
import os
import re
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from reliability.cohort import SPACE, write_atlas, write_dataset
from reliability.commands import run
from reliability.kills import Cohort, into, participant_command
from reliability.outcome import Row, row

import bids_neurossm
from bids_neurossm.errors import NeuroSSMError

PART = "security"
PACKAGE = Path(bids_neurossm.__file__).parent

#: Where a module or a call may be used, each for a reason that SECURITY.md gives.
ALLOWED = {
    "pickle": {"roi_arrays/restricted_pickle.py"},
    "subprocess": {"cli/demo.py", "roi_arrays/isolated.py"},
    "urllib.request": {"cli/fetch.py"},
}
_OTHERS = {"requests", "httpx", "socket", "http", "ftplib", "marshal", "shelve", "dill"}
_NEVER = {"eval", "exec", "compile", "__import__"}


def rows(folder: Path, full: bool) -> list[Row]:
    """Source, paths, bombs, pages; with `full` a command without a network."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [source(), row(PART, "names and paths that lead out of the dataset", paths(folder / "paths"))]
    found.append(row(PART, "files that claim, or unpack to, more than memory", bombs(folder / "bombs")))
    if full:
        found.append(
            row(PART, "markup in names of regions and atlases, in the page of a participant", page(folder / "page"))
        )
        found.append(
            row(PART, "a command in a network name space of its own, without network", offline(folder / "net"))
        )
    return found


# ---------------------------------------------------------------------------------------------------------------------
# The source


def source() -> Row:
    """Read every module: no pickle, no eval, no shell, no network, no name in a folder that all can write."""
    files = sorted({path.resolve() for folder in (PACKAGE, PACKAGE / "workflows") for path in folder.rglob("*.py")})
    faults = []
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = str(path).rpartition("bids_neurossm/")[2]
        faults.append([f"{name}:{line}: {what}" for line, what in _suspicious(tree, name)])
    return row(PART, "modules read for pickle, eval, shells, network, fixed names in /tmp", faults)


def _suspicious(tree: ast.AST, name: str) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imported = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            for module in imported:
                for what, places in ALLOWED.items():
                    if (module == what or module.startswith(what + ".")) and name not in places:
                        found.append((node.lineno, f"imports {module}"))
                if module.split(".")[0] in (
                    "requests",
                    "httpx",
                    "socket",
                    "http",
                    "ftplib",
                    "marshal",
                    "shelve",
                    "dill",
                ):
                    found.append((node.lineno, f"imports {module}"))
        if isinstance(node, ast.Call):
            found += [(node.lineno, what) for what in _suspicious_call(node)]
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if text.startswith(("/tmp/", "/dev/shm")):
            found.append((node.lineno, f"names {text}"))
    return found


def _suspicious_call(node: ast.Call) -> list[str]:
    called = ast.unparse(node.func)
    keywords = {each.arg: ast.unparse(each.value) for each in node.keywords}
    found = [f"calls {called}"] if called in _NEVER or called in ("os.system", "os.popen", "yaml.load") else []
    found += [f"{called} through a shell"] if keywords.get("shell", "False") != "False" else []
    found += [f"{called} may unpickle"] if keywords.get("allow_pickle", "False") != "False" else []
    found += [f"{called} may unpickle"] if called == "torch.load" and keywords.get("weights_only") != "True" else []
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Paths


def paths(folder: Path) -> list[list[str]]:
    """Give names that would lead out of a folder, wherever a name becomes part of a path."""
    from bids_neurossm.cli.parser import parse_config
    from bids_neurossm.dataset.outputs import RunOutputs
    from bids_neurossm.phenotype.labels import parse_target
    from bids_neurossm.reports.page import checked_label
    from bids_neurossm.signal.strategy import load_strategy

    folder.mkdir()
    leading_out = ("../evil", "/etc/passwd", "a/b", "x/../../evil")
    evil = (*leading_out, "..", "a\0b", "~root", "a\nb")
    uses: list[tuple[str, Callable[[str], object]]] = [
        ("--target phenotype", lambda name: parse_target(f"phenotype/{name}:x")),
        ("--participant-label", lambda name: _parsed(parse_config, "--participant-label", name)),
        ("--session-id", lambda name: _parsed(parse_config, "--session-id", name)),
        ("--task-id", lambda name: _parsed(parse_config, "--task-id", name)),
        ("--analysis-id", lambda name: _parsed(parse_config, "--analysis-id", name)),
        ("a report's label", lambda name: checked_label(name, r"[0-9A-Za-z_-]+", "label")),
    ]
    faults = []
    for what, use in uses:
        for name in leading_out if what == "--target phenotype" else evil:
            try:
                told = use(name)
            except (NeuroSSMError, SystemExit):
                faults.append([])
            else:
                faults.append([f"{what} takes {name!r}: {told}"])
    for name in evil:
        file = folder / "mine.json"
        file.write_text(json.dumps({"Name": name, "Confounds": []}), encoding="utf-8")
        try:
            label = load_strategy(str(file)).name
        except NeuroSSMError:
            faults.append([])
            continue
        out = RunOutputs(folder / "out", {"sub": "01", "task": "x"}, {"atlas": "X"}, label).timeseries
        faults.append([] if out.resolve().is_relative_to((folder / "out").resolve()) else [f"a strategy writes {out}"])
    return [*faults, *_imported(folder)]


def _parsed(parse: Callable[[list[str]], object], option: str, name: str) -> object:
    return parse(["in", "out", "participant", option, name])


def _imported(folder: Path) -> list[list[str]]:
    """Import arrays whose names are paths: nothing may be written beside the output."""
    from bids_neurossm.cli.import_series import main

    out = folder / "inside" / "out"
    out.parent.mkdir()
    array = np.random.default_rng(0).normal(size=(60, 8))
    np.savez(folder / "arrays.npz", **{"../../evil": array, "/tmp/evil": array, "a/../../../b": array})
    before = {path for path in folder.rglob("*") if not path.is_relative_to(out)}
    code = main([str(folder / "arrays.npz"), str(out), "--atlas", "none", "--tr", "2", "--task", "x"])
    beside = {path for path in folder.rglob("*") if not path.is_relative_to(out)} - before
    return [[f"the import wrote {path}" for path in beside] + [f"exit code {code}"] * (code in (70, None))]


# ---------------------------------------------------------------------------------------------------------------------
# Bombs


def bombs(folder: Path) -> list[list[str]]:
    """Read files that claim terabytes, with little memory: each is refused by a sentence."""
    from bids_neurossm.atlas import load_parcellation
    from bids_neurossm.atlas.parcellation import read_label_image
    from bids_neurossm.atlas.tables import read_label_table
    from bids_neurossm.signal.parcels import parcel_series
    from bids_neurossm.training.checkpoint_tensors import load_checkpoint

    folder.mkdir()
    atlas = write_atlas(folder)
    dataset = write_dataset(folder / "fmriprep", atlas, 1)
    bold = next(dataset.rglob("*_bold.nii.gz"))
    mask = next(dataset.rglob("*_mask.nii.gz"))
    parcellation = load_parcellation(atlas, SPACE)
    huge = _claiming(folder / "huge.nii.gz", (30000, 30000, 30000))
    long = _claiming(folder / "long_bold.nii.gz", (12, 12, 12, 32000))
    (folder / "huge.tsv").write_text("index\tname\n2000000000\tx\n")
    (folder / "final.safetensors").write_bytes(struct.pack("<Q", 1 << 50))
    (folder / "final.toml").write_text("format = 1\n")
    billion = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x><label>&b;</label></x>'
    (folder / "bomb.xml").write_text(billion)
    (folder / "bomb.npy").write_bytes(
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999, 99999)}".ljust(117)
        + b"\n"
    )
    sound = mask.read_bytes()
    cases: list[tuple[str, Callable[[], object]]] = [
        ("a label image", lambda: read_label_image(huge)),
        ("a run", lambda: parcel_series(huge, [parcellation], None)),
        ("a run of many volumes", lambda: parcel_series(long, [parcellation], None)),
        ("a mask", lambda: (mask.write_bytes(huge.read_bytes()), parcel_series(bold, [parcellation], mask))),
        ("a table of regions", lambda: read_label_table(folder / "huge.tsv")),
        ("an XML table", lambda: read_label_table(folder / "bomb.xml")),
        ("a checkpoint", lambda: load_checkpoint(folder / "final.safetensors")),
        ("an array", lambda: _arrays(folder / "bomb.npy")),
    ]
    faults = [_with_little_memory(what, use) for what, use in cases]
    mask.write_bytes(sound)
    return faults


def _arrays(path: Path) -> object:
    from bids_neurossm.roi_arrays.discovery import find_arrays

    found = find_arrays(path)
    if found.failures:
        raise found.failures[0]
    return [each.load() for each in found.runs]


def _claiming(path: Path, shape: tuple[int, ...]) -> Path:
    """Write a header that claims a shape, and no data to go with it."""
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header.set_sform(np.diag([8.0, 8, 8, 1]), 4)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    path.write_bytes(gzip.compress(header.binaryblock + bytes(100_000)))
    return path


def _with_little_memory(what: str, use: Callable[[], object]) -> list[str]:
    """Call something with room for 1 GB more than there is, in a process of its own."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            limit = pages * resource.getpagesize() + 1_000_000_000
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            use()
        except NeuroSSMError as error:
            code = 0 if len(str(error)) < 1500 else 3
        except MemoryError:
            code = 2
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    said = {0: "", 1: "was read, or failed with a traceback", 2: "ran out of memory", 3: "is told at length"}
    return [f"{what} {said.get(code, f'killed its process ({code})')}"] if code else []


# ---------------------------------------------------------------------------------------------------------------------
# Pages and network

_MARKUP = "<script>alert(1)</script>"


def page(folder: Path) -> list[list[str]]:
    """Name regions with markup, and look for it in the page."""
    cohort = Cohort(folder, 1)
    table = next(folder.glob("*_dseg.tsv"))
    table.write_text(table.read_text().replace("cube_1", f"{_MARKUP}'\"&"), encoding="utf-8")
    done = run(into(participant_command(cohort), folder / "out"), folder / "said")
    text = (folder / "out" / "sub-001.html").read_text(encoding="utf-8")
    raw = [match.start() for match in re.finditer(re.escape(_MARKUP), text)]
    told = [f"exit code {done.code}"] * (done.code != 0) + [f"markup at {place}" for place in raw]
    return [told + ["the name is not there at all"] * ("alert(1)" not in text)]


def offline(folder: Path) -> list[list[str]]:
    """Run a command where there is no network at all."""
    if os.geteuid() != 0:
        return []
    cohort = Cohort(folder, 1)
    command = [
        sys.executable,
        "-P",
        "-m",
        "bids_neurossm",
        *map(str, into(participant_command(cohort), folder / "out")),
    ]
    done = subprocess.run(["unshare", "--net", *command], capture_output=True, text=True, check=False, timeout=300)
    return [[f"exit code {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}"] * (done.returncode != 0)]
