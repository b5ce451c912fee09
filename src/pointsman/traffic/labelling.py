"""A page on loopback where a person compares answers blind: which one serves the one who asked better?

The page is at an address with a secret in it, so no other page and no other user of the machine can post
verdicts. Which side the local answer stands on depends on the query's digest alone: the person cannot know
it, and a restart does not change it.
"""

import asyncio
import hashlib
import hmac
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from pointsman.traffic.pairs import Pair, require_pairs
from pointsman.traffic.work import Work

PERSON = "person"
_VERDICTS = {"1": ("local", "cloud"), "2": ("cloud", "local"), "=": ("tie", "tie"), "s": ("skip", "skip")}
"""Key to verdict: with the local answer on the left, and with the cloud's."""
_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}


@dataclass(slots=True)
class Labelling:
    """One person's session over the pairs of a work folder: what is next, and what was said.

    Attributes:
        work: where verdicts are kept, each at once.
        pairs: all of them, the doubtful ones first.
    """

    work: Work
    pairs: list[Pair]

    @classmethod
    def over(cls, work: Work) -> "Labelling":
        """A session over every pair: first those without scores, and those whose verdict turned.

        Raises:
            InputError: there is no pair.
        """
        judged = work.judgements()
        pairs, _ = require_pairs(work)

        def doubt(pair: Pair) -> tuple[int, str]:
            scores = judged.get(pair.query.id)
            return (0 if scores is None else 0 if scores[2].get("flipped") else 1, _digest(pair))

        return cls(work, sorted(pairs, key=doubt))

    def view(self) -> dict[str, Any]:
        """What the page shows now: the next pair without saying whose answer is whose, and the progress."""
        said = self.work.verdicts()
        left = [pair for pair in self.pairs if pair.query.id not in said]
        state: dict[str, Any] = {"done": len(self.pairs) - len(left), "total": len(self.pairs)}
        if not left:
            return state
        pair = left[0]
        answers = [pair.local[0].text, pair.cloud.text]
        if not _is_local_left(pair):
            answers.reverse()
        return {**state, "id": pair.query.id, "query": pair.query.text, "answers": answers}

    def say(self, query: str, key: str) -> bool:
        """Keep a verdict; False for a query or a key that is not known."""
        pair = next((p for p in self.pairs if p.query.id == query), None)
        if pair is None or key not in _VERDICTS:
            return False
        with self.work.transaction():
            self.work.label(query, _VERDICTS[key][0 if _is_local_left(pair) else 1], PERSON)
        return True

    def undo(self) -> None:
        """Take the last verdict back."""
        with self.work.transaction():
            self.work.unlabel(PERSON)


def make_app(session: Labelling, token: str, stop: Callable[[], None]) -> Starlette:
    """The page and its four requests, under the secret."""

    async def page(request: Request) -> Response:
        text = files("pointsman.traffic").joinpath("label.html").read_text(encoding="utf-8")
        return HTMLResponse(text, headers=_HEADERS)

    async def act(request: Request) -> Response:
        action = request.path_params["action"]
        # A page elsewhere can send a form without asking, but no JSON.
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return PlainTextResponse("expected application/json", 415)
        body = await request.json()
        if action == "say" and not session.say(str(body.get("id")), str(body.get("key"))):
            return PlainTextResponse("no such query or key", 400)
        if action == "undo":
            session.undo()
        if action == "end":
            asyncio.get_running_loop().call_later(0.2, stop)
        return JSONResponse(session.view(), headers=_HEADERS)

    def guarded(
        handler: Callable[[Request], Awaitable[Response]],
    ) -> Callable[[Request], Awaitable[Response]]:
        async def checked(request: Request) -> Response:
            given = request.path_params["token"].encode()
            if not hmac.compare_digest(given, token.encode()):
                return PlainTextResponse("not found", 404)
            return await handler(request)

        return checked

    return Starlette(
        routes=[
            Route("/{token}/", guarded(page)),
            Route("/{token}/{action:str}", guarded(act), methods=["POST"]),
        ]
    )


def serve_page(session: Labelling, port: int, say: Callable[[str], None]) -> None:
    """Serve the page on loopback until it is ended there, or interrupted; `say` gets its address."""
    token = secrets.token_urlsafe(24)
    with socket.create_server(("127.0.0.1", port)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/{token}/"
        server = _Server(uvicorn.Config(Starlette(), log_level="error", lifespan="off"), lambda: say(address))
        server.config.app = make_app(session, token, server.stop)
        asyncio.run(server.serve(sockets=[listener]))


class _Server(uvicorn.Server):
    """Uvicorn that says when it is ready: from then on a signal ends it in order."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    def stop(self) -> None:
        self.should_exit = True


def _digest(pair: Pair) -> str:
    return hashlib.sha256(f"side\0{pair.query.id}".encode()).hexdigest()


def _is_local_left(pair: Pair) -> bool:
    return int(_digest(pair), 16) % 2 == 0
