"""The session monitor, as who watches it sees it: a real server, a real feeder, a real Chromium."""

from __future__ import annotations

import datetime as dt
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.examples.monitoring import (
    STREAM,
    Feeding,
    Serving,
    folded,
    launched,
    numbers_of,
    served_page,
    story,
    wait_for,
)

from tailrace.testing import Buffer, Faults

pytestmark = pytest.mark.browser

CHANGES = 60
LISTEN = 'window.shown = []; document.addEventListener("session", (event) => shown.push(event.detail))'
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launched(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with served_page() as origin:
        yield origin


@pytest.fixture
def server(tmp_path: Path, origin: str) -> Iterator[Serving]:
    server = Serving(f"sqlite:///{tmp_path}/log.db", origin)
    yield server
    server.stop()


@pytest.fixture
def complaints() -> list[str]:
    """What went wrong in the page's script."""
    return []


@pytest.fixture
def page(browser: Browser, complaints: list[str]) -> Iterator[Page]:
    """A page that remembers in `shown` each change that it has shown."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.add_init_script(LISTEN)
    yield page
    page.close()


def watch(page: Page, origin: str, stream: str) -> None:
    page.goto(f"{origin}/?stream={stream}")


def shown(page: Page) -> list[int]:
    """The numbers of the changes that the page has shown, in the order in which it did."""
    return [int(number) for number in page.evaluate("shown.map((change) => change.txid)")]


def wait_shown(page: Page, changes: int) -> None:
    page.wait_for_function(f"shown.length >= {changes}", timeout=30_000)


def cards(page: Page) -> dict[str, dict[str, str]]:
    """The sessions that stand on the page."""
    found: dict[str, dict[str, str]] = page.evaluate("""() => Object.fromEntries(
        [...document.querySelectorAll(".session")].map((card) => [card.id, {
            title: card.querySelector("h3").textContent,
            state: card.dataset.state,
            line: card.querySelector(".line").textContent,
        }]))""")
    return found


def assert_true(page: Page, changes: int = CHANGES) -> None:
    """Each change was shown once and in order, and what stands on the page is the feeder's truth."""
    assert shown(page) == list(range(1, changes + 1))
    assert cards(page) == folded(story(changes))


def kinds(page: Page) -> dict[str, int]:
    found: dict[str, int] = page.evaluate(
        "shown.reduce((kinds, { kind }) => ({ ...kinds, [kind]: (kinds[kind] ?? 0) + 1 }), {})"
    )
    return found


def expected_kinds() -> dict[str, int]:
    """What the story's changes mean, told from the story alone."""
    found: dict[str, int] = {}
    states: dict[str, str] = {}
    for change in story(CHANGES):
        before, after = states.get(change["key"]), change.get("value", {}).get("state")
        match before, after:
            case _, None:
                kind = "gone"
            case None, _:
                kind = "started"
            case _, "needs-approval":
                kind = "needs-approval"
            case "working", "waiting":
                kind = "waiting"
            case _, "done":
                kind = "done"
            case _:
                kind = "update" if before == after else "other"
        found[kind] = found.get(kind, 0) + 1
        states[change["key"]] = after
        if after is None:
            del states[change["key"]]
    return found


def first(kind: str) -> dict[str, Any]:
    """The story's first change to a state."""
    return next(change for change in story(CHANGES) if change.get("value", {}).get("state") == kind)


# ---- what is shown ------------------------------------------------------------------------------------------


def test_the_transitions_that_matter_are_told(page: Page, origin: str, server: Serving) -> None:
    """Those of sessions that need approval, that wait after work, and that go on as they were."""
    watch(page, origin, server.url)
    Feeding("supervise.py", server.url, changes=CHANGES).end()
    wait_shown(page, CHANGES)
    assert_true(page)
    assert kinds(page) == expected_kinds()
    assert {"needs-approval", "waiting", "update"} < set(expected_kinds())


@pytest.mark.parametrize(
    ("state", "words"), [("needs-approval", "Needs approval"), ("waiting", "Working → waiting"), ("working", "Update")]
)
def test_a_transition_is_seen_on_its_card_and_among_what_happened(
    page: Page, origin: str, server: Serving, state: str, words: str
) -> None:
    changes = story(CHANGES)
    number = next(
        number
        for number, change in enumerate(changes, 1)
        if change.get("value", {}).get("state") == state
        and (state != "working" or folded(changes[: number - 1])[change["key"]]["state"] == "working")
    )
    Feeding("feeder.py", server.url, changes=number).end()
    watch(page, origin, server.url)
    card = page.locator(f"#{changes[number - 1]['key']}")
    expect(card.locator(".badge")).to_have_text(state.replace("-", " "))
    expect(card.locator(".last")).to_contain_text(words)
    newest = page.locator("#happened li").first
    expect(newest).to_contain_text(words)
    expect(newest).to_contain_text(changes[number - 1]["value"]["line"])


def test_who_needs_approval_stands_above_all_and_in_the_title_until_it_is_given(
    page: Page, origin: str, server: Serving
) -> None:
    asked = first("needs-approval")
    number = int(asked["headers"]["txid"])
    answered = next(
        int(change["headers"]["txid"]) for change in story(CHANGES)[number:] if change["key"] == asked["key"]
    )
    Feeding("feeder.py", server.url, changes=number).end()
    watch(page, origin, server.url)
    expect(page.locator("#approvals li")).to_have_text(f"{asked['value']['title']}: {asked['value']['line']}")
    expect(page).to_have_title("(1) Agent sessions")
    Feeding("feeder.py", server.url, changes=answered).end()
    expect(page.locator("#approvals")).not_to_contain_text(asked["value"]["title"])


def test_the_page_says_how_old_the_newest_event_is_and_when_that_is_too_long(
    page: Page, origin: str, server: Serving
) -> None:
    Feeding("feeder.py", server.url, changes=10).end()
    newest = dt.datetime.fromisoformat(server.changes()[-1]["headers"]["timestamp"])
    page.clock.set_fixed_time(newest + dt.timedelta(seconds=1))
    watch(page, origin, server.url)
    age = page.locator("#age")
    expect(age).to_have_text("Newest event just now")
    page.clock.set_fixed_time(newest + dt.timedelta(seconds=20))
    expect(age).to_have_text("Newest event 20 s ago")
    assert age.get_attribute("data-old") is None
    page.clock.set_fixed_time(newest + dt.timedelta(seconds=40))
    expect(age).to_have_attribute("data-old", "")


def test_what_makes_no_sense_in_the_stream_is_passed_over(
    page: Page, origin: str, server: Serving, complaints: list[str]
) -> None:
    Feeding("feeder.py", server.url, changes=30).end()
    watch(page, origin, server.url)
    wait_shown(page, 30)
    nonsense = '[null, 7, "x", {}, {"type": "session"}, {"type": "session", "key": "k", "headers": {}}]'
    headers = {"content-type": "application/json"}
    assert httpx2.post(server.url, content=nonsense, headers=headers).status_code == 204
    hostile = '{"type":"session","key":"h","value":{"title":"<img src=x>","state":"idle","line":"<b>"},'
    hostile += '"headers":{"operation":"insert","txid":"0"}}'
    assert httpx2.post(server.url, content=hostile, headers=headers).status_code == 204
    expect(page.locator("#h h3")).to_have_text("<img src=x>")
    assert page.locator("#sessions img, #sessions b").count() == 0
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_its_window(
    page: Page, origin: str, server: Serving, scheme: str, width: int, tmp_path: Path
) -> None:
    Feeding("feeder.py", server.url, changes=36).end()
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of two words
    page.set_viewport_size({"width": width, "height": 900})
    watch(page, origin, server.url)
    wait_shown(page, 36)
    picture = tmp_path / f"monitor-{scheme}-{width}.png"
    page.screenshot(path=picture, full_page=True)
    assert picture.stat().st_size > 20_000
    assert page.evaluate("document.documentElement.scrollWidth") == width


# ---- what may happen ----------------------------------------------------------------------------------------


def test_a_killed_feeder_shows_on_the_page_only_as_one_that_started_again(
    page: Page, origin: str, server: Serving, complaints: list[str]
) -> None:
    watch(page, origin, server.url)
    supervisor = Feeding("supervise.py", server.url, pause=0.02, changes=CHANGES)
    wait_shown(page, 10)
    supervisor.kill_feeder(1)
    supervisor.kill_feeder(2)
    wait_shown(page, CHANGES)
    assert supervisor.end() == 0
    assert_true(page)
    expect(page.locator("#feeder")).to_have_text("Feeder started 3 times")
    assert complaints == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_the_page_goes_on_by_itself_after_the_server_was_away(
    page: Page, origin: str, server: Serving, complaints: list[str], number: signal.Signals
) -> None:
    watch(page, origin, server.url)
    supervisor = Feeding("supervise.py", server.url, pause=0.02, changes=CHANGES)
    wait_shown(page, 10)
    server.stop(number)
    expect(page.locator("#link")).to_have_attribute("data-state", "lost")
    server.start()
    wait_shown(page, CHANGES)
    assert supervisor.end() == 0
    assert_true(page)
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    assert complaints == []


def test_a_server_that_is_away_for_long_is_found_again(page: Page, origin: str, server: Serving) -> None:
    """So long that the page has given its stream up, and polls have failed too."""
    Feeding("feeder.py", server.url, changes=10).end()
    watch(page, origin, server.url)
    wait_shown(page, 10)
    server.stop()
    expect(page.locator("#link")).to_contain_text("The server is away")
    server.start()
    Feeding("feeder.py", server.url, changes=CHANGES).end()
    wait_shown(page, CHANGES)
    assert_true(page)


def test_a_page_that_is_opened_before_there_is_a_stream_waits_for_it(page: Page, origin: str, server: Serving) -> None:
    watch(page, origin, server.url)
    expect(page.locator("#link")).to_contain_text("The stream is not there yet")
    Feeding("feeder.py", server.url, changes=10).end()
    wait_shown(page, 10)
    expect(page.locator("#link")).to_have_text("Live")


def test_a_proxy_that_holds_streams_back_makes_the_page_poll_and_nothing_is_missed(
    page: Page, origin: str, server: Serving
) -> None:
    with Faults(server.origin) as proxy:
        proxy.set(Buffer())
        watch(page, origin, f"{proxy.url}{STREAM}")
        supervisor = Feeding("supervise.py", server.url, pause=0.1, changes=CHANGES)
        expect(page.locator("#link")).to_have_text("Live, by polling")
        wait_shown(page, CHANGES)
        assert supervisor.end() == 0
        assert_true(page)


def test_a_page_that_polls_goes_back_to_streams_when_they_get_through(page: Page, origin: str, server: Serving) -> None:
    streams = "**/*live=sse*"
    page.clock.install()
    page.route(streams, lambda route: route.abort())
    Feeding("feeder.py", server.url, changes=10).end()
    watch(page, origin, server.url)
    link = page.locator("#link")
    wait_for(lambda: page.clock.run_for(1_000) or shown(page), "the first poll")
    page.unroute(streams)
    supervisor = Feeding("supervise.py", server.url, pause=0.05, changes=CHANGES)
    wait_for(lambda: page.clock.run_for(1_000) or link.inner_text() == "Live", "the stream")
    assert supervisor.end() == 0
    wait_shown(page, CHANGES)
    assert_true(page)


def test_a_stream_that_is_closed_is_followed_no_more(page: Page, origin: str, server: Serving) -> None:
    Feeding("feeder.py", server.url, changes=10).end()
    watch(page, origin, server.url)
    wait_shown(page, 10)
    assert httpx2.post(server.url, headers={"stream-closed": "true"}).status_code == 204
    expect(page.locator("#link")).to_have_text("The stream is closed")
    assert numbers_of(server.changes()) == shown(page)
