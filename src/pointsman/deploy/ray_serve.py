"""The gateway's classification under Ray Serve: `serve run pointsman.deploy.ray_serve:app artifact=router`.

`POST {"query": text}` is answered as the gateway's `/predict` answers it; a list of texts gives
`{"predictions": [...]}`. Replicas hold a router each; requests that arrive together share a run of the model.
"""

import asyncio
from pathlib import Path
from typing import Any

from pointsman.decision import Decision, Reason
from pointsman.errors import EmptyTextError, InputError, MissingExtraError, SettingsError
from pointsman.runtime.router import Router
from pointsman.settings import Settings, whole_number

MAX_TEXTS = 32
"""Texts of one request, and requests of one batch, at most; as the gateway's."""
_ARGUMENTS = {"artifact", "variant", "threads"}


def app(args: dict[str, str]) -> Any:
    """Build the application; Ray Serve calls it with the `args` of its configuration.

    Args:
        args: `artifact`: a directory that every node has, or `hub:owner/name@commit`; without it the shipped
            router. `variant`: which of its files. `threads`: of one replica, and the processors that it asks
            Ray for; default 1.

    Raises:
        MissingExtraError: Ray Serve is not installed.
        SettingsError: an argument that is not understood.
        ArtifactError: the artifact cannot be opened here, where the application is built.
    """
    try:
        from ray import serve
    except ModuleNotFoundError:
        raise MissingExtraError(
            "needs Ray Serve. Install it with: pip install 'pointsman[ray-serve]'"
        ) from None
    unknown = sorted(set(args) - _ARGUMENTS)
    if unknown:
        raise SettingsError(f"ray_serve: expected {sorted(_ARGUMENTS)}, found {unknown}.")
    threads = whole_number(args.get("threads"), "threads", at_least=1) or 1
    artifact, variant = args.get("artifact"), args.get("variant")
    # A wrong artifact ends the deployment here, in one line, and not in every replica's log.
    _open(artifact, variant, threads)
    deployed: Any = serve.deployment(name="pointsman", ray_actor_options={"num_cpus": threads})(Classifier)
    return deployed.bind(artifact, variant, threads)


class Classifier:
    """One replica."""

    def __init__(self, artifact: str | None, variant: str | None, threads: int) -> None:
        """Open the router."""
        from ray import serve

        self._router = _open(artifact, variant, threads)
        self._gathered = serve.batch(max_batch_size=MAX_TEXTS, batch_wait_timeout_s=0)(self._decide)

    async def __call__(self, request: Any) -> Any:
        """Answer one HTTP request."""
        from starlette.responses import JSONResponse

        try:
            query = query_of(await request.json())
            decisions = await self._gathered([query] if isinstance(query, str) else query)
            answers = [self._answer(decision) for decision in decisions]
        except (InputError, ValueError) as error:
            return JSONResponse({"error": {"message": str(error), "type": "invalid_request"}}, 400)
        return answers[0] if isinstance(query, str) else {"predictions": answers}

    async def _decide(self, requests: list[list[str]]) -> list[list[Decision]]:
        texts = [text for request in requests for text in request]
        decisions = iter(await asyncio.to_thread(self._router.route_many, texts))
        return [[next(decisions) for _ in request] for request in requests]

    def _answer(self, decision: Decision) -> dict[str, Any]:
        if decision.reason is Reason.EMPTY_TEXT:
            raise EmptyTextError("there is nothing to read in the text")
        return {**decision.to_dict(), "version": self._router.manifest.id[:12]}


def query_of(body: Any) -> str | list[str]:
    """The text or the texts of a body.

    Raises:
        InputError: it has none, or too many.
    """
    query = body.get("query") if isinstance(body, dict) else body
    if isinstance(query, str):
        return query
    if isinstance(query, list) and 1 <= len(query) <= MAX_TEXTS:
        texts = [text for text in query if isinstance(text, str)]
        if len(texts) == len(query):
            return texts
    raise InputError(f'expected {{"query": text or list of 1 to {MAX_TEXTS} texts}}')


def _open(artifact: str | None, variant: str | None, threads: int) -> Router:
    return Router.open(
        None if artifact is None else Path(artifact), variant=variant, settings=Settings(threads=threads)
    )
