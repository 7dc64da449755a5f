"""Settings: where they come from, which wins, and what a mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.errors import ConfigError
from tailrace.server.config import Settings, load, settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "tailrace.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def test_nothing_given_means_the_defaults() -> None:
    assert load({}, {}) == Settings()
    assert (Settings().host, Settings().port, Settings().store) == ("127.0.0.1", 4437, "sqlite:///tailrace.db")


def test_flags_win_over_the_environment_and_that_over_the_file() -> None:
    write("port = 1\nhost = '127.0.0.1'\n[log]\npage_events = 1\ntail_events = 1\n[http]\nstreams = 1")
    chosen = load({"port": 3, "host": None}, {"TAILRACE_PORT": "2", "TAILRACE_LOG__PAGE_EVENTS": "2"})
    assert (chosen.port, chosen.log.page_events, chosen.log.tail_events, chosen.http.streams) == (3, 2, 1, 1)


def test_a_file_can_be_named_and_must_then_be_there() -> None:
    assert load({}, {}, write("port = 5", "other.toml")).port == 5
    with pytest.raises(ConfigError, match=r"missing\.toml cannot be read"):
        load({}, {}, Path("missing.toml"))


def test_keys_are_tables_and_are_not_printed() -> None:
    write('[[access.keys]]\nname = "web"\nkey = "0123456789abcdef"\nread = ["orders/*"]')
    [key] = load({}, {}).access.keys
    assert (key.name, key.key, key.read, key.publish) == ("web", "0123456789abcdef", ("orders/*",), ())
    assert "0123456789abcdef" not in repr(key)


def test_lists_in_the_environment_are_comma_separated_or_json() -> None:
    assert load({}, {"TAILRACE_ACCESS__CORS_ORIGINS": "https://a,https://b"}).access.cors_origins == (
        "https://a",
        "https://b",
    )
    assert load({}, {"TAILRACE_ACCESS__HOSTS": '["a"]'}).access.hosts == ("a",)
    keys = '[{"name": "web", "key": "0123456789abcdef"}]'
    assert load({}, {"TAILRACE_ACCESS__KEYS": keys}).access.keys[0].name == "web"


def test_what_the_client_commands_read_is_no_setting() -> None:
    assert load({}, {"TAILRACE_URL": "http://x", "TAILRACE_KEY": "y", "OTHER": "z"}) == Settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 1", "tailrace.toml: there is no setting 'prot'. Did you mean 'port'?"),
        ("[log]\npage_event = 1", "there is no setting 'log.page_event'. Did you mean 'log.page_events'?"),
        ("port = 'x'", "tailrace.toml: port cannot be 'x'"),
        ("port = 70000", "0 (any) to 65535"),
        ("[log]\npage_events = 0", "log.page_events is 0, and must be more than 0"),
        ("port = ", "is not TOML"),
        ("host = '0.0.0.0'", "there are no API keys"),
        ("host = '0.0.0.0'", "or in TAILRACE_ACCESS__KEYS"),
        ("[[access.keys]]\nname = 'a'\nkey = 'short'", "fewer than 16 characters"),
        ("[[access.keys]]\nname = 'a'\nkey = '0123456789abcdef'\nread = ['a*']", "'a': 'a*' is not a pattern"),
        ("[[access.keys]]\nname = 'a'\nkey = '0123456789abcdef'\nraed = []", "no field 'raed'. Did you mean 'read'?"),
        ("[[access.keys]]\nkey = '0123456789abcdef'", "access.keys cannot be that"),
        ("[[access.keys]]\nname = 'a'\nkey = '0123456789 abcdef'", "'a' holds a space"),
        (
            "[[access.keys]]\nname='a'\nkey='0123456789abcdef'\n[[access.keys]]\nname='b'\nkey='0123456789abcdef'",
            "The API keys 'a' and 'b' are the same",
        ),
        ("[access]\ncors_origins = ['*']", "'*' is not an origin"),
        ("[access]\ncors_origins = ['https://app.example/']", "give each one exactly"),
        ("[access]\ncors_origins = ['app.example']", "'app.example' is not an origin"),
        ("[log]\ncommit_seconds = inf", "tailrace.toml: log.commit_seconds is without end"),
        ("[log]\ncommit_seconds = nan", "must be more than 0"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(text: str, said: str) -> None:
    write(text)
    with pytest.raises(ConfigError) as caught:
        load({}, {})
    assert said in caught.value.sentence
    assert "0123456789abcdef" not in caught.value.sentence


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"TAILRACE_PROT": "1"}, "TAILRACE_PROT: there is no setting 'prot'"),
        ({"TAILRACE_INSECURE": "perhaps"}, "TAILRACE_INSECURE: insecure cannot be 'perhaps'"),
        ({"TAILRACE_ACCESS__HOSTS": "[1"}, "is not JSON"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        load({}, environ)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_keys(host: str) -> None:
    assert load({"host": host}, {}).host == host


@pytest.mark.parametrize("host", ["127.example.com", "127.0.0.1.example.com", "10.0.0.1", "::", ""])
def test_what_may_stand_for_another_machine_is_not_loopback(host: str) -> None:
    with pytest.raises(ConfigError, match="there are no API keys"):
        load({"host": host}, {})


def test_beyond_loopback_keys_or_a_plain_word_are_needed() -> None:
    assert load({"host": "0.0.0.0", "insecure": True}, {}).insecure
    write('host = "0.0.0.0"\n[[access.keys]]\nname = "a"\nkey = "0123456789abcdef"')
    assert load({}, {}).host == "0.0.0.0"


@pytest.mark.parametrize("prefix", ["/", "/streams", "/a/b/"])
def test_streams_may_be_below_any_path(prefix: str) -> None:
    assert load({"durable_streams.prefix": prefix}, {}).durable_streams.prefix == prefix


@pytest.mark.parametrize("prefix", ["", "v1/stream", "//", "/a//b", "/{a}", "/a b", "https://example.com/a", "/a\n"])
def test_what_is_no_path_is_no_place_for_streams(prefix: str) -> None:
    with pytest.raises(ConfigError, match=r"durable_streams\.prefix is"):
        load({"durable_streams.prefix": prefix}, {})


def test_event_streams_may_last_for_ever() -> None:
    assert load({"durable_streams.sse_seconds": 0}, {}).durable_streams.sse_seconds == 0
    with pytest.raises(ConfigError, match="more than 0"):
        load({"durable_streams.long_poll_seconds": 0}, {})


def test_faults_are_injected_on_loopback_alone_and_by_one_process() -> None:
    assert load({"durable_streams.faults": True}, {}).durable_streams.faults
    for more in ({"host": "0.0.0.0", "insecure": True}, {"workers": 2}):
        with pytest.raises(ConfigError, match="for tests"):
            load({"durable_streams.faults": True, **more}, {})


def test_every_setting_has_a_line_of_documentation() -> None:
    assert [one.name for one in settings() if not one.text] == []


def test_several_workers_need_a_store_that_they_can_share() -> None:
    assert load({"workers": 4}, {}).workers == 4
    with pytest.raises(ConfigError, match="4 workers cannot share memory://"):
        load({"workers": 4, "store": "memory://"}, {})
    assert load({"workers": 1, "store": "memory://"}, {}).workers == 1


def test_several_workers_need_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(ConfigError, match="need Linux: say --workers 1"):
        load({"workers": 2}, {})


def test_the_number_of_workers_has_a_bound() -> None:
    with pytest.raises(ConfigError, match="workers is 10000: 256 are the most"):
        load({"workers": 10_000}, {})
