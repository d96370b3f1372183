"""``bids-neurossm-fetch DIR``: atlases and studies, fetched once where there is internet.

Every download goes to a hidden folder inside DIR and is moved to its place when it is whole: what stands under its
final name is complete, whenever the command was interrupted, and a second call goes on where the first one stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_neurossm.cli.process.guard import guarded
from bids_neurossm.errors import ResourceMissingError

#: Fills a folder with files and names each, relative to that folder, when it is whole.
Fetcher = Callable[[Path, Sequence[str]], Iterator[str]]

SPACES = ("MNI152NLin2009cAsym", "MNI152NLin6Asym")
_SIZES = range(100, 1001, 100)
_NETWORKS = (7, 17)
_STUDIES = "neurosynth/data-neurosynth_version-7"


@dataclass(frozen=True)
class Resource:
    """Something that is fetched as one.

    Parameters
    ----------
    name : str
        What it is called to the user.
    wanted : tuple of str
        Files relative to the folder; one may end in ``*`` where the extension varies.
    fetch : callable
        Fetches those that are missing.
    otherwise : str
        What else mends its absence.
    """

    name: str
    wanted: tuple[str, ...]
    fetch: Fetcher
    otherwise: str = ""

    def missing(self, folder: Path) -> list[str]:
        """List the files that are absent or empty."""
        return [name for name in self.wanted if not any(_filled(path) for path in folder.glob(name))]


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch what is missing.

    Returns
    -------
    int
        Exit code.
    """
    return guarded(lambda: run_fetch(argv))


def run_fetch(argv: Sequence[str] | None) -> int:
    """Carry out ``bids-neurossm-fetch``.

    Parameters
    ----------
    argv : sequence of str or None
        Arguments of the command; those of the process by default.

    Returns
    -------
    int
        0 if everything is there, 4 if something is missing.
    """
    parser = argparse.ArgumentParser(prog="bids-neurossm-fetch", allow_abbrev=False)
    parser.add_argument("folder", type=Path, metavar="DIR", help="is made where it is not there")
    parser.add_argument("--log-format", "--log_format", choices=("text", "json"), default="text")
    parser.add_argument("--notrack", action="store_true")
    given = parser.parse_args(argv)
    from bids_neurossm.cli.process.environment import prepared_environment
    from bids_neurossm.config import Execution

    # The clients want caches that can be written, which a home in a container may not be.
    with prepared_environment(Execution()):
        return fetch_resources(given.folder.absolute(), given.log_format)


def fetch_resources(folder: Path, log_format: str = "text", resources: Sequence[Resource] | None = None) -> int:
    """Fill a folder that serves as TEMPLATEFLOW_HOME and NEUROSSM_RESOURCES.

    Parameters
    ----------
    folder : Path
        Is made where it is not there.
    log_format : {"text", "json"}
        How each resource is reported.
    resources : sequence of Resource, optional
        By default all that this program can use.

    Returns
    -------
    int
        0 if everything is there, 4 if something is missing; each missing thing is named in one sentence.

    Raises
    ------
    OutputNotWritableError
        If the folder can not be written.
    """
    from bids_neurossm.cli.process.environment import check_writable
    from bids_neurossm.cli.terminal.console import Console

    check_writable(folder, "folder", "give another one")
    console = Console(log_format)
    code = 0
    for resource in all_resources() if resources is None else resources:
        before = resource.missing(folder)
        if not before:
            console.event("done", f"{resource.name}: already there.", resource=resource.name)
            continue
        reason = _fetch(resource, folder, before)
        after = resource.missing(folder)
        if not after:
            console.event("done", f"{resource.name}: {len(before)} files fetched.", resource=resource.name)
            continue
        code = ResourceMissingError.exit_code
        told = f" ({reason})" if reason else ""
        console.event(
            "error",
            f"{resource.name}: {len(after)} of {len(resource.wanted)} files could not be had{told}, the first is "
            f"{after[0]}; run `bids-neurossm-fetch {folder}` again where there is internet"
            f"{resource.otherwise}.",
            resource=resource.name,
        )
    console.event("note", f"export TEMPLATEFLOW_HOME={folder} NEUROSSM_RESOURCES={folder}")
    return code


