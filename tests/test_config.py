"""Settings check themselves, and survive the way through TOML."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from bids_neurossm import config as cfg
from bids_neurossm.errors import UsageError
from bids_neurossm.files.toml_files import read_toml, section_from, to_plain

SECTIONS: list[Any] = [
    cfg.Selection(
        ("01", "02"), ("03",), ("1",), ("rest",), ("1",), "MNI152NLin6Asym", "2", Path("/f.json"), {"raw": Path("/raw")}
    ),
    cfg.Extraction(("Schaefer400", "AAL3"), Path("/atlases"), None, "simple", 3, 0.5, 0.01, 0.1, 0.6, 100, 0.1),
    cfg.ModelSpec("neurossm", "demo", {"width": 32, "scales": [1, 2, 4], "bidirectional": True}),
    cfg.Training(epochs=3, window=64, class_weights=False, learning_rate=1),
    cfg.Evaluation("dx", "class", Path("/p.tsv"), ("age", "sex"), "family", 3, 2, 0.2, None, 1, 2),
    cfg.Attribution(cpa=False, localisation="integrated"),
    cfg.Reference(source="none", surrogates=500),
    cfg.Execution(nprocs=2, work_dir=Path("/w"), log_format="json", overwrite=True),
]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda each: type(each).__name__)
def test_a_section_comes_back_from_toml_as_it_was(section: Any) -> None:
    text = tomli_w.dumps(to_plain(section))
    back = section_from(type(section), tomllib.loads(text), "config.toml")
    if isinstance(section, cfg.ModelSpec):
        assert to_plain(back) == to_plain(section)
    else:
        assert back == section


@pytest.mark.parametrize("kind", [type(each) for each in SECTIONS])
def test_defaults_are_valid_and_nothing_can_be_changed_afterwards(kind: type[Any]) -> None:
    section = kind()
    assert section_from(kind, to_plain(section), "x") == section
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(section, dataclasses.fields(kind)[0].name, None)


def test_prefixes_of_labels_are_tolerated() -> None:
    selection = cfg.Selection(
        ("sub-01", "02"),
        session_id=("ses-1",),
        task_id=("task-rest",),
        run_id=("run-1",),
        space="space-T1w",
        res="res-2",
    )
    assert selection.participant_label == ("01", "02")
    assert (selection.session_id, selection.task_id, selection.run_id) == (("1",), ("rest",), ("1",))
    assert (selection.space, selection.res) == ("T1w", "2")


@pytest.mark.parametrize("label", ["", "sub-", "a_b", "a/b", "../x", "sub-01*"])
def test_what_is_no_label_is_refused(label: str) -> None:
    with pytest.raises(UsageError, match=r"--participant-label .* is not a BIDS label"):
        cfg.Selection(participant_label=(label,))


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (cfg.Extraction, {"atlas": ("AAL3", "AAL3")}, "names one atlas twice"),
        (cfg.Extraction, {"dummy_scans": -1}, "--dummy-scans"),
        (cfg.Extraction, {"fd_threshold": 0}, "--fd-threshold"),
        (cfg.Extraction, {"fd_threshold": float("nan")}, "--fd-threshold"),
        (cfg.Extraction, {"min_coverage": 1.1}, "--min-coverage"),
        (cfg.Extraction, {"connectivity": ("tangent",)}, "--connectivity tangent is not known; known are partial"),
        (cfg.Extraction, {"max_uncovered": -0.1}, "--max-uncovered"),
        (cfg.Extraction, {"min_volumes": 0}, "--min-volumes"),
        (cfg.Extraction, {"high_pass": 0}, "--high-pass must be a positive frequency in Hz"),
        (cfg.Extraction, {"low_pass": -1}, "--low-pass must be a positive frequency in Hz"),
        (cfg.Extraction, {"high_pass": 0.1, "low_pass": 0.01}, "--high-pass must lie below --low-pass"),
        (cfg.Training, {"epochs": 0}, "training.epochs"),
        (cfg.Training, {"batch_size": 0}, "training.batch_size"),
        (cfg.Training, {"learning_rate": 0}, "training.learning_rate"),
        (cfg.Training, {"gradient_clip": -1}, "training.gradient_clip"),
        (cfg.Training, {"weight_decay": -1}, "training.weight_decay"),
        (cfg.Training, {"label_smoothing": 1}, "training.label_smoothing"),
        (cfg.Training, {"window": 7}, "training.window"),
        (cfg.Evaluation, {"folds": 1}, "--folds"),
        (cfg.Evaluation, {"seeds": 0}, "--seeds"),
        (cfg.Evaluation, {"holdout": 0.9}, "--holdout"),
        (cfg.Evaluation, {"only_fold": 6, "only_seed": 1}, "--only-fold must lie between 1 and 5"),
        (cfg.Evaluation, {"only_fold": 1, "only_seed": 2}, "--only-seed must lie between 1 and 1"),
        (cfg.Evaluation, {"only_fold": 1}, "give both or neither"),
        (cfg.Reference, {"surrogates": 99}, "surrogates must be at least 100"),
        (cfg.Execution, {"nprocs": 0}, "--nprocs"),
        (cfg.Execution, {"omp_nthreads": 0}, "--omp-nthreads"),
        (cfg.Execution, {"mem_mb": 99}, "--mem-mb"),
        (cfg.Execution, {"precision": "float64"}, "--precision float64 is not known"),
    ],
)
def test_impossible_values_are_refused_by_name(kind: type[Any], values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        kind(**values)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (cfg.Training, {"epoch": 3}, r"recipe: unknown setting 'epoch'; known are batch_size, .*epochs"),
        (cfg.Training, {"epochs": "3"}, "recipe: epochs: '3' is a str, int is expected"),
        (cfg.Training, {"epochs": 3.5}, "3.5 is a float, int is expected"),
        (cfg.Training, {"epochs": True}, "True is a bool, int is expected"),
        (cfg.Training, {"learning_rate": True}, "True is a bool, float is expected"),
        (cfg.Training, {"class_weights": 1}, "1 is a int, bool is expected"),
        (cfg.Extraction, {"atlas": "AAL3"}, "'AAL3' is a str, tuple"),
        (cfg.Extraction, {"denoise": 3}, "3 is a int, str"),
        (cfg.Evaluation, {"target_type": "number"}, "'number' is not one of auto, class, continuous"),
        (cfg.Attribution, {"localisation": 1}, "1 is a int, Literal"),
    ],
)
def test_toml_of_the_wrong_kind_is_refused(kind: type[Any], values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        section_from(kind, values, "recipe")


def test_a_whole_number_serves_as_a_float_and_text_as_a_path() -> None:
    assert section_from(cfg.Training, {"gradient_clip": 2}, "x").gradient_clip == 2
    assert section_from(cfg.Execution, {"work_dir": "/w"}, "x").work_dir == Path("/w")
    assert section_from(cfg.Selection, {"derivatives": {"raw": "/r"}}, "x").derivatives == {"raw": Path("/r")}


def test_what_is_not_set_is_left_out_of_toml() -> None:
    plain = to_plain(cfg.RunConfig(Path("/in"), Path("/out"), "group"))
    assert plain["bids_dir"] == "/in"
    assert "analysis_id" not in plain
    assert "target" not in plain["evaluation"]
    assert tomllib.loads(tomli_w.dumps(plain)) == plain


class TestRunConfig:
    def test_the_output_is_never_the_input(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        data = tmp_path / "data"
        data.mkdir()
        (tmp_path / "link").symlink_to(data)
        monkeypatch.chdir(tmp_path)
        for out in (data, Path("data"), tmp_path / "x" / ".." / "data", tmp_path / "link"):
            with pytest.raises(UsageError, match="the input is never written to"):
                cfg.RunConfig(data, out, "participant")

    def test_a_folder_inside_the_input_is_the_habit_of_raw_datasets(self, tmp_path: Path) -> None:
        out = tmp_path / "derivatives" / "bids-neurossm"
        assert cfg.RunConfig(tmp_path, out, "participant").out_dir == out

    @pytest.mark.parametrize("name", ["a b", "a/b", "..", ""])
    def test_an_analysis_is_named_like_a_folder(self, name: str) -> None:
        with pytest.raises(UsageError, match="--analysis-id"):
            cfg.RunConfig(Path("/in"), Path("/out"), "group", analysis_id=name)

    def test_an_ordinary_name_is_accepted(self) -> None:
        assert cfg.RunConfig(Path("/in"), Path("/out"), "group", analysis_id="dx_v2-1").analysis_id == "dx_v2-1"


class TestReadToml:
    def test_a_byte_order_mark_does_no_harm(self, tmp_path: Path) -> None:
        (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbf[model]\r\nwidth = 32\r\n")
        assert read_toml(tmp_path / "a.toml") == {"model": {"width": 32}}

    @pytest.mark.parametrize("content", [b"[model", b"a = \xff", b"a = 1\na = 2"])
    def test_what_is_no_toml_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.toml").write_bytes(content)
        with pytest.raises(UsageError, match=r"a.toml is not valid TOML"):
            read_toml(tmp_path / "a.toml")

    def test_absent_files_and_folders_are_refused(self, tmp_path: Path) -> None:
        for path in (tmp_path / "absent.toml", tmp_path):
            with pytest.raises(UsageError, match=r"cannot be read|is a folder"):
                read_toml(path)
