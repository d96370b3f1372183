"""Runs that are spoilt in every way that was seen or thought of, each beside a sound one in one workflow."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from reliability.cohort import SPACE, multiply, write_atlas, write_dataset
from reliability.inputs import image_bytes


def _rewrite(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def spoil(bold: Path) -> None:
        data = np.asanyarray(nib.load(bold).dataobj)
        bold.write_bytes(image_bytes(change(data.astype(np.float32))))

    return spoil


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def spoil(bold: Path) -> None:
        bold.write_bytes(change(bold.read_bytes()))

    return spoil


def _header(field: str, value: Any, index: int | None = None) -> Callable[[Path], None]:
    """Overwrite a field of the header as it lies in the file, whatever nibabel thinks of it."""

    def spoil(bold: Path) -> None:
        raw = bytearray(gzip.decompress(bold.read_bytes()))
        header = np.frombuffer(bytes(raw[:348]), dtype=nib.nifti1.header_dtype).copy()
        if index is None:
            header[field] = value
        else:
            header[field][0, index] = value
        raw[:348] = header.tobytes()
        bold.write_bytes(gzip.compress(bytes(raw), compresslevel=1))

    return spoil


def _beside(ending: str, change: Callable[[str], str] | None) -> Callable[[Path], None]:
    """Change, or take away, a text file beside the image."""

    def spoil(bold: Path) -> None:
        stem = bold.name.split("_space-")[0] if "confounds" in ending else bold.name.split("_desc-")[0]
        path = bold.with_name(stem + ending)
        if change is None:
            path.unlink()
        else:
            path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    return spoil


def _mask(content: Callable[[], bytes]) -> Callable[[Path], None]:
    def spoil(bold: Path) -> None:
        bold.with_name(bold.name.split("_desc-")[0] + "_desc-brain_mask.nii.gz").write_bytes(content())

    return spoil


def _sidecar(value: Any) -> Callable[[Path], None]:
    return _beside("_desc-preproc_bold.json", lambda _: json.dumps(value))


_CONFOUNDS = "_desc-confounds_timeseries.tsv"
_SHAPE = (12, 12, 12)

#: How a run is spoilt, and a word of the sentence that is to say so.
SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    "image cut in the middle": (_bytes(lambda raw: raw[: len(raw) // 2]), "bold"),
    "image cut in its header": (_bytes(lambda raw: raw[:40]), "bold"),
    "empty image": (_bytes(lambda raw: b""), "bold"),
    "image that is text": (_bytes(lambda raw: b"text" * 1000), "bold"),
    "image that is compressed text": (_bytes(lambda raw: gzip.compress(b"text" * 1000)), "bold"),
    "image of zeros in gzip": (_bytes(lambda raw: gzip.compress(bytes(10_000))), "bold"),
    "image with a flipped byte": (_bytes(lambda raw: raw[:-2000] + bytes([raw[-2000] ^ 255]) + raw[-1999:]), "bold"),
    "image with a wrong check sum": (_bytes(lambda raw: raw[:-8] + b"\0\0\0\0" + raw[-4:]), "bold"),
    "image of three dimensions": (_rewrite(lambda data: data[..., 0]), "bold"),
    "image of five dimensions": (_rewrite(lambda data: data[..., None]), "bold"),
    "image of one volume": (_rewrite(lambda data: data[..., :1]), ""),
    "image with NaN": (_rewrite(lambda data: np.where(np.arange(data.shape[-1]) == 9, np.nan, data)), "NaN"),
    "image with infinite values": (_rewrite(lambda data: np.where(np.arange(data.shape[-1]) == 9, np.inf, data)), ""),
    "image with fewer volumes than confounds": (_rewrite(lambda data: data[..., :-3]), "rows"),
    "header of a huge image": (_header("dim", 30000, 4), "bold"),
    "header of a negative length": (_header("dim", -5, 4), "bold"),
    "header of no extent": (_header("dim", 0, 1), "bold"),
    "header of nine dimensions": (_header("dim", 9, 0), "bold"),
    "header of an unknown type": (_header("datatype", 12345), "bold"),
    "header of complex numbers": (_header("datatype", 32), "bold"),
    "header without a magic": (_header("magic", b"xxxx"), "bold"),
    "header with data before itself": (_header("vox_offset", 10.0), "bold"),
    "header with data beyond the file": (_header("vox_offset", 1e9), "bold"),
    "header with an offset of nan": (_header("vox_offset", np.nan), "bold"),
    "header with a slope of nan": (_header("scl_slope", np.inf), ""),
    "header of another size": (_header("sizeof_hdr", 777), "bold"),
    "mask that is text": (_mask(lambda: b"text" * 100), "mask"),
    "empty mask file": (_mask(lambda: b""), "mask"),
    "mask without a voxel": (_mask(lambda: image_bytes(np.zeros(_SHAPE, dtype=np.uint8))), ""),
    "mask of another grid": (_mask(lambda: image_bytes(np.ones((5, 5, 5), dtype=np.uint8))), "mask"),
    "mask with a time axis": (_mask(lambda: image_bytes(np.ones((*_SHAPE, 2), dtype=np.uint8))), "mask"),
    "sidecar cut short": (_beside("_desc-preproc_bold.json", lambda text: text[:10]), "json"),
    "sidecar that is a list": (_sidecar([]), "json"),
    "no repetition time": (_sidecar({}), "RepetitionTime"),
    "repetition time of zero": (_sidecar({"RepetitionTime": 0}), "RepetitionTime"),
    "repetition time below zero": (_sidecar({"RepetitionTime": -2}), "RepetitionTime"),
    "repetition time in words": (_sidecar({"RepetitionTime": "two"}), "RepetitionTime"),
    "repetition time of milliseconds": (_sidecar({"RepetitionTime": 2000}), "RepetitionTime"),
    "repetition time that is true": (_sidecar({"RepetitionTime": True}), "RepetitionTime"),
    "no confounds": (_beside(_CONFOUNDS, None), "confounds"),
    "empty confounds": (_beside(_CONFOUNDS, lambda _: ""), "confounds"),
    "confounds without rows": (_beside(_CONFOUNDS, lambda text: text.splitlines()[0] + "\n"), "confounds"),
    "confounds with too few rows": (_beside(_CONFOUNDS, lambda text: "\n".join(text.splitlines()[:-5])), "rows"),
    "confounds with too many rows": (_beside(_CONFOUNDS, lambda text: text + text.splitlines()[-1] + "\n"), "rows"),
    "confounds with words": (_beside(_CONFOUNDS, lambda text: text.replace("0.", "word", 40)), "confounds"),
    "confounds without motion": (_beside(_CONFOUNDS, lambda text: text.replace("trans_x", "trans_q")), "confounds"),
    "confounds with longer rows": (_beside(_CONFOUNDS, lambda text: text.rstrip("\n") + "\t1\t2\n"), "confounds"),
    "confounds that are infinite": (_beside(_CONFOUNDS, lambda text: text.replace("\t0.", "\tinf0", 30)), "confounds"),
}

#: Spoilt, but not in a way that is an error: these are excluded by a rule, or done without what is missing.
NO_ERROR = (
    "image of five dimensions",
    "header of another size",
    "image of one volume",
    "mask without a voxel",
    "header with a slope of nan",
    "image with infinite values",
)


def runs(folder: Path) -> list[list[str]]:
    """Make one participant for each way of spoiling, run all of them in one workflow, and read what is said."""
    from bids_neurossm.cli.parser import parse_config
    from bids_neurossm.cli.participant import _work, make_plan
    from bids_neurossm.cli.process.environment import prepared_environment
    from bids_neurossm.cli.terminal.console import Console

    atlas = write_atlas(folder)
    few = write_dataset(folder / "few", atlas, 1)
    dataset = multiply(few, folder / "fmriprep", len(SPOILT) + 1)
    for number, (spoil, _) in enumerate(SPOILT.values(), start=1):
        for path in (dataset / f"sub-{number:03d}").rglob("*"):
            if path.is_file():  # they are links to the same file
                content = path.read_bytes()
                path.unlink()
                path.write_bytes(content)
        spoil(next((dataset / f"sub-{number:03d}").rglob("*_desc-preproc_bold.nii.gz")))
    plugin = folder / "linear.yml"
    plugin.write_text("plugin: Linear\n", encoding="utf-8")
    options = ["--space", SPACE, "--atlas", str(atlas), "--use-plugin", str(plugin), "-w", str(folder / "work")]
    config = parse_config([str(dataset), str(folder / "out"), "participant", *options])
    with prepared_environment(config.execution) as work:
        plan = make_plan(config, work / "hashes")
        records = _work(config, plan, work, work / "hashes", Console("text"))
    said = {record.unit.split("_")[0]: record for record in records}
    sound = f"sub-{len(SPOILT) + 1:03d}"
    faults = [[f"the sound run failed: {said[sound].message}"] if sound in said else []]
    for number, (what, (_, word)) in enumerate(SPOILT.items(), start=1):
        record = said.get(f"sub-{number:03d}")
        if record is None:
            faults.append([] if what in NO_ERROR else [f"{what}: nothing is said"])
        elif record.exit_code != 1:
            faults.append([f"{what}: exit code {record.exit_code}: {record.message} {record.details[-800:]}"])
        else:
            named = f"sub-{number:03d}" in record.unit + record.message and word in record.message
            faults.append([] if named else [f"{what}: the file or {word!r} is not in {record.message!r}"])
    return faults
