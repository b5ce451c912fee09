"""The browser target in headless Chromium (WebAssembly, one thread) against Python; it asks no other host."""

import functools
import json
import shutil
import subprocess
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from benchmarks.figures import Figure
from tests.targets.comparing import FIGURES, INT8_WITHIN, compare, runtime
from tests.targets.test_node import check_types

from pointsman.runtime.router import Router
from pointsman.runtime.session import SessionConfig

TIMED, PASSES = 200, 5

_REPORT = """
const report = (body) => fetch("result", { method: "POST", body: JSON.stringify(body) });
const texts = await (await fetch("texts.json")).json();
try {
  await report(await drive());
} catch (error) {
  await report({ error: String(error.stack ?? error) });
}
"""

_ROUTER = """
import { openRouter } from "./router.mjs";
async function drive() {
  const router = await openRouter();
  const found = [];
  for (const text of texts) found.push(await router.route(text));
  const some = texts.slice(0, TIMED);
  const ids = some.map((text) => router.encode(text).ids);
  // What the best pass took: other work on the machine only ever adds.
  const best = async (run, given) => {
    const least = given.map(() => Infinity);
    for (let pass = 0; pass < PASSES; pass++) {
      for (const [index, one] of given.entries()) {
        const start = performance.now();
        await run(one);
        least[index] = Math.min(least[index], performance.now() - start);
      }
    }
    return least.reduce((sum, value) => sum + value) / given.length;
  };
  const start = performance.now();
  for (const text of some) router.encode(text);
  const tokenize = (performance.now() - start) / some.length;
  const run = await best((one) => router.logits(one), ids);
  const route = await best((one) => router.route(one), some);
  const asked = performance.getEntriesByType("resource").map((entry) => new URL(entry.name).host);
  return { found, tokenize, run, route, hosts: [...new Set(asked)], host: location.host };
}
"""

_PIPELINE = """
import { env, pipeline } from "./vendor/transformers.min.js";
async function drive() {
  Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, useBrowserCache: false });
  env.localModelPath = new URL("./models/", location.href).pathname;
  env.backends.onnx.wasm.wasmPaths = new URL("./vendor/", location.href).href;
  env.backends.onnx.wasm.numThreads = 1;
  const classify = await pipeline("text-classification", "router", { dtype: "q8", device: "wasm" });
  const found = [];
  for (const text of texts) found.push((await classify(text))[0].label);
  return { found };
}
"""

_KEEP = """
async function drive() {
  await navigator.serviceWorker.register("sw.js");
  return { kept: Boolean((await navigator.serviceWorker.ready).active) };
}
"""


class Handler(SimpleHTTPRequestHandler):
    def do_POST(self):
        self.server.result = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(204)
        self.end_headers()
        self.server.done.set()

    def log_message(self, *_):
        pass


class Site:
    """The packaged folder behind a server that takes the reports of driving pages."""

    def __init__(self, folder):
        self.folder = folder
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.server.done, self.server.result = threading.Event(), None
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/"

    def close(self):
        if self.thread.is_alive():
            self.server.shutdown()
            self.thread.join()
            self.server.server_close()

    def drive(self, script, texts, profile):
        (self.folder / "texts.json").write_text(json.dumps(texts))
        (self.folder / "driver.mjs").write_text(script + _REPORT)
        (self.folder / "driver.html").write_text(
            '<!doctype html><script type="module" src="driver.mjs"></script>'
        )
        browser = subprocess.Popen(
            chromium(profile, f"{self.address}driver.html"),
            stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            assert self.server.done.wait(540), "the page did not report"
        finally:
            browser.terminate()
            browser.wait(30)
        assert "error" not in self.server.result, self.server.result
        return self.server.result


@pytest.fixture
def site(packaged):
    folder = packaged("browser")
    modules = runtime("npm", "node_modules")
    if not (folder / "vendor").exists():
        (folder / "node_modules").symlink_to(modules)
        subprocess.run(["node", "vendor.mjs"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (folder / "node_modules").unlink()
    site = Site(folder)
    yield site
    site.close()


def chromium(profile, *flags):
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed")
    return [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
            f"--user-data-dir={profile}", *flags]  # fmt: skip


def test_browser_answers_as_python(site, artifact, texts, int8, tmp_path):
    script = _ROUTER.replace("TIMED", str(TIMED)).replace("PASSES", str(PASSES))
    result = site.drive(script, texts, tmp_path)
    compare("int8 in Chromium, one thread", texts, int8, result["found"], INT8_WITHIN, result["route"])
    assert result["hosts"] == [result["host"]]
    python = python_milliseconds(artifact, texts[:TIMED])
    rest = result["route"] - result["tokenize"] - result["run"]
    FIGURES["browser"].extend(
        [
            Figure("int8 in Chromium: tokenizer alone", result["tokenize"], "ms a text"),
            Figure("int8 in Chromium: model alone", result["run"], "ms a text"),
            Figure("int8 in Chromium: the rest of a decision", max(rest, 0.0), "ms a text"),
            Figure("int8 in Python, one thread", python, "ms a text"),
            Figure("Chromium's time over Python's", result["route"] / python, "times", aim="at most 5"),
        ]
    )


def python_milliseconds(artifact, texts):
    """What the best of some passes took, per text, as the page measures it."""
    router = Router.open(artifact.path, variant="int8", session=SessionConfig(threads=1))
    least = [float("inf")] * len(texts)
    for _ in range(PASSES):
        for index, text in enumerate(texts):
            start = time.perf_counter()
            router.route(text)
            least[index] = min(least[index], time.perf_counter() - start)
    return 1000 * sum(least) / len(texts)


def test_the_model_folder_loads_in_the_pipeline_of_transformers(site, artifact, texts, int8, tmp_path):
    modules = runtime("npm", "node_modules", "@huggingface", "transformers")
    web = next(
        path for path in (modules / "node_modules/onnxruntime-web", modules.parents[1] / "onnxruntime-web")
        if path.exists()
    )  # fmt: skip
    vendor = site.folder / "vendor"
    shutil.copy(modules / "dist/transformers.min.js", vendor)
    for path in web.glob("dist/ort-wasm-simd-threaded*"):
        if not (vendor / path.name).exists():
            shutil.copy(path, vendor)
    router = Router.open(artifact.path, variant="int8")
    # The library's truncation drops the closing token, so long texts are left out; a pipeline knows no
    # calibration, so its label is that of the bare logits.
    some = [text for text, one in zip(texts, int8, strict=True) if not one.truncated][:100]
    expected = [router.labels.names[index] for index in router.logits(some).argmax(axis=1)]
    assert site.drive(_PIPELINE, some, tmp_path)["found"] == expected


def test_page_shows_a_decision(site, tmp_path):
    shown = dump(site.address, tmp_path)
    assert ">local<" in shown and "The model is sure enough." in shown, shown[-600:]


def test_page_decides_without_a_host_after_the_first_visit(site, tmp_path):
    assert site.drive(_KEEP, [], tmp_path) == {"kept": True}
    address = site.address
    site.close()
    shown = dump(address, tmp_path)
    assert ">local<" in shown and "The model is sure enough." in shown, shown[-600:]


def dump(address, profile):
    return subprocess.run(
        chromium(profile, "--virtual-time-budget=60000", "--dump-dom", address),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=240, check=True,
    ).stdout  # fmt: skip


def test_types_of_the_module_hold(packaged):
    check_types(packaged("browser"), "./router.mjs")
