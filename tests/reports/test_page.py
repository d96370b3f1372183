"""What both pages have in common: they are safe, self-contained, and made for all readers."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from helpers.reported import HOSTILE, Page

from bids_neurossm.errors import UsageError
from bids_neurossm.reports.group import write_group_report
from bids_neurossm.reports.participant import write_participant_report


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


@pytest.mark.parametrize("label", ["../01", "0 1", "", "sub-sub-01"])
def test_a_label_that_could_lead_elsewhere_is_refused(tmp_path: Path, label: str) -> None:
    with pytest.raises(UsageError):
        write_participant_report(tmp_path, label)
    with pytest.raises(UsageError):
        write_group_report(tmp_path, f"{label}/..")
