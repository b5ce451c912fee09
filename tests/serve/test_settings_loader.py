"""Where settings are said, who wins, and what is shown of secrets."""

from pathlib import Path

import pytest

from pointsman.errors import SettingsError
from pointsman.serve.edge.keys import hashed_line, load_access
from pointsman.serve.routing.request_text import RequestText
from pointsman.serve.routing.rules import compile_rules, first_match
from pointsman.serve.settings import AuthSettings
from pointsman.serve.settings_loader import load_settings, masked
from pointsman.serve.upstream.headers import read_key
from pointsman.serve.upstream.transport import HttpTransport
from pointsman.serve.upstream_settings import UpstreamSettings

FILE = """
[server]
port = 9100
workers = 2

[upstreams.cloud]
url = "https://my-resource.openai.azure.com"
api = "azure"
model = "gpt-4o-eu"
api_key = "file-key-5d3f1a9e7b"

[routing]
fallback = ["local-to-cloud"]

[[routing.rules]]
name = "private"
send = "local-only"
keywords = ["payroll"]

[auth]
keys = ["0d9f8e7c6b5a49382716f5e4d3c2b1a0"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_one_file_says_everything(file: Path) -> None:
    settings = load_settings({}, file, {})
    assert (settings.server.port, settings.server.workers) == (9100, 2)
    assert settings.routing.rules[0].keywords == ("payroll",)
    cloud = settings.upstreams.cloud
    assert cloud is not None and read_key(cloud, "cloud") == "file-key-5d3f1a9e7b"


def test_a_flag_wins_over_the_environment_over_the_file(file: Path) -> None:
    environ = {"POINTSMAN_SERVER__PORT": "9200", "POINTSMAN_SERVER__WORKERS": "3"}
    settings = load_settings({"server": {"port": "9300", "host": None}}, file, environ)
    assert (settings.server.port, settings.server.workers) == (9300, 3)


def test_no_secret_is_printed(file: Path) -> None:
    environ = {"POINTSMAN_AUTH__ADMIN_KEYS": '["admin-0d9f8e7c6b5a49382716f5e4d3c2"]'}
    shown = masked(load_settings({}, file, environ))
    for secret in ("file-key-5d3f1a9e7b", "0d9f8e7c6b5a4938", "admin-0d9f"):
        assert secret not in shown
    assert shown.count("**********") == 3
    assert 'upstreams.cloud.model = "gpt-4o-eu"' in shown


def test_an_upstreams_key_may_stand_in_a_file(file: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("from-a-file\n", encoding="utf-8")

    def found(place: Path) -> str | None:
        flags = {"upstreams": {"cloud": {"api_key_file": str(place)}}}
        cloud = load_settings(flags, file, {}).upstreams.cloud
        assert cloud is not None
        return read_key(cloud, "cloud")

    assert found(key) == "from-a-file"
    key.write_text("two\nlines\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="one line") as caught:
        found(key)
    assert "two" not in str(caught.value)
    with pytest.raises(SettingsError, match="cannot be read"):
        found(tmp_path / "nothing")


def refusal(directory: Path, text: str, said: str) -> str:
    """The error of a configuration file, which has to match."""
    path = directory / "bad.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=said) as caught:
        load_settings({}, path, {})
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nprot = 1\n", "server.port"),
        ("[server\n", "not TOML"),
        ("[server]\nport = 70000\n", "server.port"),
        ("[server]\nport = true\n", "server.port"),
        ("[server]\nport = 1\nport = 2\n", "not TOML"),
        ("[server]\nhost = true\n", "server.host"),
        ('[server]\nhistory = "a\\u0000b"\n', "server.history"),
        ('[capture]\npath = "a\\u0000b"\n', "capture.path"),
        ("[routing]\ncloud_threshold = true\n", "routing.cloud_threshold"),
        ("[routing]\ncloud_threshold = nan\n", "routing.cloud_threshold"),
        ("[limits]\nrequests_per_s = inf\n", "limits.requests_per_s"),
        ("[upstreams.cloud]\nurl = 'http://h/v1'\nprice_in = inf\n", "upstreams.cloud.price_in"),
        ('[upstreams.cloud]\nurl = "https://me:secret@host/v1"\n', "upstreams.cloud.url"),
        ('[[routing.rules]]\nname = "x"\nsend = "local"\n', "condition"),
    ],
)
def test_what_is_not_understood_is_said_by_its_key_and_never_by_its_value(
    tmp_path: Path, text: str, said: str
) -> None:
    assert "secret" not in refusal(tmp_path, text, said)


RULE = '[[routing.rules]]\nname = "a"\nsend = "local"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[server]\nport = "eight"\n', "server.port: expected a valid integer; found a text."),
        ("[server]\nport = 70000\n", "server.port: expected less than or equal to 65535; found 70000."),
        ("[inference]\nthreads = 1000000\n", "threads: expected less than or equal to 1024; found 1000000."),
        ("[limits]\nburst = -1\n", "limits.burst: expected greater than or equal to 1; found -1."),
        ("server = 1\n", "server: expected a table; found 1."),
        ("[routing]\nfallback = 'cloud-to-local'\n", "routing.fallback: expected a list; found a text."),
        (f"{RULE}keyword = ['x']\n", "0.keyword: not a setting. Did you mean routing.rules.0.keywords?"),
        (f"{RULE}tag = ''\n", "routing.rules.0.tag: "),
        (f"{RULE}min_chars = 9\nmax_chars = 5\n", "routing.rules.0: min_chars is above max_chars"),
        (f"{RULE}tag = 'x'\n{RULE}tag = 'y'\n", "routing.rules: two rules have one name"),
        ("[routing]\nhedge_after_s = 1.0\n", "routing: hedge_after_s: .*; set fallback, too"),
    ],
)
def test_an_error_says_where_what_was_expected_and_what_was_found(
    tmp_path: Path, text: str, said: str
) -> None:
    refusal(tmp_path, text, said.replace("?", r"\?"))


def test_a_file_may_begin_with_the_mark_of_its_encoding(tmp_path: Path) -> None:
    config, keys, key = (tmp_path / name for name in ("c.toml", "keys", "key"))
    config.write_text("[server]\nport = 1\n", encoding="utf-8-sig")
    keys.write_text(hashed_line("0123456789abcdef0123456789abcdef") + "\n", encoding="utf-8-sig")
    key.write_text("an-upstreams-key", encoding="utf-8-sig")
    assert load_settings({}, config, {}).server.port == 1
    assert load_access(AuthSettings(keys_file=keys)).users
    assert read_key(UpstreamSettings(url="http://x", api_key_file=key), "cloud") == "an-upstreams-key"


class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        [
            *("http://a..b", "http://.a/v1", f"http://{'a' * 64}/v1", "http://a b/v1"),
            *(
                "http://a/v 1",
                " http://a/v1",
                "http://a\tb/v1",
                "http://a\n/v1",
                "http://a%20b/v1",
                "http://\u200b/v1",
            ),
            *(
                "http://",
                "http:///v1",
                "http://:8000/v1",
                "http:a/v1",
                "//a/v1",
                "a/v1",
                "127.0.0.1:8000/v1",
                "",
            ),
            *("http://a:0/v1", "http://a:65536/v1", "http://a:99999", "http://a:-1/v1", "http://a:x/v1"),
            *(
                "http://::1:80/v1",
                "http://[::1/v1",
                "http://[::g]/v1",
                "http://1.2.3.999/v1",
                "http://a\\b/v1",
            ),
            *("ftp://a/v1", "ws://a/v1", "unix:///a", "file:///v1", "htp://a/v1", "http://http://a/v1"),
            *(
                "http://me:secret@a/v1",
                "http://secret@a/v1",
                "http://@a/v1",
                "http://a/v1?key=secret",
                "http://a/v1#x",
            ),
            *(
                "http://a/v1/chat/completions",
                "http://a/v1/completions/",
                "http://a/v1/messages",
                "http://a/v1/responses",
            ),
            "https://r.openai.azure.com/openai/deployments/x",
            *(f"http://{'a.' * 127}b/v1", "http://a/v1\x00", "http://a/v1\u2028"),
        ],
        ids=ascii,
    )
    def test_what_cannot_be_one_is_refused_at_the_start(self, url: str) -> None:
        with pytest.raises(SettingsError, match=r"upstreams\.local\.url") as refused:
            load_settings({"upstreams": {"local": {"url": url}}}, None, {})
        assert "secret" not in str(refused.value)

    @pytest.mark.parametrize(
        "url",
        [
            *("http://a", "http://a/", "http://a.b.", "http://my_service:11434/v1", "http://[::1]:8000/v1"),
            *(
                "http://127.0.0.1:65535/v1",
                "https://m\xfcnchen.de/v1",
                "https://xn--mnchen-3ya.de/v1",
                "HTTPS://A/v1",
            ),
            *(
                "https://openrouter.ai/api/v1",
                "https://api.groq.com/openai/v1",
                "https://a/compat/b-c_d~e/%7Ef",
            ),
            *(
                "https://generativelanguage.googleapis.com/v1beta/openai/",
                "https://r.services.ai.azure.com/models",
            ),
        ],
        ids=ascii,
    )
    def test_what_can_is_taken_and_a_transport_opens_for_it(self, url: str) -> None:
        local = load_settings({"upstreams": {"local": {"url": url}}}, None, {}).upstreams.local
        assert local is not None and local.url == url.rstrip("/")
        HttpTransport(local.url).close()


@pytest.mark.parametrize(
    "text",
    ['["a", NaN]', '[{"name": "a", "name": "b"}]', "[1e400]", "[" * 40 + "]" * 40, '["\\ud800"]', "[1"],
)
def test_json_of_the_environment_is_read_strictly(text: str) -> None:
    with pytest.raises(SettingsError, match="POINTSMAN_SERVER__HOSTS: starts like JSON, but is not: "):
        load_settings({}, None, {"POINTSMAN_SERVER__HOSTS": text})


class TestPatterns:
    @pytest.mark.parametrize("pattern", ["(?=a)b", "(?<!x)y", r"(a)\1", "a{1,2000}", "(", "(?P<n>"])
    def test_what_could_not_be_bounded_in_time_is_refused_at_the_start(self, pattern: str) -> None:
        rule = {"name": "one", "send": "local-only", "pattern": pattern}
        with pytest.raises(SettingsError, match="pattern: not a regular expression of RE2"):
            load_settings({"routing": {"rules": [rule]}}, None, {})

    @pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(a|a?)+$", "(.*a){20}$", r"(\w+\s?)*$"])
    def test_what_takes_a_backtracking_engine_years_takes_milliseconds(self, pattern: str) -> None:
        rule = {"name": "one", "send": "local-only", "pattern": pattern}
        (made,) = load_settings({"routing": {"rules": [rule]}}, None, {}).routing.rules
        seen = RequestText({"prompt": "a" * 100_000 + "!"}, frozenset())
        first_match(compile_rules([made]), seen)
