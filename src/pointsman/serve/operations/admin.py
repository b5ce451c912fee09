"""The admin routes, on their own address: metrics, state, reload, canary."""

import asyncio
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pointsman.artifact.address import is_on_hub
from pointsman.errors import PointsmanError
from pointsman.serve.edge.http import Exchange
from pointsman.serve.edge.strict_json import checked_share
from pointsman.serve.failures import GatewayError
from pointsman.serve.gateway import Gateway
from pointsman.serve.inference.engine import ShadowStats
from pointsman.serve.logs import log


async def metrics(gateway: Gateway, exchange: Exchange) -> None:
    """`/metrics`, for Prometheus."""
    # With many series this takes milliseconds; the loop has streams to serve meanwhile.
    body = await asyncio.to_thread(generate_latest, gateway.metrics.registry)
    await exchange.respond(200, body, [(b"content-type", CONTENT_TYPE_LATEST.encode())])


async def state(gateway: Gateway, exchange: Exchange) -> None:
    """`/admin/state`: versions, queue, breakers, the shadow's agreement, the budget."""
    engine = gateway.engine
    await exchange.respond_json(
        {
            "version": engine.current.version,
            "second": None if engine.second is None else engine.second.version,
            "canary_share": engine.canary_share,
            "shadow": {"on": engine.shadow, **engine.shadow_stats.facts()},
            "budget": None if gateway.budget is None else gateway.budget.facts(),
            "drift": engine.current.drift.index,
            "is_ready": gateway.is_ready,
            "is_draining": gateway.is_draining,
            "in_flight": gateway.in_flight,
            "queue": engine.batcher.depth,
            "upstreams": {
                name: {
                    "breaker_open": upstream.breaker.is_open,
                    "wait_s": round(upstream.breaker.wait_s(), 3),
                }
                for name, upstream in gateway.upstreams.items()
            },
        }
    )


async def reload(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /admin/reload`: look again where the artifact came from, or `{"artifact": directory}`."""
    payload = await gateway.text_payload(exchange, b"{}")
    artifact = payload.get("artifact")
    if artifact is not None and not isinstance(artifact, str):
        raise GatewayError("invalid_request", "artifact: expected a directory")
    version = await reload_artifact(gateway, None if artifact is None else _named(gateway, artifact))
    await exchange.respond_json({"version": version})


async def canary(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /admin/canary`: `{"artifact"?, "share"?, "shadow"?}`; `{"artifact": null}` ends it."""
    payload = await gateway.text_payload(exchange, b"{}")
    share, shadow = payload.get("share"), payload.get("shadow")
    if share is not None:
        share = checked_share(share, "share")
    if shadow is not None and not isinstance(shadow, bool):
        raise GatewayError("invalid_request", "shadow: expected true or false")
    engine = gateway.engine
    if isinstance(payload.get("artifact"), str):
        artifact = _named(gateway, payload["artifact"])
        try:
            engine.second = await asyncio.to_thread(engine.load, artifact)
            engine.shadow_stats = ShadowStats()
        except PointsmanError as error:
            raise _refused(error) from None
    elif "artifact" in payload:
        engine.second = None
    engine.canary_share = engine.canary_share if share is None else share
    engine.shadow = engine.shadow if shadow is None else shadow
    await state(gateway, exchange)


async def threshold(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /admin/threshold`: `{"threshold"}` is served as `routing.cloud_threshold` until the end."""
    payload = await gateway.text_payload(exchange, b"{}")
    wanted = checked_share(payload.get("threshold"), "threshold")
    if gateway.budget is not None:
        raise GatewayError("invalid_request", "routing.budget moves the threshold; it cannot be set")
    fresh = await gateway.engine.serve_threshold(wanted)
    log("threshold served", threshold=wanted, version=fresh.version)
    await exchange.respond_json({"threshold": wanted, "version": fresh.version})


async def threshold_of_all(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /admin/threshold` of the page's address: the same, in every process; wants an admin key."""
    if not gateway.access.admins:
        raise GatewayError("forbidden", "set auth.admin_keys; the threshold is changed with such a key only")
    if gateway.peers is None:
        await threshold(gateway, exchange)
        return
    body = await gateway.text_body(exchange)
    status, said = await gateway.peers.change("/admin/threshold", body)
    await exchange.respond(status, said)


async def reload_artifact(gateway: Gateway, artifact: Path | None) -> str:
    """Swap the artifact, or say why not; the old one serves on.

    Raises:
        GatewayError: `reload_refused`, with the kind of fault; the log has the rest.
    """
    try:
        fresh = await gateway.engine.reload(artifact)
    except PointsmanError as error:
        gateway.metrics.reloads.labels("refused").inc()
        log("reload refused", reason=str(error))
        raise _refused(error) from None
    gateway.metrics.reloads.labels("done").inc()
    log("reload done", version=fresh.version)
    return fresh.version


def _named(gateway: Gateway, artifact: str) -> Path:
    """The artifact that a request names.

    Raises:
        GatewayError: `forbidden`: it would be fetched, and the operator named it nowhere.
    """
    path, settings = Path(artifact), gateway.settings
    known = (settings.inference.artifact, settings.inference.canary_artifact)
    if is_on_hub(path) and path not in known and not settings.server.admin_may_fetch:
        raise GatewayError(
            "forbidden", "only what the settings name is fetched from the Hub; see server.admin_may_fetch"
        )
    return path


def _refused(error: PointsmanError) -> GatewayError:
    kind = type(error).__name__.removesuffix("Error")
    return GatewayError("reload_refused", f"the artifact is refused ({kind}); the old one serves on")
