"""The two pages: what stands on them, and that they are safe and self-contained."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.reports import write_group_report, write_participant_report

HOSTILE = "<script>alert('x')</script>"
CLASSES = ["gambling", "language", "motor"]
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """What a browser would make of a page: tags, headings, pictures with captions, addresses, visible text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.tags: list[str] = []
        self.open: list[str] = []
        self.headings: list[int] = []
        self.images: list[dict[str, str | None]] = []
        self.captions: list[str] = []
        self.identifiers: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "img":
            self.images.append(values)
        if tag == "figcaption":
            self.captions.append("")
        if values.get("id"):
            self.identifiers.append(str(values["id"]))
        self.addresses += [str(values[name]) for name in ("src", "href", "action", "srcset") if values.get(name)]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if "figcaption" in self.open:
            self.captions[-1] += data


ERRORS = [
    {
        "run": "sub-01_task-nback",
        "step": "parcel_means",
        "message": f"{HOSTILE} ends early.",
        "remedy": "Copy the file again.",
    }
]


@pytest.fixture(scope="module")
def participant_page(participant_folder: Path) -> Page:
    return Page(write_participant_report(participant_folder, "sub-01", ERRORS))


@pytest.fixture(scope="module")
def three_classes(make_group: Callable[..., Path]) -> Page:
    return Page(write_group_report(make_group(CLASSES), "task"))


@pytest.fixture(scope="module")
def two_hostile_classes(make_group: Callable[..., Path]) -> Page:
    return Page(write_group_report(make_group(["Control", HOSTILE], hostile=True), "task"))


@pytest.fixture(scope="module", params=["participant_page", "three_classes", "two_hostile_classes"])
def page(request: pytest.FixtureRequest) -> Page:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Page)
    return found


def test_a_page_asks_for_nothing_from_elsewhere(page: Page) -> None:
    assert page.addresses
    assert all(address.startswith(("data:image/svg+xml", "#")) for address in page.addresses)
    # Matplotlib clips with url(#...), which stays inside the picture.
    assert not re.search(r"url\((?!#)", unquote(page.html))
    assert "@import" not in page.html


def test_no_page_and_no_picture_in_it_holds_a_script(page: Page) -> None:
    assert "script" not in page.tags
    for image in page.images:
        svg = unquote(str(image["src"]))
        assert "<script" not in svg
        assert not re.search(r"""(href|src)\s*=\s*["'](?!#|data:image/png)""", svg)


def test_tags_are_balanced_and_headings_never_skip_a_level(page: Page) -> None:
    assert page.open == []
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in zip(page.headings, page.headings[1:], strict=False))
    assert len(set(page.identifiers)) == len(page.identifiers)
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.identifiers)


def test_every_picture_says_in_words_what_it_shows_and_how_many_it_speaks_of(page: Page) -> None:
    assert page.images
    assert len(page.images) == len(page.captions)
    assert all(len(str(image["alt"])) > 20 for image in page.images)
    counted = re.compile(r"\bn = \d|\bn of studies|\d+ regions x \d+ volumes|over participants")
    assert [caption for caption in page.captions if not counted.search(caption)] == []


def test_pictures_follow_a_dark_page(page: Page) -> None:
    for image in page.images:
        svg = unquote(str(image["src"]))
        assert "prefers-color-scheme: dark" in svg
        assert "#010203" not in svg
        assert "var(--ink)" in svg


def test_hostile_labels_are_shown_as_text(two_hostile_classes: Page, participant_page: Page) -> None:
    assert two_hostile_classes.text.count(HOSTILE) >= 4
    assert f"{HOSTILE} ends early." in participant_page.text
    assert "failed at parcel_means" in participant_page.text
    assert "Copy the file again." in participant_page.text


def test_the_participant_page_tells_what_happened_to_each_run(participant_page: Page) -> None:
    text = participant_page.text
    for said in ("task-rest run-1", "task-rest run-2", "398 of 400", "0.141", "2 regions have no signal"):
        assert said in text
    assert "7Networks_RH_Vis_1" in text
    assert "4 confound columns: trans_x, trans_y, csf, white_matter" in text
    assert "The first 4 volumes were dropped." in text
    assert "Schaefer A, et al. (2018)" in text
    # Run 1 has no table of displacement and no checkpoint was applied; run 2 has both.
    assert text.count("no motion trace is drawn") == 1
    assert text.count("No checkpoint was applied") == 1
    assert len(participant_page.images) == 3 + 3 + 2
    assert "excluded, too few volumes" in text
    assert "too few volumes: 234 are kept, 300 needed" in text


