"""Is it alive, is it ready: in every spelling that a probe uses.

Liveness never touches the model; readiness is the model's and ends when draining begins.
"""

from pointsman.serve.edge.http import Exchange
from pointsman.serve.failures import GatewayError
from pointsman.serve.gateway import Gateway


async def live(gateway: Gateway, exchange: Exchange) -> None:
    """200 as long as the process answers."""
    await exchange.respond(200, b'{"status":"alive"}')


async def ready(gateway: Gateway, exchange: Exchange) -> None:
    """200 when new requests are welcome, else 503 and why."""
    if gateway.is_draining:
        raise GatewayError("draining", "shutting down")
    if not gateway.engine.is_ready:
        raise GatewayError("model_unavailable", "the classifier is not ready")
    await exchange.respond(200, b'{"status":"ready"}')
