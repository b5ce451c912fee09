"""The browser target in headless Chromium (WebAssembly, one thread) against Python; it asks no other host."""

import functools
import json
import shutil
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.targets.conftest import INT8_WITHIN, compare, runtime

_DRIVER = """
import { openRouter } from "./router.mjs";
try {
  const texts = await (await fetch("texts.json")).json();
  const router = await openRouter();
  await router.route(texts[0]);
  const start = performance.now();
  const found = [];
  for (const text of texts) found.push(await router.route(text));
  const milliseconds = (performance.now() - start) / texts.length;
  const asked = performance.getEntriesByType("resource").map((entry) => new URL(entry.name).host);
  const body = JSON.stringify({ found, milliseconds, hosts: [...new Set(asked)], host: location.host });
  await fetch("result", { method: "POST", body });
} catch (error) {
  await fetch("result", { method: "POST", body: JSON.stringify({ error: String(error.stack ?? error) }) });
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


@pytest.fixture
def site(packaged):
    folder = packaged("browser")
    if not (folder / "vendor").exists():
        (folder / "node_modules").symlink_to(runtime("npm", "node_modules"))
        subprocess.run(["node", "vendor.mjs"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (folder / "node_modules").unlink()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    server.done, server.result = threading.Event(), None
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, server
    server.shutdown()
    thread.join()
    server.server_close()


def chromium(profile, *flags):
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed")
    return [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
            f"--user-data-dir={profile}", *flags]  # fmt: skip


def test_browser_answers_as_python(site, texts, int8, tmp_path):
    folder, server = site
    (folder / "texts.json").write_text(json.dumps(texts))
    (folder / "driver.mjs").write_text(_DRIVER)
    (folder / "driver.html").write_text('<!doctype html><script type="module" src="driver.mjs"></script>')
    address = f"http://127.0.0.1:{server.server_port}/driver.html"
    browser = subprocess.Popen(
        chromium(tmp_path, address), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        assert server.done.wait(240), "the page did not report"
    finally:
        browser.terminate()
        browser.wait(20)
    assert "error" not in server.result, server.result
    print(f"\nint8 in Chromium: {server.result['milliseconds']:.2f} ms a text")
    compare(texts, int8, server.result["found"], within=INT8_WITHIN)
    assert server.result["hosts"] == [server.result["host"]]


def test_page_shows_a_decision(site, tmp_path):
    _, server = site
    address = f"http://127.0.0.1:{server.server_port}/"
    shown = subprocess.run(
        chromium(tmp_path, "--virtual-time-budget=60000", "--dump-dom", address),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    assert "p(cloud)" in shown and ">local<" in shown, shown[-600:]