def test_the_group_page_leads_with_the_result_and_its_comparison(three_classes: Page) -> None:
    text = three_classes.text
    assert text.index("no better than tangent connectivity") < text.index("Cohort and exclusions")
    assert "0.81 [0.76, 0.86]" in text
    assert "order of time adds nothing that can be shown" in text
    assert "too few volumes" in text
    assert "3e−07" in text
    assert "Precentral Gyrus $M_1$" in text
    assert "the 20 highest of n = 48 regions" in text
    # ROC, confusion, metric, pathways, reference matrix; four pictures for each of three classes.
    assert len(three_classes.images) == 5 + 4 * 3


def test_two_classes_have_one_discriminative_map(two_hostile_classes: Page) -> None:
    assert two_hostile_classes.text.count("Discriminative map") == 1
    assert "there is one discriminative map" in two_hostile_classes.text
    # A single contrast against the reference is a table, no matrix.
    assert len(two_hostile_classes.images) == 4 + 4


def test_a_page_is_written_the_same_from_the_same_files(participant_folder: Path, participant_page: Page) -> None:
    again = write_participant_report(participant_folder, "01", ERRORS)
    assert again == participant_folder / "sub-01.html"
    assert again.read_text(encoding="utf-8") == participant_page.html
    assert [path.name for path in participant_folder.iterdir() if path.name.startswith(".")] == []


def test_an_empty_folder_gives_pages_that_say_what_is_missing(tmp_path: Path) -> None:
    participant = Page(write_participant_report(tmp_path, "07"))
    assert "No time series of this participant is in the output folder" in participant.text
    group = Page(write_group_report(tmp_path, "dx"))
    for said in (
        "the analysis has not finished", "No table of splits", "No usable table of predictions", "No summary metrics",
        "No controls are on disk", "No maps are on disk", "No table of pathways", "No table of regions",
        "No meta-analytic reference", "No attribution checks",
    ):  # fmt: skip
        assert said in group.text


def test_a_continuous_target_gets_a_scatter_and_a_sentence_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "group" / "age"
    folder.mkdir(parents=True)
    truth = np.linspace(20, 70, 40)
    rows = {
        "model": "neurossm", "set": ["test"] * 40, "fold": "1", "participant_id": [f"sub-{i}" for i in range(40)],
        "unit": "participant", "label": truth, "predicted": truth + 5,
    }  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "predictions.tsv", sep="\t", index=False)
    metric = {"model": ["neurossm"], "set": "test", "fold": "all", "metric": "r", "value": 1.0}
    metric |= {"ci_low": 0.9, "ci_high": 1.0, "interval": "given these models", "n": 40}
    pd.DataFrame(metric).to_csv(folder / "metrics.tsv", sep="\t", index=False)
    (folder / "summary.json").write_text(
        json.dumps({"target": "age", "target_type": "continuous", "model": "neurossm"})
    )
    page = Page(write_group_report(tmp_path, "age"))
    assert "neurossm reached r 1 [0.900, 1] (n = 40)." in page.text
    assert "n = 40 out-of-fold participants; r over all points = 1" in page.text
    assert any("Scatter of predicted against true age" in str(image["alt"]) for image in page.images)


@pytest.mark.parametrize("name", ["metrics.tsv", "summary.json", "a_label-X_stat-cpa_boldmap.nii.gz"])
def test_a_damaged_file_is_named_and_never_passed_over(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "group" / "dx"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(b"")
    with pytest.raises(RunError, match=re.escape(name)):
        write_group_report(tmp_path, "dx")
    assert not (tmp_path / "group_dx.html").exists()


@pytest.mark.parametrize("label", ["../01", "0 1", "", "sub-sub-01"])
def test_a_label_that_could_lead_elsewhere_is_refused(tmp_path: Path, label: str) -> None:
    with pytest.raises(UsageError):
        write_participant_report(tmp_path, label)
    with pytest.raises(UsageError):
        write_group_report(tmp_path, f"{label}/..")
