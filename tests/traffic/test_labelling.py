"""The page where a person compares answers: blind, by keyboard, kept at once."""

import asyncio
import signal
import threading
from pathlib import Path

import httpx
import pytest
from tests.support.browser import CHROMIUM
from tests.support.fake_models import is_hard, local_says
from tests.traffic.conftest import rows

from pointsman.cli.__main__ import main
from pointsman.traffic.agreement import agreement
from pointsman.traffic.judged import write_rows
from pointsman.traffic.labelling import Labelling, serve_page
from pointsman.traffic.work import Work


class Page:
    """A session of its own thread, with its address."""

    def __init__(self) -> None:
        self.address = ""
        ready = threading.Event()

        def work() -> None:
            with Work.open(Path("work")) as opened:
                self.session = Labelling.over(opened)
                serve_page(self.session, 0, lambda address: (setattr(self, "address", address), ready.set()))
                write_rows(opened)
                self.agreement = agreement(opened)

        self.thread = threading.Thread(target=work)
        self.thread.start()
        assert ready.wait(60)

    def post(self, action: str, **body: str) -> httpx.Response:
        return httpx.post(f"{self.address}{action}", json=body, trust_env=False, timeout=60)

    def end(self) -> None:
        self.post("end")
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture
def page(models, collect, judge):
    assert collect() == 0
    assert judge() == 0
    page = Page()
    yield page
    if page.thread.is_alive():
        page.end()


def right_key(view: dict) -> str:
    """What a person who knows the truth presses."""
    if not is_hard(view["query"]):
        return "="
    return "2" if view["answers"][0] == local_says(view["query"]) else "1"


def test_a_person_who_agrees_is_measured_so(page):
    view = page.post("view").json()
    sides = set()
    while "id" in view:
        sides.add(view["answers"][0] == local_says(view["query"]))
        view = page.post("say", id=view["id"], key=right_key(view)).json()
    assert sides == {True, False}
    assert (view["done"], view["total"]) == (30, 30)
    page.end()
    assert page.agreement.rows == 30
    assert page.agreement.kappa == 1.0
    assert all(row["judgement"] == {"by": "person"} for row in rows())


def test_undo_takes_the_last_verdict_back_and_skip_is_no_verdict(page):
    first = page.post("view").json()
    second = page.post("say", id=first["id"], key="s").json()
    assert second["id"] != first["id"]
    assert page.post("undo").json()["id"] == first["id"]
    page.post("say", id=first["id"], key="s")
    page.end()
    assert page.agreement is None


def test_nobody_without_the_secret_and_no_form_of_another_page(page):
    root = page.address.rsplit("/", 2)[0]
    assert httpx.get(f"{root}/", trust_env=False, timeout=60).status_code == 404
    assert httpx.get(f"{root}/guess/", trust_env=False, timeout=60).status_code == 404
    assert httpx.post(f"{root}/guess/view", json={}, trust_env=False, timeout=60).status_code == 404
    form = httpx.post(f"{page.address}undo", data={"a": "b"}, trust_env=False, timeout=60)
    assert form.status_code == 415
    assert page.post("say", id="unknown", key="1").status_code == 400
    found = httpx.get(page.address, trust_env=False, timeout=60)
    assert "frame-ancestors 'none'" in found.headers["content-security-policy"]


def test_an_interrupt_as_soon_as_the_address_is_said_ends_the_page_in_order(
    models, collect, judge, monkeypatch
):
    def interrupt(said: str) -> None:
        if said:
            assert asyncio.get_running_loop(), "said before the server runs: a signal would find it half made"
            signal.raise_signal(signal.SIGINT)

    assert collect() == judge() == 0
    Path("work/judged.jsonl").unlink()
    monkeypatch.setattr("pointsman.cli.label.tell", interrupt)
    assert main(["label", "work"]) == 0
    assert len(rows()) == 30


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_by_keyboard_in_a_real_browser(page, browser):
    for domain in ("Runtime", "Log", "Page"):
        browser.call(f"{domain}.enable")
    browser.call("Page.navigate", url=page.address)
    browser.until("document.getElementById('count')?.textContent === '0 of 30'")
    shown = browser.run("document.getElementById('query').textContent")
    assert shown == page.post("view").json()["query"]
    for number, key in enumerate("12=s", 1):
        browser.call("Input.dispatchKeyEvent", type="keyDown", text=key, key=key)
        browser.until(f"document.getElementById('count').textContent === '{number} of 30'")
    browser.call("Input.dispatchKeyEvent", type="keyDown", text="u", key="u")
    browser.until("document.getElementById('count').textContent === '3 of 30'")
    size = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    assert browser.run("document.documentElement.scrollWidth") <= 360
    browser.run("document.getElementById('end').click()")
    page.thread.join(60)
    assert not page.thread.is_alive()
    assert browser.problems == []
