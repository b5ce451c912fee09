"""The page in a real browser, where a chromium is installed; its files and headers everywhere."""

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.support.browser import CHROMIUM, Browser
from tests.support.running import Running, settings_for
from tests.support.tiny_artifact import CLOUD_TEXT

from pointsman.serve.inference.drift import Drift

ADMIN_KEY = "5f1d9a7b3c" * 4
WHAT = ("share", "quality", "money", "saved")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
class TestInABrowser:
    def test_a_query_is_routed_explained_and_seen(self, plain: Running, browser: Browser) -> None:
        for domain in ("Runtime", "Log", "Page"):
            browser.call(f"{domain}.enable")
        browser.call("Page.navigate", url=f"http://127.0.0.1:{plain.port}/")
        browser.until("document.getElementById('model')?.textContent.startsWith('keyword')")
        hostile = f"{CLOUD_TEXT} <img src=x onerror=alert(1)>"
        browser.run(f"document.getElementById('query').value = {json.dumps(hostile)}")
        browser.run("document.getElementById('try').requestSubmit()")
        browser.until("document.querySelectorAll('#words .up').length > 0")
        assert browser.run("document.getElementById('target').textContent") == "cloud"
        assert browser.run("document.querySelector('#words .up').textContent").startswith("analyze")
        assert browser.run("document.querySelectorAll('img').length") == 0
        browser.run(
            "const s = document.getElementById('threshold'); s.value = 1; s.dispatchEvent(new Event('input'))"
        )
        assert "At 1.00: local" in browser.run("document.getElementById('flip').textContent")
        browser.until("document.querySelectorAll('#recent tr').length > 0")
        assert CLOUD_TEXT not in browser.run("document.getElementById('recent').textContent")
        assert browser.problems == []

    @pytest.mark.parametrize("is_named", [True, False])
    def test_a_page_of_another_origin_chats_where_it_is_named(
        self, artifact: Path, start: Callable[..., Running], browser: Browser, is_named: bool
    ) -> None:
        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(b"<!doctype html><title>another origin</title>")

            def log_message(self, *_: object) -> None:
                """Keep the tests' output clean."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Page) as pages:
            threading.Thread(target=pages.serve_forever, daemon=True).start()
            origin = f"http://127.0.0.1:{pages.server_port}"
            origins = [origin] if is_named else ["https://app.example"]
            gateway = start(settings_for(artifact, demo=True, server={"cors_origins": origins}))
            browser.call("Page.navigate", url=f"{origin}/")
            browser.until("document.title === 'another origin'")
            body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": CLOUD_TEXT}]}
            asked = {
                "method": "POST",
                "headers": {"content-type": "application/json", "authorization": "Bearer unused"},
                "body": json.dumps(body),
            }
            address = f"http://127.0.0.1:{gateway.port}/v1/chat/completions"
            browser.run(
                f"fetch({json.dumps(address)}, {json.dumps(asked)})"
                ".then(async (r) => r.headers.get('x-pointsman-target') + ' ' + (await r.text()))"
                ".catch((error) => error.name).then((said) => { document.title = said; })"
            )
            browser.until("document.title !== 'another origin'")
            said = browser.run("document.title")
            pages.shutdown()
        assert said.startswith("cloud data:") if is_named else said == "TypeError"

    def test_the_curve_shows_the_threshold_and_the_slider(self, plain: Running, browser: Browser) -> None:
        for domain in ("Runtime", "Log", "Page"):
            browser.call(f"{domain}.enable")
        with with_curve(plain):
            browser.call("Page.navigate", url=f"http://127.0.0.1:{plain.port}/")
            browser.until("document.querySelectorAll('#curve .now').length === 1")
            caption = "document.getElementById('curve-caption').textContent"
            assert "at 0.30: 70.0 % to the cloud, quality 0.780" in browser.run(caption)
            browser.run(
                "const t = document.getElementById('threshold'); t.value = 0.75;"
                " t.dispatchEvent(new Event('input'))"
            )
            assert browser.run("document.querySelectorAll('#curve .tried').length") == 1
            assert "At 0.75: 25.0 % to the cloud, quality 0.600" in browser.run(caption)
        browser.until("!document.getElementById('curve-none').hidden")
        assert "calibrate" in browser.run("document.getElementById('curve-none').textContent")
        assert browser.problems == []

    def test_a_threshold_is_chosen_by_money_and_served_with_an_admin_key(
        self, both: Callable[..., Running], browser: Browser
    ) -> None:
        gateway = both(auth={"admin_keys": [ADMIN_KEY]}, currency="EUR")
        opened(browser, gateway)
        with with_curve(gateway):
            gateway.chat(model="cloud")
            gateway.settle()
            gateway.gateway.history.store()
            browser.until("document.getElementById('cloud-price').value !== ''")
            assert browser.run("document.getElementById('cloud-price').value") == "0.007"
            typed(browser, "volume", "100000")
            typed(browser, "threshold", "0.75")
            shown = [browser.run(f"document.getElementById('at-{name}').textContent") for name in WHAT]
            assert shown == ["25.0 %", "0.600", "175 EUR", "525 EUR, 75.0 %"]
            typed(browser, "admin-key", "wrong")
            browser.run("document.getElementById('serve').requestSubmit()")
            browser.until("document.getElementById('applied').textContent.startsWith('Not served')")
            assert gateway.gateway.engine.policy.effective_threshold != 0.75
            typed(browser, "admin-key", ADMIN_KEY)
            browser.run("document.getElementById('serve').requestSubmit()")
            browser.until("document.getElementById('applied').textContent.startsWith('Served')")
            assert gateway.gateway.engine.policy.effective_threshold == 0.75
            browser.until("document.getElementById('apply').disabled")
            said = browser.run("document.getElementById('applied').textContent")
        assert "routing.cloud_threshold = 0.75" in said
        assert [one for one in browser.problems if "401" not in str(one)] == []

    def test_both_answers_stand_side_by_side_and_a_click_is_feedback(
        self, both: Callable[..., Running], browser: Browser, tmp_path: Path
    ) -> None:
        path = tmp_path / "capture.jsonl"
        gateway = both(capture={"path": str(path)}, server={"show_text": True})
        opened(browser, gateway)
        browser.run("document.getElementById('try').requestSubmit()")
        browser.until("!document.getElementById('result').hidden")
        browser.run("document.getElementById('ask-both').click()")
        browser.until("!document.getElementById('feedback').hidden")
        cards = "[...document.querySelectorAll('#answers article')].map((card) => card.textContent)"
        assert [("fine" in card, card[:5]) for card in browser.run(cards)] == [
            (True, "local"),
            (True, "cloud"),
        ]
        browser.run("document.querySelector('#feedback [data-target=local]').click()")
        browser.until("document.getElementById('feedback-said').textContent === 'Stored.'")
        gateway.settle()
        (said,) = [
            json.loads(line) for line in (tmp_path / "capture.feedback.jsonl").read_text().splitlines()
        ]
        captured = [json.loads(line) for line in path.read_text().splitlines()]
        assert said["target"] == "local"
        assert said["request_id"] in {row["request_id"] for row in captured if row["served"] == "local"}
        assert browser.problems == []

    def test_days_are_shown_and_a_text_can_be_read_at_every_width(
        self, artifact: Path, start: Callable[..., Running], browser: Browser
    ) -> None:
        gateway = start(settings_for(artifact, server={"show_text": True}))
        for number in range(3):
            gateway.http.post(
                "/predict", json={"query": f"{CLOUD_TEXT} and say why it is so, number {number}"}
            )
        gateway.gateway.history.store()
        for width in (390, 768, 1280):
            size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.call("Emulation.setDeviceMetricsOverride", **size)
            opened(browser, gateway)
            browser.until("document.querySelectorAll('#recent .text').length === 3")
            inside = (
                "(() => { const t = document.querySelector('#recent .text div').getBoundingClientRect();"
                " const r = document.querySelector('.wide').getBoundingClientRect();"
                " return t.left >= r.left && t.width > 200 && t.right <= r.right + 1; })()"
            )
            assert browser.run(inside), width
            assert browser.run("document.documentElement.scrollWidth") <= width
            for span in ("hours", "days"):
                browser.run(f"document.querySelector('[name=span][value={span}]').click()")
                assert "3 cloud" in browser.run("document.getElementById('chart-says').textContent")
                assert browser.run("document.querySelectorAll('#chart .bar-cloud').length") == 1
        assert browser.problems == []

    def test_every_control_has_a_name_and_a_size_for_fingers(self, plain: Running, browser: Browser) -> None:
        opened(browser, plain)
        browser.call("Accessibility.enable")
        tree = browser.call("Accessibility.getFullAXTree")["nodes"]
        roles = {"button", "slider", "textbox", "radio", "spinbutton", "DisclosureTriangle"}
        controls = [node for node in tree if node.get("role", {}).get("value") in roles]
        assert len(controls) >= 6
        assert [node for node in controls if not node.get("name", {}).get("value")] == []
        small = (
            "[...document.querySelectorAll('button, input:not([type=radio]), fieldset label')]"
            ".filter((e) => e.offsetParent && e.getBoundingClientRect().height < 40).length"
        )
        assert browser.run(small) == 0

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_it_fits_a_phone_and_can_be_read(self, plain: Running, browser: Browser, scheme: str) -> None:
        size = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
        browser.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.call("Emulation.setEmulatedMedia", features=features)
        browser.call("Page.navigate", url=f"http://127.0.0.1:{plain.port}/")
        browser.until("document.getElementById('model')?.textContent.startsWith('keyword')")
        browser.run("document.getElementById('try').requestSubmit()")
        browser.until("!document.getElementById('result').hidden")
        assert browser.run("document.documentElement.scrollWidth") <= 360
        colours = browser.run(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        assert contrast(*colours) >= 7
        unlabelled = "[...document.querySelectorAll('input,textarea')].filter(f => !f.labels.length).length"
        assert browser.run(unlabelled) == 0


def opened(browser: Browser, gateway: Running) -> None:
    """The page, with its figures."""
    for domain in ("Runtime", "Log", "Page"):
        browser.call(f"{domain}.enable")
    browser.call("Page.navigate", url=f"http://127.0.0.1:{gateway.port}/")
    browser.until("document.getElementById('model')?.textContent.startsWith('keyword')")


def typed(browser: Browser, field: str, value: str) -> None:
    browser.run(
        f"(() => {{ const f = document.getElementById('{field}'); f.value = {json.dumps(value)};"
        " f.dispatchEvent(new Event('input')); })()"
    )


@contextlib.contextmanager
def with_curve(gateway: Running) -> Iterator[None]:
    """An artifact that knows its curve: quality .5 local, .9 cloud, in a straight line."""
    model = gateway.gateway.engine.current
    points = [{"share": s, "threshold": 1.0 - s, "quality": 0.5 + 0.4 * s} for s in (0.0, 0.5, 1.0)]
    kept, model.drift = model.drift, Drift({"curve": {"points": points}})
    try:
        yield
    finally:
        model.drift = kept


def contrast(ink: str, ground: str) -> float:
    """WCAG's ratio of two colours."""

    def light(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(ink), light(ground)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_page_holds_nothing_from_outside_and_nothing_inline(plain: Running) -> None:
    page = plain.http.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    wanted = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert wanted
    for path in wanted:
        assert path.startswith("/page/")
        found = plain.http.get(path)
        assert found.status_code == 200
        assert found.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script>|<style|style=|onclick", page.text)


@pytest.mark.parametrize("name", ["nothing.js", "..%2f..%2fapp.py", "grafana.json", "%2e%2e/settings.py"])
def test_no_other_file_is_served(plain: Running, name: str) -> None:
    assert plain.http.get(f"/page/{name}").status_code == 404


def test_the_text_of_decisions_stays_here_unless_allowed(plain: Running) -> None:
    secret = hashlib.sha256(b"a text that nobody else has").hexdigest()
    plain.http.post("/predict", json={"query": f"plan {secret}"})
    live = plain.http.get("/live.json")
    assert live.json()["recent"][0]["target"] == "cloud"
    assert secret not in live.text
