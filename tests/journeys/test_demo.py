"""The demo, as the person sees it who has just started it: a real server, a real Chromium."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page, Playwright, Request, expect, sync_playwright

from tailrace.doors.limits import DoorLimits
from tailrace.server.config import Settings
from tailrace.server.demo import jobs
from tailrace.server.demo.app import demo_site
from tailrace.server.run import Running
from tailrace.testing.server import running_server

pytestmark = pytest.mark.browser

RETRY_MILLISECONDS = 600  # longer than two ticks, so that a drop misses some
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("watched")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Running]:
    settings = Settings(store="memory://", port=0, http=DoorLimits(retry_milliseconds=RETRY_MILLISECONDS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "WORD_SECONDS", 0.005)
        with running_server(settings, demo_site(folder, python=Path(json.__file__).parent)) as running:
            yield running


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    own = Path(playwright.chromium.executable_path).exists()
    browser = playwright.chromium.launch(executable_path=None if own else shutil.which("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def requested() -> list[Request]:
    """What the page has asked for."""
    return []


@pytest.fixture
def complaints() -> list[str]:
    """What the browser has complained of."""
    return []


@pytest.fixture
def page(browser: Browser, server: Running, requested: list[Request], complaints: list[str]) -> Iterator[Page]:
    """The demo's page, connected, with the first tick on it: by then the folder is being watched."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("request", lambda request: requested.append(request))  # noqa: PLW0108 - Playwright marks what it is given
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(server.url)
    expect(page.locator("#state")).to_have_text("Live")
    expect(page.locator("#received")).not_to_have_text("0")
    yield page
    page.close()


def number(page: Page, name: str) -> int:
    return int(page.locator(f"#{name}").inner_text().replace(",", ""))


def ticks_published(server: Running) -> int:
    answer = httpx2.get(f"{server.url}/api/v1/topics/proof/ticks").json()
    return answer["events"]


def wait_received(page: Page, at_least: int) -> None:
    page.wait_for_function(f"Number(document.getElementById('received').textContent.replace(/,/g, '')) >= {at_least}")


def streams(requested: list[Request]) -> int:
    return sum(request.resource_type == "eventsource" for request in requested)


def test_the_page_shows_a_file_that_is_made_changed_and_deleted_on_disk(page: Page, folder: Path) -> None:
    newest = page.locator("#files li").first
    file = folder / "notes.md"
    file.write_text("first")
    expect(newest).to_contain_text("created")
    expect(newest).to_contain_text("notes.md")
    file.write_text("second, and longer")
    expect(newest).to_contain_text("updated")
    expect(newest).to_contain_text("18 B")
    file.unlink()
    expect(newest).to_contain_text("deleted")


def test_the_button_writes_a_file_that_the_page_then_shows(page: Page, folder: Path) -> None:
    page.get_by_role("button", name="Write a file").click()
    expect(page.locator("#files")).to_contain_text("tailrace-demo-1.txt")
    assert (folder / "tailrace-demo-1.txt").exists()


