"""The pytest plugin, as its users meet it: new test files, run by a pytest of their own."""

from __future__ import annotations

import os
import re
import textwrap
import tomllib
from pathlib import Path

import pytest

import tailrace

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
RUN_SECONDS = 100.0
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "testing.md").read_text(), re.DOTALL)
ALONE = [part for name in ("cacheprovider", "schemathesis", "hypothesispytest") for part in ("-p", f"no:{name}")]
"""Without plugins that only take time to load."""
STREAM = "{tailrace_server.api}/events/stream?topics=a"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder of somebody else's tests, where the package is installed with the entry points it declares."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    installed = pytester.path / "site" / "tailrace_here-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: tailrace-here\nVersion: 0\n")
    (installed / "entry_points.txt").write_text(
        "\n".join(["[pytest11]", *[f"{name} = {module}" for name, module in declared.items()], ""])
    )
    source = Path(tailrace.__file__).parent.parent
    path = [str(installed.parent), str(source), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini(
        "[pytest]\nfilterwarnings =\n  error\n  ignore:The configuration option:pytest.PytestDeprecationWarning\n"
    )
    return pytester


def ran(project: pytest.Pytester, test: str, *options: str) -> pytest.RunResult:
    project.makepyfile(test_it=textwrap.dedent(test))
    return project.runpytest_subprocess(*ALONE, *options, timeout=RUN_SECONDS)


# ---- the documentation --------------------------------------------------------------------------------------


def test_the_examples_of_the_documentation_pass(project: pytest.Pytester) -> None:
    assert len(BLOCKS) >= 6
    project.makepyfile(**{f"test_block_{number}": block for number, block in enumerate(BLOCKS)})
    result = project.runpytest_subprocess(*ALONE, timeout=RUN_SECONDS)
    result.assert_outcomes(passed=len(re.findall(r"^(?:async )?def test_", "\n".join(BLOCKS), re.MULTILINE)))


def test_the_documentation_names_every_fixture_and_fault() -> None:
    from tailrace.testing import faults, plugin

    page = (ROOT / "docs" / "testing.md").read_text()
    fixtures = [name for name in vars(plugin) if name.startswith("tailrace_")]
    kinds = [one.__name__ for one in vars(faults).values() if isinstance(one, type) and one.__base__ is faults.Fault]
    assert len(fixtures) == 5
    assert len(kinds) == 8
    assert [name for name in (*fixtures, *kinds) if f"`{name}" not in page] == []


# ---- what it costs ------------------------------------------------------------------------------------------


def test_loading_the_plugin_loads_nothing_else(project: pytest.Pytester) -> None:
    result = ran(
        project,
        """
        import sys

        def test_nothing_is_loaded():
            loaded = {name for name in sys.modules if name.startswith("tailrace")}
            assert loaded == {"tailrace", "tailrace.testing", "tailrace.testing.plugin"}
            assert not {"uvicorn", "starlette", "msgspec", "hypothesis"} & sys.modules.keys()
        """,
        *("-p", "no:anyio"),
    )
    result.assert_outcomes(passed=1)


# ---- the fixtures -------------------------------------------------------------------------------------------


def test_each_test_has_its_own_empty_log(project: pytest.Pytester) -> None:
    result = ran(
        project,
        """
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_it(tailrace_server, number):
            assert tailrace_server.events() == []
            tailrace_server.publish("a", number)
            assert [event.json() for event in tailrace_server.events("a")] == [number]
        """,
    )
    result.assert_outcomes(passed=2)


def test_the_clock_is_that_of_all_servers_of_the_test(project: pytest.Pytester) -> None:
    result = ran(
        project,
        """
        from datetime import UTC, datetime

        def test_it(tailrace_server, tailrace_server_factory, tailrace_clock):
            tailrace_clock.set(datetime(2040, 1, 1, tzinfo=UTC))
            for server in (tailrace_server, tailrace_server_factory(sqlite=True)):
                server.publish("a", 1)
                assert server.events()[0].moment.year == 2040
        """,
    )
    result.assert_outcomes(passed=1)


def test_a_failure_tells_the_seed_and_the_seed_has_the_same_drawn_again(project: pytest.Pytester) -> None:
    test = """
        import httpx2
        from tailrace.testing import Drop

        def test_it(tailrace_faults):
            tailrace_faults.set(Drop(after_bytes=(0, 10**9)))
            armed = tailrace_faults._plan.armed[0].fault
            raise ValueError(f"drew {tailrace_faults._plan.drawn(armed.after_bytes)}")
        """
    first = ran(project, test)
    first.assert_outcomes(failed=1)
    [seed] = set(re.findall(r"pytest --tailrace-seed=(\d+)", first.stdout.str()))
    again = ran(project, test, f"--tailrace-seed={seed}")
    assert re.findall(r"drew \d+", first.stdout.str()) == re.findall(r"drew \d+", again.stdout.str())


@pytest.mark.parametrize(
    ("plugin", "mark", "options"),
    [("anyio", "anyio", ()), ("pytest_asyncio", "asyncio", ("-p", "no:anyio")), ("pytest_asyncio", "asyncio", ())],
)
def test_it_works_in_async_tests(project: pytest.Pytester, plugin: str, mark: str, options: tuple[str, ...]) -> None:
    pytest.importorskip(plugin)
    result = ran(
        project,
        f"""
        import asyncio
        import httpx2
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.{mark}
        async def test_a_task_is_left_running(tailrace_server, tailrace_faults):
            async def read():
                async with httpx2.AsyncClient(timeout=30) as http:
                    async with http.stream("GET", f"{{tailrace_faults.url}}/api/v1/events/stream?topics=a") as answer:
                        async for line in answer.aiter_lines():
                            if line == "data: 1":
                                came.set()

            came = asyncio.Event()
            tasks.append(asyncio.create_task(read()))
            await asyncio.to_thread(tailrace_server.wait_streams, 1)
            tailrace_server.publish("a", 1)
            await asyncio.wait_for(came.wait(), 10)

        tasks = []
        """,
        *options,
    )
    result.assert_outcomes(passed=1)


def test_each_worker_of_xdist_has_its_own_server(project: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    result = ran(
        project,
        """
        import pytest

        @pytest.mark.parametrize("number", range(6))
        def test_it(tailrace_server, number):
            tailrace_server.publish("a", number)
            assert [event.json() for event in tailrace_server.events("a")] == [number]
        """,
        *("-n", "2"),
    )
    result.assert_outcomes(passed=6)


# ---- the end of streams -------------------------------------------------------------------------------------


def test_readers_that_a_test_has_left_end_with_it(project: pytest.Pytester) -> None:
    result = ran(
        project,
        f"""
        import subprocess
        import threading
        import time

        import httpx2
        import pytest

        left = {{}}

        def read_for_ever(url):
            with httpx2.stream("GET", url) as answer:
                for line in answer.iter_lines():
                    pass

        def read_as_a_browser_does(url):
            headers = {{}}
            while True:
                with httpx2.stream("GET", url, headers=headers) as answer:
                    if answer.status_code == 204:
                        return
                    for line in answer.iter_lines():
                        if line.startswith("id: "):
                            headers["last-event-id"] = line[4:]
                        if line.startswith("retry: "):
                            retry = int(line[7:]) / 1000
                time.sleep(retry)

        @pytest.mark.parametrize("read", [read_for_ever, read_as_a_browser_does])
        @pytest.mark.parametrize("through", ["tailrace_server", "tailrace_faults"])
        def test_a_thread_is_left(tailrace_server, request, through, read):
            url = request.getfixturevalue(through).url + "/api/v1/events/stream?topics=a"
            left[read, through] = threading.Thread(target=read, args=[url])
            left[read, through].start()
            tailrace_server.wait_streams(1)

        def test_curl_is_left(tailrace_server):
            left["curl"] = subprocess.Popen(["curl", "-sN", f"{STREAM}"], stdout=subprocess.DEVNULL)
            tailrace_server.wait_streams(1)

        def test_they_have_ended():
            assert len(left) == 5
            assert left.pop("curl").wait(5) == 0
            for name, thread in left.items():
                thread.join(5)
                assert not thread.is_alive(), name
        """,
    )
    result.assert_outcomes(passed=6)


def test_a_reader_that_does_not_take_its_end_fails_the_test_by_name(project: pytest.Pytester) -> None:
    result = ran(
        project,
        """
        import socket
        import httpx2

        kept = []

        def test_it(tailrace_server):
            stalled = socket.socket()
            kept.append(stalled)
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stalled.connect(("127.0.0.1", httpx2.URL(tailrace_server.url).port))
            stalled.sendall(b"GET /api/v1/events/stream?topics=a,b/* HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n")
            tailrace_server.wait_streams(1)
            for _ in range(20):
                tailrace_server.publish("a", b"x" * 200_000)

        def test_another():
            kept.pop().close()
        """,
    )
    result.assert_outcomes(passed=2, errors=1)
    assert re.search(
        r"Streams whose readers did not take their end were cut:\n.* {2}[\w-]{16} of a, b/\*", result.stdout.str()
    )


def test_a_server_that_the_test_has_stopped_is_left_alone(project: pytest.Pytester) -> None:
    result = ran(
        project,
        """
        def test_it(tailrace_server, tailrace_faults):
            tailrace_server.stop()
        """,
    )
    result.assert_outcomes(passed=1)


# ---- the client ---------------------------------------------------------------------------------------------


def test_the_client_is_of_the_server_or_of_the_proxy_before_it(project: pytest.Pytester) -> None:
    result = ran(
        project,
        """
        import asyncio

        async def publish(client):
            async with client:
                await client.publish("a", 1)

        def test_of_the_server(tailrace_client, tailrace_server):
            asyncio.run(publish(tailrace_client))
            assert len(tailrace_server.events()) == 1

        def test_of_the_proxy(tailrace_client, tailrace_faults, tailrace_server):
            asyncio.run(publish(tailrace_client))
            assert len(tailrace_server.events()) == 1
            assert tailrace_faults.statistics().requests == 1
        """,
    )
    result.assert_outcomes(passed=2)


# ---- names --------------------------------------------------------------------------------------------------


def test_every_public_name_exists_and_is_explained() -> None:
    from tailrace import testing

    assert dir(testing) == sorted(testing.__all__)
    for name in testing.__all__:
        assert getattr(testing, name).__doc__, name
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        testing.Nothing  # noqa: B018 - the look-up is what is tested
