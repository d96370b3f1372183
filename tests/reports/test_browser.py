"""The two reports in a real browser: nothing fails, nothing leaves the file, everything can be used."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.reported import HOSTILE

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
QUIET = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

# Machines that are shared can be ten times slower than idle ones.
playwright.expect.set_options(timeout=60_000)

Opened = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as engine:
        if CHROMIUM is None and not Path(engine.chromium.executable_path).is_file():
            pytest.skip("no chromium on this machine (apt-get install chromium, or playwright install chromium)")
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture(params=["participant_file", "hostile_file"])
def report(request: pytest.FixtureRequest) -> Path:
    path = request.getfixturevalue(request.param)
    assert isinstance(path, Path)
    return path


@pytest.fixture
def open_page(browser: Any) -> Iterator[Opened]:
    """Open a file; at the end of the test nothing may have gone wrong and nothing may have been asked for."""
    troubles: list[str] = []
    contexts = []

    def open_it(path: Path, width: int = 1280, height: int = 900, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        context.set_default_timeout(120_000)
        page = context.new_page()
        page.on("console", lambda said: troubles.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("dialog", lambda dialog: troubles.append(f"dialog: {dialog.message}"))

        def asked(request: Any) -> None:
            if request.url != path.as_uri() and not request.url.startswith("data:"):
                troubles.append(f"request: {request.url}")

        page.on("request", asked)
        page.goto(path.as_uri())
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert troubles == []


def test_pictures_have_a_size_links_lead_somewhere_and_controls_have_names(open_page: Opened, report: Path) -> None:
    page = open_page(report)
    page.wait_for_selector(".viewer:not([hidden]), .explorer:not([hidden])")
    page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    sizes = page.evaluate("[...document.images].map((image) => [image.naturalWidth, image.clientWidth])")
    assert sizes
    assert all(natural > 100 and shown > 100 for natural, shown in sizes)
    links = page.evaluate("[...document.links].map((link) => link.getAttribute('href'))")
    for link in links:
        if link.startswith("#"):
            assert page.evaluate("(id) => document.getElementById(id) !== null", link[1:]), link
        else:
            assert (report.parent / link).is_file(), link
    nameless = page.evaluate(
        "[...document.querySelectorAll('input, select, canvas:not(.bar), button')].filter((node) =>"
        " !(node.labels?.length || node.ariaLabel || node.textContent.trim())).map((node) => node.outerHTML)"
    )
    assert nameless == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_does_not_scroll_sideways(open_page: Opened, report: Path, scheme: str) -> None:
    page = open_page(report, 390, 844, scheme)
    page.wait_for_selector(".viewer:not([hidden]), .explorer:not([hidden])")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


def test_the_region_table_sorts_and_filters(open_page: Opened, hostile_file: Path) -> None:
    page = open_page(hostile_file)
    table = page.locator("table.sortable", has_text="discriminative map: n = 48 regions")
    head = table.locator("th", has_text="CPA score")
    head.locator("button").click()
    scores = "(table) => [...table.tBodies[0].rows].map((row) => Number(row.cells[2].dataset.k))"
    down = table.evaluate(scores)
    assert head.get_attribute("aria-sort") == "descending"
    assert len(down) == 48
    assert down == sorted(down, reverse=True)
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert table.evaluate(scores) == down[::-1]
    # The region with the hostile name is the most important one, and is text.
    page.get_by_label("Filter rows of: discriminative map").fill("alert")
    assert table.locator("tbody tr:not([hidden]) th").all_text_contents() == [HOSTILE]
    assert page.get_by_text("1 of 48 rows").count() == 1


def test_the_viewer_is_driven_by_keys_and_tells_what_lies_under_the_cross(
    open_page: Opened, hostile_file: Path
) -> None:
    page = open_page(hostile_file)
    viewer = page.locator(".viewer")
    viewer.wait_for()
    region = viewer.locator("[data-part=region]")
    # It opens at the most important region.
    playwright.expect(region).to_contain_text(HOSTILE)
    playwright.expect(viewer.locator("[data-part=facts]")).to_contain_text("CPA score: ")
    coloured = """(canvas) => {
        const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
        const context = copy.getContext("2d", { willReadFrequently: true });
        context.drawImage(canvas, 0, 0);
        const all = context.getImageData(0, 0, copy.width, copy.height).data;
        let count = 0;
        for (let i = 0; i < all.length; i += 4) {
            const rgb = [all[i], all[i + 1], all[i + 2]];
            count += Math.max(...rgb) - Math.min(...rgb) > 20;
        }
        return count;
    }"""
    axial = viewer.locator("[data-part=axial]")
    everywhere = axial.evaluate(coloured)
    assert everywhere > 5000
    viewer.locator("[data-part=share]").fill("10")
    # The page's policy forbids the strings of code by which a browser driver waits: two frames are waited for instead.
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert axial.evaluate(coloured) < everywhere / 2
    before = viewer.locator("[data-part=facts]").text_content()
    axial.focus()
    axial.press("ArrowRight")
    axial.press("PageUp")
    playwright.expect(viewer.locator("[data-part=facts]")).not_to_have_text(before or "")
    viewer.locator("[data-part=layer]").select_option("Dominant pathway")
    assert viewer.locator("[data-part=key] .entry").count() >= 2
    viewer.locator("[data-part=jump]").select_option("Region 7")
    playwright.expect(region).to_contain_text("Region 7")


def test_the_explorer_shows_two_series_and_their_correlation(open_page: Opened, participant_file: Path) -> None:
    page = open_page(participant_file)
    explorer = page.locator(".explorer").first
    explorer.wait_for()
    said = explorer.locator("[data-part=facts]")
    playwright.expect(said).to_contain_text("over n = 234 volumes")
    explorer.locator("canvas").focus()
    explorer.locator("canvas").press("ArrowRight")
    playwright.expect(said).to_contain_text("at 3.0 s: ")
    names = explorer.locator("[data-part=one] option").all_text_contents()
    # Two of the 400 regions have no signal and can not be chosen.
    assert len(names) == 398
    explorer.locator("[data-part=one]").select_option(label=names[0])
    explorer.locator("[data-part=other]").select_option(label=names[1])
    playwright.expect(said).to_contain_text("r = ")


def test_the_methods_can_be_copied_and_paper_shows_everything(open_page: Opened, hostile_file: Path) -> None:
    page = open_page(hostile_file)
    page.get_by_text("Copy the methods section").click()
    button = page.locator("button.copy").first
    button.click()
    # Which of the two depends on whether the browser gives its clipboard away.
    playwright.expect(button).to_have_text(re.compile("^(Copied|Marked: press Ctrl.C)$"))
    assert (hostile_file.parent / "group/task/methods.bib").read_text() == page.locator(
        "#methods-bibtex"
    ).text_content()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open]):not(.screen)").count() == 0
    page.emulate_media(media="print")
    assert not page.locator("nav.contents").is_visible()
