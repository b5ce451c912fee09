"""The admin address of several processes: every worker is asked, and their answers are one.

Keys, limits and what a body may say are judged by the workers' own admin routes.
"""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import httpx
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.types import Receive, Scope, Send

from pointsman.serve.edge.browser import refuse_foreign_pages
from pointsman.serve.edge.http import JSON, ClientGone, Exchange, request_id_of
from pointsman.serve.edge.keys import KEY_HEADERS
from pointsman.serve.failures import GatewayError, error_body, error_headers
from pointsman.serve.logs import log
from pointsman.serve.processes.worker_pool import Worker, WorkerPool

_FORWARDED = (*KEY_HEADERS, b"content-type")
_EVERYWHERE = frozenset({"/metrics", "/admin/state", "/admin/live"})
_READ_S = 5.0
_GLANCE_S = 1.0
"""For what a page asks for every other second: a worker that hangs is left out soon."""
_LOAD_S = 120.0


class AdminProxy:
    """An ASGI application in front of the workers' admin routes.

    Args:
        pool: the workers.
        lends_key: ask them with their own key, because callers need none here.
    """

    def __init__(self, pool: WorkerPool, *, lends_key: bool = False) -> None:
        self._pool = pool
        self._lends_key = lends_key
        self._client = httpx.AsyncClient(trust_env=False)
        self._one_change = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send, request_id_of(scope))
        try:
            if self._lends_key:
                refuse_foreign_pages(exchange, self._pool.settings.server.own_names)
            limits = self._pool.settings.limits
            body = await exchange.body(limits.text_body_bytes, limits.body_timeout_s)
            if exchange.method == "POST":
                # Two changes at once could end in another order in each worker.
                async with self._one_change:
                    await self._change(exchange, body)
            else:
                await self._read(exchange, body)
        except ClientGone:
            return
        except GatewayError as error:
            answer = error_body(error, exchange.request_id)
            await exchange.respond(error.kind.status, answer, (JSON, *error_headers(error)))

    async def _read(self, exchange: Exchange, body: bytes) -> None:
        """Ask all; one that does not answer is left out, unless none does."""
        path, workers = exchange.scope["path"], self._pool.in_order()
        if path not in _EVERYWHERE:
            workers = workers[:1]
        wait_s = _GLANCE_S if path == "/admin/live" else _READ_S
        asked = await asyncio.gather(
            *(self._ask(worker, exchange, body, wait_s) for worker in workers), return_exceptions=True
        )
        answers = {
            worker.slot: answer
            for worker, answer in zip(workers, asked, strict=True)
            if isinstance(answer, httpx.Response)
        }
        refused = next((answer for answer in answers.values() if answer.status_code != 200), None)
        if not answers:
            raise GatewayError("model_unavailable", "no worker answers; try again")
        if refused is not None or path not in _EVERYWHERE:
            await _relay(exchange, refused or next(iter(answers.values())))
        elif path == "/metrics":
            data = _joined({slot: answer.text for slot, answer in answers.items()})
            await exchange.respond(200, data, [(b"content-type", CONTENT_TYPE_LATEST.encode())])
        elif path == "/admin/live":
            records = [record for answer in answers.values() for record in answer.json()["workers"]]
            await exchange.respond_json({"workers": records})
        else:
            await exchange.respond_json(_with_workers({s: a.json() for s, a in answers.items()}))

    async def _change(self, exchange: Exchange, body: bytes) -> None:
        """Tell one after the other. If the first refuses, stop; one that refuses later is replaced."""
        said: dict[int, Any] = {}
        for worker in self._pool.in_order():
            try:
                answer = await self._ask(worker, exchange, body, _LOAD_S)
            except httpx.HTTPError as error:
                log("worker silent", worker=worker.slot, kind=type(error).__name__)
                if said:
                    self._pool.replace(worker)
                continue
            if answer.status_code == 200:
                if not said:
                    self._remember(exchange.scope["path"], json.loads(body or b"{}"))
                said[worker.slot] = answer.json()
            elif said:
                self._pool.replace(worker)
            else:
                await _relay(exchange, answer)
                return
        if not said:
            raise GatewayError("model_unavailable", "no worker answers; try again")
        await exchange.respond_json(_with_workers(said))

    def _remember(self, path: str, payload: dict[str, Any]) -> None:
        if path == "/admin/threshold":
            self._pool.keep_threshold(payload["threshold"])
            return
        if path == "/admin/reload":
            if payload.get("artifact") is not None:
                self._pool.keep(artifact=payload["artifact"])
            return
        names = {"artifact": "canary_artifact", "share": "canary_share", "shadow": "shadow"}
        changed = {names[key]: value for key, value in payload.items() if key in names}
        kept = {key: value for key, value in changed.items() if value is not None or key == "canary_artifact"}
        self._pool.keep(**kept)

    async def _ask(self, worker: Worker, exchange: Exchange, body: bytes, timeout_s: float) -> httpx.Response:
        headers = {name.decode(): found for name in _FORWARDED if (found := exchange.header(name))}
        if self._lends_key:
            headers["authorization"] = f"Bearer {self._pool.key}"
        headers["x-request-id"] = exchange.request_id
        url = f"http://127.0.0.1:{worker.admin_port}{exchange.scope['path']}"
        return await self._client.request(
            exchange.method, url, headers=headers, content=body or None, timeout=timeout_s
        )


async def _relay(exchange: Exchange, answer: httpx.Response) -> None:
    kept = ("content-type", "retry-after", "x-should-retry", "www-authenticate", "allow")
    headers = [(n.encode(), answer.headers[n].encode()) for n in kept if n in answer.headers]
    await exchange.respond(answer.status_code, answer.content, headers)


def _with_workers(said: dict[int, Any]) -> dict[str, Any]:
    """The first worker's answer, in the shape that a single process gives, and all of them."""
    workers = [{"worker": slot, **answer} for slot, answer in said.items()]
    return {**next(iter(said.values())), "workers": workers}


class _Joined(Collector):
    """The families of several expositions, each sample with the label `worker`."""

    def __init__(self, texts: dict[int, str]) -> None:
        self._texts = texts

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for slot, text in self._texts.items():
            for found in text_string_to_metric_families(text):
                family = families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
                for sample in found.samples:
                    labels = {**sample.labels, "worker": str(slot)}
                    family.samples.append(sample._replace(labels=labels))
        yield GaugeMetricFamily("pointsman_workers", "Processes that answered.", value=len(self._texts))
        yield from families.values()


def _joined(texts: dict[int, str]) -> bytes:
    # Not sums: a worker that starts anew must not look like a counter that fell.
    registry = CollectorRegistry()
    registry.register(_Joined(texts))
    return generate_latest(registry)
