"""Every route there is, and who may use it: the two tables of the two listeners."""

from pointsman.serve.chat import completions as chat
from pointsman.serve.chat import record
from pointsman.serve.classification import classify, decisions, explain, inference_protocol
from pointsman.serve.dispatch import Route
from pointsman.serve.edge.http import Exchange
from pointsman.serve.gateway import Gateway
from pointsman.serve.operations import admin, health, page
from pointsman.serve.operations.openapi import describe


async def _document(gateway: Gateway, exchange: Exchange) -> None:
    """`/openapi.json`."""
    await exchange.respond_json(describe(PUBLIC, needs_key=bool(gateway.access.users)))


_HEALTH = tuple(
    Route("GET", path, handler, "open")
    for handler, paths in (
        (health.live, ("/livez", "/v2/health/live")),
        (health.ready, ("/readyz", "/health", "/healthz", "/ready", "/ping", "/v2/health/ready")),
    )
    for path in paths
)

PUBLIC: tuple[Route, ...] = (
    Route("POST", "/", classify.pipeline, "user", is_work=True),
    Route("POST", "/predict", classify.predict, "user", is_work=True),
    Route("GET", "/predict", classify.predict, "user", is_work=True),
    Route("POST", "/classify", classify.classify, "user", is_work=True),
    Route("POST", "/v1/classify", classify.classify, "user", is_work=True),
    Route("POST", "/score", classify.score, "user", is_work=True),
    Route("POST", "/invocations", classify.score, "user", is_work=True),
    Route("POST", "/explain", explain.explain, "user", is_work=True),
    Route("GET", "/info", classify.info, "user"),
    Route("POST", "/v1/systemone", decisions.systemone, "user", is_work=True),
    Route("POST", "/v1/decisions", decisions.decisions, "user", is_work=True),
    Route("POST", "/v1/chat/completions", chat.completions, "user", is_work=True),
    Route("POST", "/v1/completions", chat.text_completions, "user", is_work=True),
    Route("POST", "/v1/responses", chat.responses, "user", is_work=True),
    Route("POST", "/v1/messages", chat.messages, "user", is_work=True),
    Route("POST", "/v1/messages/count_tokens", chat.count_tokens, "user", is_work=True),
    Route("GET", "/v1/responses/{response}", chat.stored_response, "user", is_work=True),
    Route("DELETE", "/v1/responses/{response}", chat.stored_response, "user", is_work=True),
    Route("POST", "/v1/responses/{response}/cancel", chat.stored_response, "user", is_work=True),
    Route("GET", "/v1/responses/{response}/input_items", chat.stored_response, "user", is_work=True),
    *(
        Route(method, f"/v1/conversations{path}", chat.conversation, "user", is_work=True)
        for path, methods in (
            ("", ("POST",)),
            ("/{conversation}", ("GET", "POST", "DELETE")),
            ("/{conversation}/items", ("GET", "POST")),
            ("/{conversation}/items/{item}", ("GET", "DELETE")),
        )
        for method in methods
    ),
    Route("POST", "/v1/embeddings", chat.embeddings, "user", is_work=True),
    Route("POST", "/v1/feedback", record.feedback, "user", is_work=True),
    Route("GET", "/v1/models", chat.models, "user"),
    Route("GET", "/v1/models/{model:path}", chat.model, "user"),
    Route(
        "POST", "/openai/deployments/{deployment}/chat/completions", chat.completions, "user", is_work=True
    ),
    Route(
        "POST", "/openai/deployments/{deployment}/completions", chat.text_completions, "user", is_work=True
    ),
    Route("POST", "/openai/deployments/{deployment}/embeddings", chat.embeddings, "user", is_work=True),
    Route("GET", "/v2", inference_protocol.server, "open"),
    Route("GET", "/v2/models/{model}", inference_protocol.model, "user"),
    Route("GET", "/v2/models/{model}/versions/{version}", inference_protocol.model, "user"),
    Route("GET", "/v2/models/{model}/ready", inference_protocol.model_ready, "user"),
    Route("GET", "/v2/models/{model}/versions/{version}/ready", inference_protocol.model_ready, "user"),
    Route("POST", "/v2/models/{model}/infer", inference_protocol.infer, "user", is_work=True),
    Route(
        "POST", "/v2/models/{model}/versions/{version}/infer", inference_protocol.infer, "user", is_work=True
    ),
    Route("GET", "/openapi.json", _document, "open"),
    Route("GET", "/live.json", page.live, "user"),
    Route("POST", "/admin/threshold", admin.threshold_of_all, "admin"),
    Route("GET", "/", page.index, "open"),
    Route("GET", "/page/{name}", page.asset, "open"),
    *_HEALTH,
)

ADMIN: tuple[Route, ...] = (
    Route("GET", "/metrics", admin.metrics, "admin"),
    Route("GET", "/admin/state", admin.state, "admin"),
    Route("GET", "/admin/live", page.figures, "admin"),
    Route("POST", "/admin/reload", admin.reload, "admin"),
    Route("POST", "/admin/canary", admin.canary, "admin"),
    Route("POST", "/admin/threshold", admin.threshold, "admin"),
    *_HEALTH,
)
