"""The two pages: what stands on them, and that they are safe and self-contained."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from reported import FAILURES, HOSTILE

from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.reports.group import write_group_report
from bids_neurossm.reports.participant import write_participant_report

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
        self.scripts: list[str] = []
        self.kinds: list[str | None] = []
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
        if tag == "script":
            self.kinds.append(values.get("type"))
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
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif "style" not in self.open:
            self.text += data
        if "figcaption" in self.open:
            self.captions[-1] += data


@pytest.fixture(scope="module")
def participant_page(participant_file: Path) -> Page:
    return Page(participant_file)


@pytest.fixture(scope="module")
def three_classes(three_classes_file: Path) -> Page:
    return Page(three_classes_file)


@pytest.fixture(scope="module")
def two_hostile_classes(hostile_file: Path) -> Page:
    return Page(hostile_file)


@pytest.fixture(scope="module", params=["participant_page", "three_classes", "two_hostile_classes"])
def page(request: pytest.FixtureRequest) -> Page:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Page)
    return found


def test_a_page_asks_for_nothing_from_elsewhere(page: Page) -> None:
    assert page.addresses
    elsewhere = [address for address in page.addresses if not address.startswith(("data:", "#", "group/", "models/"))]
    assert elsewhere == []
    # Matplotlib clips with url(#...), which stays inside the picture.
    assert not re.search(r"url\((?!#)", unquote(page.html))
    assert "@import" not in page.html


def test_the_only_script_that_may_run_is_the_one_that_the_policy_names(page: Page) -> None:
    assert page.kinds.count(None) == 1
    assert set(page.kinds) <= {None, "application/json"}
    own = page.scripts[page.kinds.index(None)]
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page.html)
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy[1]
    assert policy[1].startswith("default-src 'none'")
    for kind, data in zip(page.kinds, page.scripts, strict=True):
        if kind is not None:
            assert "<" not in data
            json.loads(data)


def test_no_picture_in_a_page_holds_a_script(page: Page) -> None:
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
    assert "Schaefer A, Kong R, Gordon EM, et al. (2018). Local-global parcellation" in text
    # Run 1 has no table of displacement and no checkpoint was applied; run 2 has both.
    assert text.count("no motion trace is drawn") == 1
    assert text.count("No checkpoint was applied") == 1
    # Carpet, connectivity, coverage as a histogram and three times on a brain; for run 2 bars and two maps.
    assert len(participant_page.images) == 6 + 6 + 3
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
    assert "n = 48 regions" in text
    # Models, differences, ROC, confusion, calibration, learning curve, controls, pathways, reference matrix,
    # deletion; four maps for each of three classes, on the cortex and in slices.
    assert len(three_classes.images) == 10 + 4 * 2 * 3
    # Everything that lay in the folder has its place.
    for said in ("My own scores", "Looks at the holdout", "Edges", "Site by site", "Fold by fold", "trained on people"):
        assert said in text
    # What the checks come to stands above the maps.
    assert text.index("discriminative: nothing learned") < text.index("Glass brain and slices")


def test_two_classes_have_one_discriminative_map(two_hostile_classes: Page) -> None:
    assert two_hostile_classes.text.count("Glass brain and slices: ") == 1
    assert "Glass brain and slices: Discriminative map" in two_hostile_classes.text
    assert "there is one discriminative map" in two_hostile_classes.text
    # A single contrast against the reference is a table, no matrix.
    assert len(two_hostile_classes.images) == 9 + 4 * 2


def test_a_page_is_written_the_same_from_the_same_files(participant_folder: Path, participant_page: Page) -> None:
    again = write_participant_report(participant_folder, "01", FAILURES)
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
    assert (
        "NeuroSSM predicts age with correlation r 1.000 [0.900, 1.000] (out-of-fold, n = 40 participants)." in page.text
    )
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
