"""The ASGI application: limits on the head of a request, access, dispatch, and the one shape of errors.

It knows nothing of what the routes do.
"""

import asyncio
import logging
import time
from collections.abc import Collection
from typing import Any

from starlette.types import Receive, Scope, Send

from pointsman.serve.dispatch import Route, Table
from pointsman.serve.edge.browser import refuse_foreign_pages
from pointsman.serve.edge.cors import answer_headers, answer_preflight, named_origin
from pointsman.serve.edge.http import JSON, ClientGone, Exchange, request_id_of
from pointsman.serve.edge.keys import KEY_HEADERS, KeyRing
from pointsman.serve.failures import GatewayError, as_gateway_error, error_body, error_headers
from pointsman.serve.gateway import Gateway
from pointsman.serve.logs import LOGGER, log

_STATUS_GONE = 499
"""In logs and metrics only: the client left before the answer."""
_MESSAGES = "/messages"
"""In the path of a request whose errors have Anthropic's shape, also where no route is found or no key."""
_TURNED_AWAY = {"overloaded", "queue_timeout", "rate_limited"}
"""Codes that come in floods."""


class Application:
    """One listener's routes over a gateway.

    Args:
        origins: of the web pages that may ask here; no others may.
    """

    def __init__(self, gateway: Gateway, table: Table, origins: Collection[str] = ()) -> None:
        self.gateway = gateway
        self.table = table
        self.origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever happens, exactly once."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        gateway = self.gateway
        started = time.perf_counter()
        exchange = Exchange(scope, receive, send, request_id_of(scope), is_closing=gateway.is_draining)
        exchange.memory = gateway.memory
        gateway.in_flight += 1
        try:
            await self._answer(exchange)
        except ClientGone:
            exchange.status = exchange.status or _STATUS_GONE
        except asyncio.CancelledError:
            raise
        except GatewayError as error:
            await self._fail(exchange, error)
        except Exception as error:  # noqa: BLE001 - the outermost edge: every failure is answered
            known = as_gateway_error(error)
            if known.code == "internal_error":
                LOGGER.error(
                    "unexpected", exc_info=True, extra={"facts": {"request_id": exchange.request_id}}
                )
            await self._fail(exchange, known)
        finally:
            gateway.in_flight -= 1
            exchange.release()
            self._account(exchange, time.perf_counter() - started)

    async def _answer(self, exchange: Exchange) -> None:
        origin = named_origin(exchange, self.origins) if self.origins else None
        if self.origins:
            exchange.own_headers += answer_headers(origin)
        self._check_headers(exchange)
        if origin is not None and await answer_preflight(exchange):
            return
        route, exchange.params = self.table.find(exchange.method, exchange.scope["path"])
        exchange.route = route.template
        self._admit(exchange, route, is_named_page=origin is not None)
        if not route.is_work:
            await route.handler(self.gateway, exchange)
            return
        with self.gateway.tracing.request(exchange):
            await route.handler(self.gateway, exchange)

    def _check_headers(self, exchange: Exchange) -> None:
        limits = self.gateway.settings.limits
        headers = exchange.scope["headers"]
        size = sum(len(name) + len(value) for name, value in headers)
        if len(headers) > limits.header_count or size > limits.header_bytes:
            raise GatewayError("headers_too_large", "too many headers, or too long ones")

    def _admit(self, exchange: Exchange, route: Route, *, is_named_page: bool) -> None:
        access = self.gateway.access
        address = exchange.scope.get("client") or ("unknown", 0)
        exchange.client = str(address[0])
        if route.access == "user" and access.users:
            # An admin may do what a user may.
            exchange.client = _holder(exchange, access.users) or _holder(exchange, access.admins) or ""
        elif route.access == "admin" and access.admins:
            exchange.client = _holder(exchange, access.admins) or ""
            if not exchange.client and _holder(exchange, access.users):
                raise GatewayError("forbidden", "this needs an admin key")
        elif route.access == "admin" or (route.access == "user" and not access.by_proxy):
            own_names = self.gateway.settings.server.own_names
            refuse_foreign_pages(exchange, own_names, is_named=is_named_page)
        if not exchange.client:
            error = GatewayError(
                "unauthorized", "send a valid key as `authorization: Bearer`, `x-api-key` or `api-key`"
            )
            error.headers.append((b"www-authenticate", b"Bearer"))
            raise error
        if route.is_work:
            self.gateway.rate.check(exchange.client)

    async def _fail(self, exchange: Exchange, error: GatewayError) -> None:
        if not exchange.is_wanted():
            exchange.status = exchange.status or _STATUS_GONE
            return
        self.gateway.metrics.failures.labels(error.code).inc()
        exchange.facts["code"] = error.code
        if exchange.status:
            # The head is out; a route that streams tells the rest in its own way.
            return
        headers = [JSON, *error_headers(error)]
        if is_anthropic := _MESSAGES in exchange.scope["path"]:
            headers.append((b"request-id", exchange.request_id.encode()))
        body = error_body(error, exchange.request_id, is_anthropic=is_anthropic)
        await exchange.respond(error.kind.status, body, headers)

    def _account(self, exchange: Exchange, elapsed_s: float) -> None:
        gateway = self.gateway
        gateway.metrics.requests.labels(exchange.route, str(exchange.status)).inc()
        gateway.metrics.request_s.labels(exchange.route).observe(elapsed_s)
        if exchange.is_work:
            gateway.live.request(elapsed_s, is_error=exchange.status >= 400)
        if not LOGGER.isEnabledFor(logging.INFO):
            return
        if (code := exchange.facts.get("code")) in _TURNED_AWAY:
            gateway.tally.add(code)
        else:
            log(
                "request",
                request_id=exchange.request_id,
                route=exchange.route,
                method=exchange.method if exchange.method in ("GET", "POST", "HEAD") else "other",
                status=exchange.status,
                ms=round(1000 * elapsed_s, 2),
                **exchange.facts,
            )


def _holder(exchange: Exchange, ring: KeyRing) -> str | None:
    """Who holds a key that the request shows, by this ring; it may show one for us and one of its own."""
    authorization, *shown = (exchange.header(name) for name in KEY_HEADERS)
    scheme, _, token = (authorization or "").partition(" ")
    shown = [token.strip() if scheme.lower() == "bearer" else None, *shown]
    holders = (ring.holder_of(key) for key in shown if key) if ring else iter(())
    return next(filter(None, holders), None)


async def _lifespan(receive: Receive, send: Send) -> None:
    """Nothing is bound to the protocol's life span: `server` starts and stops the gateway."""
    while True:
        message: Any = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
