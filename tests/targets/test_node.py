"""The node target in Node, with the real @huggingface/transformers, against Python."""

import json
import shutil
import subprocess

import pytest
from tests.targets.conftest import INT8_WITHIN, compare, runtime

_DRIVER = """
import { readFileSync, writeFileSync } from "node:fs";
import { openRouter } from "./index.mjs";
const [dtype, input, output] = process.argv.slice(2);
const router = await openRouter({ dtype });
const found = [];
const texts = JSON.parse(readFileSync(input, "utf8"));
await router.route(texts[0]);
const start = performance.now();
for (const text of texts) found.push(await router.route(text));
const milliseconds = (performance.now() - start) / texts.length;
writeFileSync(output, JSON.stringify({ found, milliseconds }));
"""

HOSTILE = [
    "",
    "   ",
    "\x00\x07",
    "a" * 3000,
    "𝒳𝒴 𝓏" * 900,
    "\U0001f600" * 50,
    "é" * 200,
    "東京へ行く",
    "x\u200by",
    "ﬁ ½ Ⅷ",
]


def run_node(folder, dtype, texts, tmp_path):
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    modules = folder / "node_modules"
    if not modules.exists():
        modules.symlink_to(runtime("npm", "node_modules"))
    (folder / "driver.mjs").write_text(_DRIVER)
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    command = [
        "node",
        "--preserve-symlinks",
        "driver.mjs",
        dtype,
        tmp_path / "texts.json",
        tmp_path / "out.json",
    ]
    subprocess.run(command, cwd=folder, check=True, timeout=300)
    return json.loads((tmp_path / "out.json").read_text())


def test_fp32_answers_as_python(packaged, texts, plain, tmp_path):
    out = run_node(packaged("node"), "fp32", texts, tmp_path)
    compare(texts, plain, out["found"], within=1e-3)
    print(f"fp32 in Node: {out['milliseconds']:.2f} ms a text")


def test_int8_answers_as_python(packaged, texts, int8, tmp_path):
    out = run_node(packaged("node"), "q8", texts, tmp_path)
    compare(texts, int8, out["found"], within=INT8_WITHIN)
    print(f"int8 in Node: {out['milliseconds']:.2f} ms a text")


def test_hostile_texts_answer_as_python(packaged, artifact, tmp_path):
    from pointsman.runtime.router import Router

    expected = Router.open(artifact.path, variant="plain").route_many(HOSTILE)
    out = run_node(packaged("node"), "fp32", HOSTILE, tmp_path)
    compare(HOSTILE, expected, out["found"], within=1e-3)
    assert [one["truncated"] for one in out["found"]] == [one.truncated for one in expected]
    assert [one["reason"] for one in out["found"]] == [str(one.reason) for one in expected]