def test_a_file_name_is_shown_as_text_and_never_as_markup(page: Page, folder: Path) -> None:
    (folder / "<img src=x onerror=alert(1)>").write_text("")
    expect(page.locator("#files")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("#files img").count() == 0


def test_the_long_job_reaches_its_end_stage_by_stage(page: Page) -> None:
    bar = page.get_by_role("progressbar")
    expect(page.locator("#message")).to_have_text("Completed.")
    expect(bar).to_have_attribute("aria-valuenow", "100")
    expect(bar).to_have_attribute("aria-valuetext", "completed, 100 %")
    assert page.locator("#stages .done").all_inner_texts() == ["list", "hash", "summarise"]
    files = [file for file in Path(json.__file__).parent.rglob("*") if file.is_file()]
    expect(page.locator("#result div").first).to_contain_text(str(len(files)))


def test_a_job_that_cannot_tell_how_far_it_is_says_what_it_does(page: Page) -> None:
    expect(page.locator("#message")).to_have_text("Completed.")
    page.evaluate("""() => {
        job.started({ stages: ["list"] }, "made up");
        job.progress({ stage_index: 0, percent: null, message: "7 files found" }, "made up");
        draw();
    }""")
    bar = page.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuetext", "list, 7 files found")
    assert bar.get_attribute("aria-valuenow") is None


def test_a_job_that_fails_says_why(page: Page) -> None:
    expect(page.locator("#message")).to_have_text("Completed.")
    page.evaluate("""() => {
        job.started({ stages: ["list"] }, "made up");
        job.failed({ code: "cancelled", message: "The work was cancelled." }, "made up");
        draw();
    }""")
    expect(page.locator("#message")).to_have_text("Failed (cancelled). The work was cancelled.")
    expect(page.get_by_role("button", name="Hash again")).to_be_enabled()


def test_the_job_can_be_started_again_from_the_page(page: Page, server: Running) -> None:
    expect(page.locator("#message")).to_have_text("Completed.")
    jobs = f"{server.url}/api/v1/topics?pattern=jobs/**"
    before = len(httpx2.get(jobs).json()["topics"])
    with page.expect_response("**/demo/hash") as answer:
        page.get_by_role("button", name="Hash again").click()
    assert answer.value.status == 202
    expect(page.locator("#message")).to_have_text("Completed.")
    assert len(httpx2.get(jobs).json()["topics"]) == before + 1


def test_the_text_arrives_whole_and_then_nobody_types_any_more(page: Page) -> None:
    expect(page.locator("#typing")).to_be_hidden()
    assert page.locator("#words").text_content() == jobs.zen()
    expect(page.locator("#text-name")).to_have_text("The Zen of Python")


def test_someone_is_seen_typing_while_a_text_arrives(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    expect(page.locator("#typing")).to_be_hidden()
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "WORD_SECONDS", 0.2)
        page.get_by_role("button", name="Read again").click()
        expect(page.locator("#typing")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("The text is complete.")
    expect(page.locator("#typing")).to_be_hidden()


def test_three_drops_lose_nothing_and_double_nothing(page: Page, server: Running) -> None:
    for drop in (1, 2, 3):
        page.get_by_role("button", name="Drop my connection").click()
        expect(page.locator("#state")).to_contain_text("Reconnecting")
        expect(page.locator("#drops")).to_have_text(str(drop))
        expect(page.locator("#state")).to_have_text("Live")
    wait_received(page, ticks_published(server))
    assert number(page, "missing") == 0
    assert number(page, "doubled") == 0
    assert number(page, "disordered") == 0
    assert number(page, "replayed") >= 3, "each drop is longer than a tick"
    expect(page.get_by_role("status")).to_have_text("Connected again.")


def test_the_whole_page_lives_on_one_stream_and_each_drop_makes_one_more(page: Page, requested: list[Request]) -> None:
    assert streams(requested) == 1
    page.get_by_role("button", name="Drop my connection").click()
    expect(page.locator("#drops")).to_have_text("1")
    expect(page.locator("#state")).to_have_text("Live")
    assert streams(requested) == 2


def test_nothing_comes_from_elsewhere_and_nothing_is_complained_of(
    page: Page, server: Running, requested: list[Request], complaints: list[str]
) -> None:
    assert [request.url for request in requested if not request.url.startswith(server.url)] == []
    assert complaints == []


def test_a_tick_that_is_missing_doubled_or_late_would_be_counted(page: Page) -> None:
    """The counters can fail: the page is handed ticks that no log would send."""
    late = [{"run": "made up", "n": n} for n in (1, 2, 2, 5, 4)]
    page.evaluate("(ticks) => ticks.forEach((data) => tick({ data, time: new Date().toISOString() }))", late)
    assert page.evaluate("[proof.doubled, proof.disordered, [...holes]]") == [1, 1, [3]]


def test_events_that_are_gone_are_announced(page: Page, server: Running) -> None:
    httpx2.post(f"{server.url}/api/v1/topics/files/gone/events", json={"path": "gone", "size": 1, "mtime": 0})
    httpx2.delete(f"{server.url}/api/v1/topics/files/gone")
    expect(page.locator("#gap")).to_contain_text("Some events are gone (deleted)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_its_window(page: Page, tmp_path: Path, scheme: str, width: int) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    picture = tmp_path / f"demo-{scheme}-{width}.png"
    page.screenshot(path=picture, full_page=True)
    assert picture.stat().st_size > 20_000
    assert page.evaluate("document.documentElement.scrollWidth") == width
