"""A classifier that fails, or has no time."""

import threading
from collections.abc import Callable

import pytest
from tests.support.fake_upstream import (
    FakeUpstream,
)
from tests.support.running import Running
from tests.support.tiny_artifact import LOCAL_TEXT
from tests.support.waiting import until

Start = Callable[..., Running]


class TestTheClassifierFails:
    def break_it(self, gateway: Running, error: BaseException) -> None:
        def fail(texts: list[str]) -> list[object]:
            raise error

        gateway.gateway.engine.current.router.route_many = fail  # type: ignore[method-assign, assignment]

    def test_chats_go_to_the_default_target_and_say_so(self, both: Start, cloud: FakeUpstream) -> None:
        from pointsman.errors import NonFiniteOutputError

        class Panic(BaseException):
            pass

        gateway = both(routing={"default_target": "cloud"})
        for error in (NonFiniteOutputError("nan"), RuntimeError("onnx"), Panic("native")):
            self.break_it(gateway, error)
            found = gateway.chat(f"{LOCAL_TEXT} {type(error).__name__}")
            assert found.status_code == 200
            assert found.json()["pointsman"]["reason"] == "classifier_failed"
            assert found.json()["pointsman"]["upstream"] == "cloud"
        assert len(cloud.seen) == 3

    @pytest.mark.parametrize(
        "limits", [{"queue_timeout_ms": 0.001}, {"queue": 1, "queue_timeout_ms": 10_000}]
    )
    def test_a_classifier_without_time_costs_no_chat(
        self, both: Start, cloud: FakeUpstream, limits: dict[str, float]
    ) -> None:
        gateway = both(routing={"default_target": "cloud"}, limits=limits, inference={"max_batch": 1})
        go, router = threading.Event(), gateway.gateway.engine.current.router
        decide = router.route_many

        def slow(texts: list[str]) -> object:
            assert go.wait(60)
            return decide(texts)

        router.route_many = slow  # type: ignore[method-assign, assignment]
        found: list[dict[str, str]] = []

        def ask(index: int) -> None:
            found.append(gateway.chat(f"{LOCAL_TEXT} {index}").json()["pointsman"])

        threads = [threading.Thread(target=ask, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        # One text is in the model and one may wait for it: the other two are answered meanwhile.
        until(lambda: len(found) >= 2)
        go.set()
        for thread in threads:
            thread.join()
        busy = [facts for facts in found if facts["reason"] == "classifier_busy"]
        assert len(found) == 4 and busy
        assert {facts["upstream"] for facts in busy} == {"cloud"}

    def test_classification_says_what_is_wrong_and_lives_on(self, both: Start) -> None:
        from pointsman.errors import NonFiniteOutputError

        class Panic(BaseException):
            pass

        gateway = both()
        good = gateway.gateway.engine.current.router.route_many
        for error, status in (
            (NonFiniteOutputError("nan"), 503),
            (RuntimeError("x"), 503),
            (Panic("y"), 503),
        ):
            self.break_it(gateway, error)
            found = gateway.http.post("/predict", json={"query": f"plan {type(error).__name__}"})
            assert found.status_code == status
            gateway.gateway.engine.current.router.route_many = good  # type: ignore[method-assign]
            assert gateway.http.post("/predict", json={"query": f"a {error}"}).status_code == 200

    def test_it_is_not_ready_when_it_goes_on_failing(self, both: Start) -> None:
        from pointsman.errors import NonFiniteOutputError

        gateway = both()
        self.break_it(gateway, NonFiniteOutputError("nan"))
        for index in range(5):
            assert gateway.http.post("/predict", json={"query": f"plan {index}"}).status_code == 503
        found = gateway.http.get("/readyz")
        assert (found.status_code, found.json()["error"]["code"]) == (503, "model_unavailable")
        assert gateway.http.get("/livez").status_code == 200
