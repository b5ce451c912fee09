"""The node target in Node, with the real @huggingface/transformers, against Python."""

import json
import shutil
import subprocess

import pytest
from tests.targets.comparing import INT8_WITHIN, compare, runtime

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

_PROGRAM = """
import { openRouter, type Decision } from "MODULE";
const one: Decision = await (await openRouter({ safeTarget: "local" })).route("hello");
export const p: number = one.pCloud;
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
    compare("fp32 in Node, transformers.js", texts, plain, out["found"], 1e-3, out["milliseconds"])


def test_int8_answers_as_python(packaged, texts, int8, tmp_path):
    out = run_node(packaged("node"), "q8", texts, tmp_path)
    compare("int8 in Node, transformers.js", texts, int8, out["found"], INT8_WITHIN, out["milliseconds"])


def test_the_folder_packs_whole_and_its_types_hold(packaged):
    folder = packaged("node")
    packed = subprocess.run(
        ["npm", "pack", "--dry-run", "--json"], cwd=folder, capture_output=True, text=True, check=True
    )
    names = {file["path"] for file in json.loads(packed.stdout)[0]["files"]}
    scripts = {"index.mjs", "index.d.mts", "decision.mjs", "decision.d.mts", "package.json", "README.md"}
    assert scripts | {"models/router/tokenizer.json", "models/router/onnx/model_quantized.onnx"} <= names
    assert not [name for name in names if name.startswith(("node_modules", "driver", "example"))]
    check_types(folder, "./index.mjs")


def check_types(folder, module):
    """A program in TypeScript compiles against the folder's types, and one that misuses them does not."""
    compiler = runtime("npm", "node_modules", "typescript", "bin", "tsc")
    flags = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022"]
    good = _PROGRAM.replace("MODULE", module)
    for text, code in ((good, 0), (good.replace('"local"', '"nowhere"'), 2)):
        (folder / "use.mts").write_text(text)
        done = subprocess.run(
            ["node", compiler, *flags, "use.mts"], cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == code, done.stdout
    (folder / "use.mts").unlink()


def test_hostile_texts_answer_as_python(packaged, artifact, tmp_path):
    from pointsman.runtime.router import Router

    expected = Router.open(artifact.path, variant="plain").route_many(HOSTILE)
    out = run_node(packaged("node"), "fp32", HOSTILE, tmp_path)
    compare("fp32 in Node, hostile texts", HOSTILE, expected, out["found"], within=1e-3)
    assert [one["truncated"] for one in out["found"]] == [one.truncated for one in expected]
    assert [one["reason"] for one in out["found"]] == [str(one.reason) for one in expected]
