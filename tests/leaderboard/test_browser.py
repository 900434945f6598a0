"""The page in a real browser, opened from disk: sorted, filtered, a record opened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from mtlbench.leaderboard import board_files
from mtlbench.leaderboard.draw import draw
from tests.leaderboard import fabricate

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

NASTY = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no Chromium with chromedriver on this machine (Debian: chromium, chromium-driver)")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,1000"):
        options.add_argument(option)
    running = selenium.Chrome(options=options, service=selenium.ChromeService(executable_path=driver))
    yield running
    running.quit()


@pytest.fixture(scope="module")
def page(browser: Chrome, tmp_path_factory: pytest.TempPathFactory) -> Chrome:
    from selenium.webdriver.support.ui import WebDriverWait

    folder = tmp_path_factory.mktemp("site")
    fabricate.save([*fabricate.sweep(), *fabricate.sweep(["mtan"], label=NASTY)], folder / "results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(board_files, "FIGURES", [figure for figure in board_files.FIGURES if figure[0] == "training"])
        draw(folder / "results", folder / "out")
    browser.get((folder / "out" / "index.html").as_uri())
    browser.find_element("link text", "streets").click()
    WebDriverWait(browser, 20).until(lambda b: b.execute_script("return document.documentElement.dataset.ready") == "yes")
    return browser


def names(page: Chrome) -> list[str]:
    return [
        cell.text.split(" (")[0].split("\n")[0]
        for cell in page.find_elements("css selector", "table.board tbody td.name")
        if cell.is_displayed()
    ]


def headings(page: Chrome) -> int:
    """How many columns are shown."""
    return sum(cell.is_displayed() for cell in page.find_elements("css selector", "table.board th"))


def test_sorts_filters_hides_and_escapes(page: Chrome) -> None:
    assert NASTY in names(page), "shown as text, and no dialog is open"
    assert len(names(page)) == 7
    heading = next(cell for cell in page.find_elements("css selector", "table.board th") if cell.text.startswith("FLOPs"))
    heading.click()
    assert names(page)[0] == "adashare", "the cheapest first"
    box = page.find_element("css selector", ".dt-search input")
    box.send_keys("cross")
    assert names(page) == ["cross_stitch"]
    box.clear()
    box.send_keys(" ")
    before = headings(page)
    next(
        button for button in page.find_elements("css selector", "button.dt-button") if button.text.startswith("cost")
    ).click()
    assert headings(page) > before


def test_switches_between_light_and_dark(page: Chrome) -> None:
    before = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    page.find_element("id", "theme").click()
    assert page.execute_script("return getComputedStyle(document.body).backgroundColor") != before


def test_nothing_is_wider_than_a_phone(page: Chrome) -> None:
    page.set_window_size(500, 900)
    width = page.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    page.set_window_size(1400, 1000)
    assert width[0] <= width[1]


def test_a_row_leads_to_its_pictures(page: Chrome) -> None:
    link = page.find_element("css selector", "td.name .pictures a")
    link.click()
    anchor = page.current_url.partition("#")[2]
    assert anchor.startswith("training-")
    assert page.find_element("id", anchor).find_element("tag name", "img").get_attribute("alt")


def test_opens_a_record_of_a_row(page: Chrome) -> None:
    link = page.find_element("css selector", "td.records a")
    title = link.get_attribute("title") or ""
    link.click()
    assert json.loads(page.find_element("tag name", "pre").text)["id"] == title.removeprefix("record ")