def _fetch(resource: Resource, folder: Path, missing: Sequence[str]) -> str:
    """Fetch what is missing of one resource; give the reason why it did not go on, or nothing."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-", ignore_cleanup_errors=True) as scratch:
        staging = Path(scratch)
        try:
            # What the clients print would stand between the lines, and the JSON, of this command.
            with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for name in resource.fetch(staging, missing):
                    if _filled(staging / name):
                        (folder / name).parent.mkdir(parents=True, exist_ok=True)
                        (staging / name).replace(folder / name)
        except Exception as error:  # the clients let every kind of network and file error through
            return _reason(error)
    return ""


def _reason(error: Exception) -> str:
    text = str(error).strip().split("\n")[0]
    if isinstance(error, ResourceMissingError):
        return text
    host = re.search(r"host='([^']+)'", text)
    if host:
        return f"no connection to {host[1]}"
    return f"{type(error).__name__}: {text[:120]}" if text else type(error).__name__


def all_resources() -> list[Resource]:
    """List everything that can be fetched: Schaefer's atlas in both spaces, AAL3 and Neurosynth."""
    resources = []
    for space in SPACES:
        pairs = [_schaefer_names(space, size, networks) for size in _SIZES for networks in _NETWORKS]
        wanted = tuple(name for pair in pairs for name in pair)
        resources.append(Resource(f"Schaefer2018 in {space}", wanted, _fetch_schaefer, ", or give --atlas-dir"))
    wanted = ("tpl-MNIColin27/AAL3v1.nii*", "tpl-MNIColin27/AAL3v1.xml")
    by_hand = ", or unpack AAL3v1.nii and AAL3v1.xml anywhere and give that folder as --atlas-dir"
    resources.append(Resource("AAL3v2", wanted, _fetch_aal3, by_hand))
    kinds = ("terms_source-abstract_type-tfidf", "LDA50_source-abstract_type-weight")
    studies = (
        f"{_STUDIES}_coordinates.tsv.gz",
        f"{_STUDIES}_metadata.tsv.gz",
        *(f"{_STUDIES}_vocab-{kind}_features.npz" for kind in kinds),
        *(f"{_STUDIES}_vocab-{vocabulary}_vocabulary.txt" for vocabulary in ("terms", "LDA50")),
    )
    resources.append(Resource("Neurosynth version 7", studies, _fetch_neurosynth, ", or give --reference DIR"))
    return resources


def _schaefer_names(space: str, size: int, networks: int) -> tuple[str, str]:
    """Name image and table as TemplateFlow does."""
    atlas = f"atlas-Schaefer2018_desc-{size}Parcels{networks}Networks_dseg"
    return f"tpl-{space}/tpl-{space}_res-02_{atlas}.nii.gz", f"tpl-{space}/tpl-{space}_{atlas}.tsv"


def _fetch_schaefer(staging: Path, missing: Sequence[str]) -> Iterator[str]:
    """Let TemplateFlow's client fetch image by image and table by table."""
    # The client takes its home from the environment when it is imported, and keeps it.
    before = os.environ.get("TEMPLATEFLOW_HOME")
    os.environ["TEMPLATEFLOW_HOME"] = str(staging)
    try:
        from templateflow.client import TemplateFlowClient

        client = TemplateFlowClient(root=staging)
        for name in missing:
            space = name.partition("/")[0].removeprefix("tpl-")
            desc = name.partition("_desc-")[2].partition("_")[0]
            image = {"resolution": 2, "extension": ".nii.gz"} if name.endswith(".nii.gz") else {"extension": ".tsv"}
            client.get(space, atlas="Schaefer2018", desc=desc, suffix="dseg", **image)
            if name.endswith(".nii.gz") and _filled(staging / name):
                _read_whole(staging / name)
            yield name
    finally:
        if before is None:
            del os.environ["TEMPLATEFLOW_HOME"]
        else:
            os.environ["TEMPLATEFLOW_HOME"] = before


def _read_whole(image: Path) -> None:
    """Read an image to its end: a download that was cut short is noticed here."""
    from bids_neurossm.atlas.parcellation import read_label_image

    try:
        read_label_image(image)
    except ResourceMissingError as error:
        raise ResourceMissingError(f"{image.name} arrived damaged") from error


def _fetch_aal3(staging: Path, missing: Sequence[str]) -> Iterator[str]:
    """Let nilearn fetch and unpack AAL3, and take the two files that are needed."""
    from nilearn.datasets import fetch_atlas_aal

    fetch_atlas_aal(version="3v2", data_dir=str(staging), verbose=0)
    for pattern in missing:
        for path in sorted(staging.rglob(Path(pattern).name))[:1]:
            if path.suffix != ".xml":
                _read_whole(path)
            target = staging / Path(pattern).with_name(path.name)
            target.parent.mkdir(exist_ok=True)
            path.replace(target)
            yield str(target.relative_to(staging))


def _fetch_neurosynth(staging: Path, missing: Sequence[str]) -> Iterator[str]:
    """Let NiMARE fetch the studies, with the weights of terms and of topics."""
    from nimare.extract import fetch_neurosynth

    fetch_neurosynth(
        data_dir=str(staging), version="7", source="abstract", vocab=["terms", "LDA50"], return_type="files"
    )
    yield from missing


def _filled(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


if __name__ == "__main__":
    sys.exit(main())
