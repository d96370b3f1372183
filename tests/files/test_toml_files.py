"""TOML is read with care, and settings survive the way through it."""

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


@pytest.mark.parametrize("text", ["a." * 100_000 + "a = 1", "[" + "a." * 100_000 + "a]", "x = " + "{a=" * 50_000])
def test_toml_that_would_hang_its_parser_is_a_sentence(tmp_path, text):
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(UsageError, match="is not valid TOML"):
        read_toml(tmp_path / "x.toml")


@dataclasses.dataclass(frozen=True)
class _Plain:
    width: int = 3
    name: str = "x"
    either: int | None = None


def test_types_are_checked_whether_or_not_annotations_are_text() -> None:
    plain = dataclasses.make_dataclass(
        "plain", [("width", int, 3), ("rate", float, 0.5), ("sizes", tuple[int, ...], ())]
    )
    for kind in (_Plain, plain):
        with pytest.raises(UsageError, match=r"\[model\]: width: 'many' is a str, int is expected"):
            section_from(kind, {"width": "many"}, "[model]")
    assert section_from(plain, {"rate": 1, "sizes": [1, 2]}, "[model]").sizes == (1, 2)
