"""Fetching atlases and studies, with the clients replaced: whole files arrive, half ones never do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bids_neurossm.atlas import load_parcellation
from bids_neurossm.cli import fetch, run
from bids_neurossm.cli.fetch import Resource, all_resources, fetch_resources
from bids_neurossm.errors import OutputNotWritableError


def writer(staging: Path, missing: Sequence[str]) -> Iterator[str]:
    for name in missing:
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).write_text("whole")
        yield name


def broken(staging: Path, missing: Sequence[str]) -> Iterator[str]:
    """Fetch the first file, and half of the second."""
    yield from writer(staging, missing[:1])
    (staging / missing[1]).write_text("ha")
    raise ConnectionError("HTTPSConnectionPool(host='example.org', port=443): Max retries exceeded")


def stub(staging: Path, missing: Sequence[str]) -> Iterator[str]:
    """Behave like a client that leaves empty files without a word."""
    for name in missing:
        (staging / name).touch()
        yield name


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_everything_arrives_and_is_not_fetched_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch_resources(tmp_path, resources=[Resource("Atlas", ("a/one", "a/two"), writer)]) == 0
    assert files(tmp_path) == {"a/one", "a/two"}
    assert "Atlas: 2 files fetched." in capsys.readouterr().out
    assert fetch_resources(tmp_path, resources=[Resource("Atlas", ("a/one", "a/two"), broken)]) == 0
    assert "Atlas: already there." in capsys.readouterr().out


def test_a_broken_connection_leaves_whole_files_and_the_next_call_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ("one", "two", "three")
    others = Resource("Studies", ("studies",), writer)
    assert fetch_resources(tmp_path, resources=[Resource("Atlas", wanted, broken, ", or give --x"), others]) == 4
    assert files(tmp_path) == {"one", "studies"}
    said = capsys.readouterr().out
    assert (
        "Atlas: 2 of 3 files could not be had (no connection to example.org), the first is two; run "
        f"`bids-neurossm-fetch {tmp_path}` again where there is internet, or give --x." in said
    )
    assert fetch_resources(tmp_path, resources=[Resource("Atlas", wanted, writer)]) == 0
    assert "Atlas: 2 files fetched." in capsys.readouterr().out


def test_empty_files_do_not_count(tmp_path: Path) -> None:
    assert fetch_resources(tmp_path, resources=[Resource("Atlas", ("one",), stub)]) == 4
    assert files(tmp_path) == set()


def test_a_folder_that_can_not_be_made_is_said_before_anything_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputNotWritableError, match="give another one"):
        fetch_resources(tmp_path / "file" / "folder", resources=[])


def test_all_that_the_catalogue_knows_is_listed() -> None:
    schaefer = dict(zip(fetch.SPACES, all_resources(), strict=False))
    for space, resource in schaefer.items():
        assert len(resource.wanted) == 2 * 10 * 2
        stem = f"tpl-{space}/tpl-{space}"
        assert f"{stem}_res-02_atlas-Schaefer2018_desc-1000Parcels17Networks_dseg.nii.gz" in resource.wanted
        assert f"{stem}_atlas-Schaefer2018_desc-100Parcels7Networks_dseg.tsv" in resource.wanted
    assert [each.name for each in all_resources()][2:] == ["AAL3v2", "Neurosynth version 7"]


def test_templateflows_client_is_asked_for_each_file_in_a_home_of_its_own(
    tmp_path: Path, templateflow_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import templateflow.client

    space, asked = "MNI152NLin2009cAsym", []

    class Client:
        def __init__(self, root: Path) -> None:
            self.root = root

        def get(self, template: str, **entities: Any) -> None:
            asked.append((template, entities["desc"], entities["extension"], entities.get("resolution")))
            res = "_res-02" if "resolution" in entities else ""
            name = f"tpl-{space}{res}_atlas-Schaefer2018_desc-{entities['desc']}_dseg{entities['extension']}"
            (self.root / f"tpl-{space}").mkdir(exist_ok=True)
            shutil.copyfile(templateflow_home / f"tpl-{space}" / name, self.root / f"tpl-{space}" / name)

    monkeypatch.setattr(templateflow.client, "TemplateFlowClient", Client)
    monkeypatch.setenv("TEMPLATEFLOW_HOME", "/nowhere")
    wanted = tuple(name for name in all_resources()[0].wanted if "desc-400Parcels7Networks" in name)
    assert fetch_resources(tmp_path, resources=[Resource("Schaefer", wanted, fetch._fetch_schaefer)]) == 0
    assert asked == [(space, "400Parcels7Networks", ".nii.gz", 2), (space, "400Parcels7Networks", ".tsv", None)]
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path))
    assert load_parcellation("Schaefer400", space, download=False).image_file.parent == tmp_path / f"tpl-{space}"


def test_an_image_that_was_cut_short_is_noticed(
    tmp_path: Path, templateflow_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import templateflow.client

    image = next((templateflow_home / "tpl-MNI152NLin2009cAsym").glob("*_dseg.nii.gz"))
    name = f"tpl-MNI152NLin2009cAsym/{image.name}"

    class Client:
        def __init__(self, root: Path) -> None:
            self.root = root

        def get(self, *_: str, **__: Any) -> None:
            (self.root / name).parent.mkdir()
            (self.root / name).write_bytes(image.read_bytes()[:-5000])

    monkeypatch.setattr(templateflow.client, "TemplateFlowClient", Client)
    assert fetch_resources(tmp_path, resources=[Resource("Schaefer", (name,), fetch._fetch_schaefer)]) == 4
    assert files(tmp_path) == set()
    assert f"{image.name} arrived damaged" in capsys.readouterr().out


def test_aal3_is_unpacked_to_where_the_catalogue_looks(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nilearn.datasets

    def unpack(version: str, data_dir: str, verbose: int) -> None:
        assert (version, verbose) == ("3v2", 0)
        (Path(data_dir) / "aal_3v2").mkdir()
        shutil.copytree(
            shared_data / "atlases" / "aal3", Path(data_dir) / "aal_3v2" / "AAL3", copy_function=shutil.copyfile
        )
        (Path(data_dir) / "aal_3v2" / "AAL3").chmod(0o755)

    monkeypatch.setattr(nilearn.datasets, "fetch_atlas_aal", unpack)
    assert fetch_resources(tmp_path, resources=[all_resources()[2]]) == 0
    assert files(tmp_path) == {"tpl-MNIColin27/AAL3v1.nii", "tpl-MNIColin27/AAL3v1.xml"}
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path))
    assert load_parcellation("AAL3", "MNI152NLin6Asym").n_regions == 166


def test_neurosynth_comes_with_terms_and_topics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nimare.extract

    resource = all_resources()[3]

    def download(data_dir: str, **chosen: Any) -> None:
        assert chosen["vocab"] == ["terms", "LDA50"]
        assert chosen["return_type"] == "files"
        for name in resource.wanted:
            (Path(data_dir) / name).parent.mkdir(exist_ok=True)
            (Path(data_dir) / name).write_text("x")

    monkeypatch.setattr(nimare.extract, "fetch_neurosynth", download)
    assert fetch_resources(tmp_path, resources=[resource]) == 0
    assert "neurosynth/data-neurosynth_version-7_vocab-terms_source-abstract_type-tfidf_features.npz" in files(tmp_path)


def test_the_earlier_spelling_is_the_same_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(fetch, "run_fetch", lambda arguments: asked.append(list(arguments)) or 0)
    assert run.main(["--fetch-resources", str(tmp_path), "--notrack"]) == 0
    assert run.main(["--log-format", "json", f"--fetch_resources={tmp_path}"]) == 0
    assert asked == [[str(tmp_path), "--notrack"], ["--log-format", "json", str(tmp_path)]]


def test_the_command_is_offline_safe(command: Any, tmp_path: Path) -> None:
    unreachable = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = command("--fetch_resources", tmp_path / "res", "--log-format", "json", **unreachable)
    assert done.returncode == 4, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["event"] for each in events] == ["error"] * 4 + ["note"]
    assert all("again where there is internet" in each["message"] for each in events[:4])
    assert "Traceback" not in done.stderr
    assert files(tmp_path / "res") == set()
    assert list((tmp_path / "res").iterdir()) == []
