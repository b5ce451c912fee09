"""LiteLLM as it is: its router asks our classifier, and its proxy calls our gateway."""

import json
import os
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from tests.support.fake_upstream import free_port
from tests.support.keyword_artifact import build_keyword_artifact
from tests.support.running import running, settings_for
from tests.support.tiny_artifact import CLOUD_TEXT, LOCAL_TEXT
from tests.targets.comparing import ROOT, peer, runtime

KEY = "sk-9f2c47d1a86b4e30b5c8f7a1d2e3946b"

_ROUTE = """
import asyncio, json, sys
sys.path.insert(0, sys.argv[3])
from litellm import Router
from pointsman.serve.litellm_plugin import PointsmanClassifier

def router(artifact):
    config = {
        "classifier_type": "custom",
        "classifier_plugin": PointsmanClassifier(artifact=artifact),
        "classifier_plugin_timeout_ms": 60000,
        "classifier_fallback": "default_model",
        "default_model": "fallback",
        "tiers": {"SIMPLE": "small", "MEDIUM": "fallback", "COMPLEX": "big"},
    }
    smart = {"model": "auto_router/complexity_router", "complexity_router_config": config}
    models = [{"model_name": "smart", "litellm_params": smart}]
    for name in ("small", "big", "fallback"):
        params = {"model": f"openai/{name}", "api_key": "x", "mock_response": name}
        models.append({"model_name": name, "litellm_params": params})
    return Router(model_list=models)

async def ask(router, content):
    answer = await router.acompletion(model="smart", messages=[{"role": "user", "content": content}])
    return answer.choices[0].message.content

async def main():
    good, bad = router(sys.argv[1]), router(sys.argv[1] + "-nowhere")
    said = [await ask(good, content) for content in json.loads(sys.argv[2])]
    print(json.dumps([*said, await ask(bad, "plan")]))

asyncio.run(main())
"""


def test_its_router_goes_where_the_classifier_says_and_else_to_its_fallback(tmp_path: Path) -> None:
    artifact = build_keyword_artifact(tmp_path / "router").path
    parts = [{"type": "text", "text": CLOUD_TEXT}]
    contents = json.dumps([LOCAL_TEXT, CLOUD_TEXT, parts, ""])
    printed = peer("venv-litellm", _ROUTE, artifact, contents, ROOT / "src")
    assert json.loads(printed.splitlines()[-1]) == ["small", "big", "big", "fallback", "fallback"]


_ASK = """
import asyncio, json, sys
from litellm import Router

config = {
    "classifier_type": "oss_classifier",
    "opensource_classifier_config": {
        "model": "router", "api_base": sys.argv[1], "api_key": "unused", "timeout_ms": 60000
    },
    "classifier_fallback": "default_model",
    "default_model": "fallback",
    "tiers": {"SIMPLE": "small", "MEDIUM": "middle", "COMPLEX": "big", "REASONING": "biggest"},
}
smart = {"model": "auto_router/complexity_router", "complexity_router_config": config}
models = [{"model_name": "smart", "litellm_params": smart}]
for name in ("small", "middle", "big", "biggest", "fallback"):
    params = {"model": f"openai/{name}", "api_key": "x", "mock_response": name}
    models.append({"model_name": name, "litellm_params": params})
router = Router(model_list=models)

async def main():
    said = []
    for messages in json.loads(sys.argv[2]):
        answer = await router.acompletion(model="smart", messages=messages)
        chunks = await router.acompletion(model="smart", messages=messages, stream=True)
        streamed = "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
        said.append([answer.choices[0].message.content, streamed])
    print(json.dumps(said))

asyncio.run(main())
"""


def test_its_complexity_router_asks_the_gateway_as_a_decision_model(tmp_path: Path) -> None:
    artifact = build_keyword_artifact(tmp_path / "router").path
    bands = {"simple": 0.25, "medium": 0.5, "complex": 0.75, "reasoning": 1.0}
    system = {"role": "system", "content": "You help with quarterly business plans and deep analysis."}
    chats = [
        [{"role": "user", "content": LOCAL_TEXT}],
        [{"role": "user", "content": CLOUD_TEXT}],
        [system, {"role": "user", "content": LOCAL_TEXT}],
    ]
    with running(settings_for(artifact, decisions={"bands": bands})) as gateway:
        address = f"http://127.0.0.1:{gateway.port}"
        printed = peer("venv-litellm", _ASK, address, json.dumps(chats))
    assert json.loads(printed.splitlines()[-1]) == [[name, name] for name in ("small", "biggest", "small")]


def test_its_proxy_streams_through_the_gateway(tmp_path: Path) -> None:
    command = runtime("venv-litellm", "bin", "litellm")
    artifact = build_keyword_artifact(tmp_path / "router").path
    port = free_port()
    with running(settings_for(artifact, demo=True)) as gateway:
        params = {
            "model": "openai/auto",
            "api_base": f"http://127.0.0.1:{gateway.port}/v1",
            "api_key": "unused",
        }
        config = tmp_path / "config.yaml"
        config.write_text(json.dumps({"model_list": [{"model_name": "auto", "litellm_params": params}]}))
        proxy = subprocess.Popen(
            [command, "--config", str(config), "--host", "127.0.0.1", "--port", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "LITELLM_MASTER_KEY": KEY,
            },
        )
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}",
                headers={"authorization": f"Bearer {KEY}"},
                timeout=60,
                trust_env=False,
            ) as http:
                _until_alive(http, proxy)
                for text, target in ((LOCAL_TEXT, "local"), (CLOUD_TEXT, "cloud")):
                    body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
                    whole = http.post("/v1/chat/completions", json=body)
                    said = whole.json()["choices"][0]["message"]["content"]
                    assert said.startswith(f"This is the {target} demo model")
                    found = http.post("/v1/chat/completions", json={**body, "stream": True})
                    lines = [line[6:] for line in found.text.splitlines() if line.startswith("data: {")]
                    deltas = [choice["delta"] for line in lines for choice in json.loads(line)["choices"]]
                    assert "".join(delta.get("content") or "" for delta in deltas) == said
        finally:
            proxy.terminate()
            proxy.wait(30)


def _until_alive(http: httpx.Client, proxy: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 180
    while True:
        try:
            if http.get("/health/liveliness").status_code == 200:
                return
        except httpx.TransportError:
            pass
        if proxy.poll() is not None or time.monotonic() > deadline:
            pytest.fail("the proxy did not start")
        time.sleep(0.5)
