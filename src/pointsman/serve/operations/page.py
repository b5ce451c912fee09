"""The page at `/` and the figures that it shows; files of the package, nothing from outside."""

import time
from importlib.resources import files
from typing import Any

from pointsman.serve.classification.classify import policy_of
from pointsman.serve.edge.http import Exchange
from pointsman.serve.failures import GatewayError
from pointsman.serve.gateway import Gateway
from pointsman.serve.observability.history import SHOWN, added
from pointsman.serve.observability.live import view

_HOURS, _DAYS = 48, 60
_KINDS = {
    "index.html": b"text/html; charset=utf-8",
    "app.js": b"text/javascript; charset=utf-8",
    "style.css": b"text/css; charset=utf-8",
    "icon.svg": b"image/svg+xml",
}
_HEADERS = [
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
            b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
]


async def index(gateway: Gateway, exchange: Exchange) -> None:
    """The page."""
    await _file(gateway, exchange, "index.html")


async def asset(gateway: Gateway, exchange: Exchange) -> None:
    """One of its files."""
    await _file(gateway, exchange, exchange.params["name"])


async def live(gateway: Gateway, exchange: Exchange) -> None:
    """`/live.json`: what happened in the last two minutes, in every process, and what is loaded."""
    model = gateway.engine.current
    manifest = model.router.manifest
    records = await gateway.peers.records() if gateway.peers is not None else []
    records = records or [_record(gateway)]
    # With a file, each process's history is that of all.
    counted = [_record(gateway)] if gateway.settings.server.history is not None else records
    snapshot = {
        **view(records),
        **{name: added(record[name] for record in counted) for name in ("hours", "days")},
        "columns": ["at", *SHOWN],
        "now": round(time.time(), 3),
        "workers": {"answered": len(records), "of": gateway.settings.server.workers},
        "model": {"name": manifest.name, "version": model.version, "variant": model.router.variant},
        "policy": policy_of(gateway),
        "curve": model.drift.points,
        "budget": None if gateway.budget is None else gateway.budget.facts(),
        "captures": gateway.capture is not None,
        "takes_threshold": bool(gateway.access.admins) and gateway.budget is None,
        "drift": model.drift.index,
        "upstreams": {
            name: {
                "model": upstream.settings.model,
                "is_priced": upstream.settings.price_in + upstream.settings.price_out > 0,
                "state": "open" if any(name in record["resting"] for record in records) else "closed",
            }
            for name, upstream in gateway.upstreams.items()
        },
        "queue": sum(record["queue"] for record in records),
        "cache": {name: sum(record["cache"][name] for record in records) for name in ("hits", "misses")},
        "currency": gateway.settings.upstreams.currency,
        "shows_text": gateway.settings.server.show_text,
    }
    await exchange.respond_json(snapshot, headers=[(b"cache-control", b"no-store")])


async def figures(gateway: Gateway, exchange: Exchange) -> None:
    """`/admin/live`: this process's part of what `/live.json` shows."""
    await exchange.respond_json({"workers": [_record(gateway)]})


def _record(gateway: Gateway) -> dict[str, Any]:
    cache = gateway.engine.current.cache
    return {
        **gateway.live.record(),
        "hours": gateway.history.recent(1, _HOURS),
        "days": gateway.history.recent(24, _DAYS),
        "queue": gateway.engine.batcher.depth,
        "cache": {"hits": cache.hits, "misses": cache.misses},
        "resting": [name for name, upstream in gateway.upstreams.items() if upstream.breaker.is_open],
    }


async def _file(gateway: Gateway, exchange: Exchange, name: str) -> None:
    if name not in _KINDS or not gateway.settings.server.page:
        raise GatewayError("not_found", "there is no such file")
    body = files("pointsman.serve.operations").joinpath("assets", name).read_bytes()
    await exchange.respond(200, body, [(b"content-type", _KINDS[name]), *_HEADERS])
