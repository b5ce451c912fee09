"""`serve --check`: each upstream is asked for its models, and what is wrong is said with what to look at."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.fake_upstream import FakeUpstream, Wire, answer, free_port

from pointsman.errors import UpstreamError
from pointsman.serve.upstream.probe import probe
from pointsman.serve.upstream_settings import UpstreamSettings


def models(*names: str) -> bytes:
    return json.dumps({"object": "list", "data": [{"id": name} for name in names]}).encode()


def asked(url: str, **settings: object) -> str:
    return asyncio.run(probe("cloud", UpstreamSettings.model_validate({"url": url, **settings})))


def refusal(url: str, **settings: object) -> str:
    with pytest.raises(UpstreamError) as refused:
        asked(url, **settings)
    assert str(refused.value).startswith("upstreams.cloud.url: ")
    return str(refused.value)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("llama3.2", "models: 2"),
        (None, "models: 2"),
        ("qwen3", "models: 2"),
        ("lama3.2", "warning: its models are without 'lama3.2'; the nearest: llama3.2"),
        ("gpt", "warning: its models are without 'gpt'"),
    ],
)
def test_one_that_answers(cloud: FakeUpstream, model: str | None, said: str) -> None:
    cloud.script = answer(body=models("llama3.2", "qwen3:latest"))
    assert said in asked(cloud.url, model=model)
    assert cloud.seen[-1].request_line == "GET /v1/models HTTP/1.1"


@pytest.mark.parametrize(
    ("api", "line", "header"),
    [
        ("openai", "GET /v1/models HTTP/1.1", "authorization: bearer key-7"),
        ("anthropic", "GET /v1/models?limit=1000 HTTP/1.1", "x-api-key: key-7"),
        ("azure", "GET /v1/openai/models?api-version=2024-10-21 HTTP/1.1", "api-key: key-7"),
    ],
)
def test_it_is_asked_as_requests_are(cloud: FakeUpstream, api: str, line: str, header: str) -> None:
    cloud.script = answer(body=models("big"))
    assert "models: 1" in asked(cloud.url, api=api, model="big", api_key="key-7")
    assert cloud.seen[-1].request_line == line
    assert header in cloud.seen[-1].head.decode().lower()


def only_v1(wire: Wire) -> None:
    answer(*((200, models("a")) if wire.path.startswith("/v1/") else (404, b"no such page")))(wire)


def lm_studio(wire: Wire) -> None:
    answer(body=models("a") if wire.path.startswith("/v1/") else b'{"error": "Unexpected endpoint"}')(wire)


@pytest.mark.parametrize("script", [only_v1, lm_studio])
def test_an_address_without_v1_is_told_so(cloud: FakeUpstream, script: Callable[[Wire], None]) -> None:
    cloud.script = script
    url = cloud.url.removesuffix("/v1")
    assert f"lacks /v1? There is no list of models at this address, but one at {url}/v1" in refusal(url)
    assert "models: 1" in asked(cloud.url)


@pytest.mark.parametrize(
    ("status", "body", "headers", "settings", "said"),
    [
        (404, b"", "", {}, "status 404: there is no list of models at this address; is it complete?"),
        (401, b"{}", "", {}, "its key is missing; look at upstreams.cloud.api_key_env"),
        (401, b"{}", "", {"api_key": "key-7"}, "its key is refused"),
        (403, b"{}", "", {"api_key": "key-7"}, "its key is refused"),
        (301, b"", "location: https://elsewhere.example/v1\r\n", {}, "'https://elsewhere.example/v1'"),
        (200, b"<html>", "", {}, "its answer is no list of models"),
        (200, b"[" * 99_999, "", {}, "its answer is no list of models"),
        (400, b"The plain HTTP request was sent to HTTPS port", "", {}, "it wants https://"),
        (503, b"", "", {}, "status 503"),
    ],
)
def test_what_is_wrong_is_said(
    cloud: FakeUpstream, status: int, body: bytes, headers: str, settings: dict[str, str], said: str
) -> None:
    cloud.script = answer(status, body, headers)
    found = refusal(cloud.url, **settings)
    assert said in found
    assert "key-7" not in found


def test_404_without_v1_asks_whether_it_lacks_it(cloud: FakeUpstream) -> None:
    cloud.script = answer(404, b"")
    assert "lacks /v1?" in refusal(cloud.url.removesuffix("/v1"))


def test_no_connection_says_why(cloud: FakeUpstream) -> None:
    assert "Connection refused" in refusal(f"http://127.0.0.1:{free_port()}/v1")
    assert "DNS" in refusal("http://no-such-name.invalid/v1")
    cloud.script = Wire.reset
    assert "the connection broke" in refusal(cloud.url)
    cloud.script = lambda wire: wire.send(b"SSH-2.0-OpenSSH\r\n\r\n")
    assert "not HTTP/1.1" in refusal(cloud.url)


def test_tls_to_a_plain_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        async def ask() -> str:
            loop = asyncio.get_running_loop()
            plain.setblocking(False)

            async def speak_plainly() -> None:
                made, _ = await loop.sock_accept(plain)
                with made:
                    await loop.sock_sendall(made, b"HTTP/1.1 400 Bad Request\r\n\r\n")

            speaks = asyncio.create_task(speak_plainly())
            url = f"https://127.0.0.1:{plain.getsockname()[1]}/v1"
            try:
                return await probe("cloud", UpstreamSettings(url=url))
            finally:
                await speaks

        with pytest.raises(UpstreamError, match=r"TLS: .*is it http://\?"):
            asyncio.run(ask())


def test_the_command_says_it_of_each_upstream(
    artifact: Path, local: FakeUpstream, cloud: FakeUpstream
) -> None:
    local.script, cloud.script = answer(body=models("small")), answer(body=models("huge"))
    command = [sys.executable, "-m", "pointsman", "serve", "--check", "--artifact", str(artifact)]
    command += ["--local-url", local.url, "--cloud-url", cloud.url, "--cloud-model", "big"]

    def run() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, env=os.environ, capture_output=True, text=True, cwd=artifact, check=False
        )

    done = run()
    assert done.returncode == 0, done.stderr
    assert "upstreams.local: answers; models: 1" in done.stderr
    assert "upstreams.cloud: answers; warning: its models are without 'big'; the nearest: huge" in done.stderr
    local.script = cloud.script = answer(404, b"")
    done = run()
    assert done.returncode == 7
    assert "upstreams.local.url: status 404" in done.stderr
    assert "upstreams.cloud.url: status 404" in done.stderr
