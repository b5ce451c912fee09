"""Clients as their packages come: openai for Node, Vercel's AI SDK, LangChain and LiteLLM in their guides'
loops; Codex and Claude Code set up as docs/clients.md says.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from tests.support.keyword_artifact import build_keyword_artifact
from tests.support.running import running, settings_for
from tests.support.tiny_artifact import CLOUD_TEXT, LOCAL_TEXT
from tests.targets.comparing import ROOT, peer, runtime

_OPENAI = """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "unused", maxRetries: 0 });
for (const content of JSON.parse(process.argv[3])) {
  const asked = { model: "auto", messages: [{ role: "user", content }] };
  const whole = await client.chat.completions.create(asked);
  let streamed = "";
  for await (const chunk of await client.chat.completions.create({ ...asked, stream: true }))
    streamed += chunk.choices[0].delta.content ?? "";
  console.log(JSON.stringify([whole.choices[0].message.content, streamed]));
}
"""

_AI_SDK = """
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
const model = createOpenAICompatible({ name: "pointsman", baseURL: process.argv[2] })("auto");
for (const prompt of JSON.parse(process.argv[3])) {
  const whole = await generateText({ model, prompt, maxRetries: 0 });
  let streamed = "";
  for await (const part of streamText({ model, prompt, maxRetries: 0 }).textStream) streamed += part;
  console.log(JSON.stringify([whole.text, streamed]));
}
"""

_LANGCHAIN = """
import json, sys
from langchain_openai import ChatOpenAI

model = ChatOpenAI(base_url=sys.argv[1], api_key="unused", model="auto", max_retries=0)
for text in json.loads(sys.argv[2]):
    print(json.dumps([model.invoke(text).content, "".join(part.content for part in model.stream(text))]))
"""

_LITELLM = """
import json, sys
from litellm import completion

asked = {"model": "openai/auto", "api_base": sys.argv[1], "api_key": "unused", "num_retries": 0}
for text in json.loads(sys.argv[2]):
    asked["messages"] = [{"role": "user", "content": text}]
    whole = completion(**asked).choices[0].message.content
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in completion(**asked, stream=True))
    print(json.dumps([whole, streamed]))
"""

_IN_PYTHON = {"langchain": ("venv-langchain", _LANGCHAIN), "litellm": ("venv-litellm", _LITELLM)}
TEXTS = {LOCAL_TEXT: "local", CLOUD_TEXT: "cloud"}


def node(script: str, *arguments: str) -> str:
    modules = runtime("npm-clients", "node_modules")
    # A module finds its packages beside itself, so it stands where they are.
    program = modules.parent / "client.mjs"
    program.write_text(script, encoding="utf-8")
    done = subprocess.run(["node", program, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("client", ["openai-node", "ai-sdk", *_IN_PYTHON])
def test_it_chats_whole_and_streamed_with_both_targets(client: str, tmp_path: Path) -> None:
    artifact = build_keyword_artifact(tmp_path / "router").path
    with running(settings_for(artifact, demo=True)) as gateway:
        arguments = (f"http://127.0.0.1:{gateway.port}/v1", json.dumps(list(TEXTS)))
        if client in _IN_PYTHON:
            printed = peer(*_IN_PYTHON[client], *arguments)
        else:
            printed = node(_OPENAI if client == "openai-node" else _AI_SDK, *arguments)
    for (text, target), line in zip(TEXTS.items(), printed.splitlines(), strict=True):
        expected = f"This is the {target} demo model. You said: {text}"
        assert json.loads(line) == [expected, expected]


@pytest.mark.parametrize(("text", "target"), TEXTS.items())
@pytest.mark.parametrize("agent", ["claude", "codex"])
def test_an_agent_gets_its_answer(agent: str, text: str, target: str, tmp_path: Path) -> None:
    program = runtime("npm-agents", "node_modules", ".bin", agent)
    page = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    recipe = re.search(r"```toml\n(# ~/.codex/config.toml\n.*?)```", page, re.DOTALL)
    assert recipe is not None
    artifact = build_keyword_artifact(tmp_path / "router").path
    with running(settings_for(artifact, demo=True)) as gateway:
        address = f"http://127.0.0.1:{gateway.port}"
        (tmp_path / "config.toml").write_text(
            recipe[1].replace("http://127.0.0.1:8000", address), encoding="utf-8"
        )
        environment = {
            **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
            "HOME": str(tmp_path),
            "CODEX_HOME": str(tmp_path),
            "POINTSMAN_KEY": "unused",
            "ANTHROPIC_BASE_URL": address,
            "ANTHROPIC_AUTH_TOKEN": "unused",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            # Nothing but the gateway can be reached.
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": "127.0.0.1",
        }
        command = {"claude": ["-p", text], "codex": ["exec", "--skip-git-repo-check", text]}[agent]
        done = subprocess.run(
            [program, *command],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert f"This is the {target} demo model" in done.stdout, (done.stdout + done.stderr)[-3000:]
