"""Paths to handlers: one table, in which every route says who may use it.

Access is decided on the route that was matched, never on a header or a raw address.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from starlette.routing import compile_path

from pointsman.serve.edge.http import Exchange
from pointsman.serve.failures import GatewayError
from pointsman.serve.gateway import Gateway

Handler = Callable[[Gateway, Exchange], Awaitable[None]]
Access = Literal["open", "user", "admin"]


@dataclass(frozen=True, slots=True)
class Route:
    """One route.

    Attributes:
        method: `GET` (which answers HEAD too), `POST` or `DELETE`.
        path: may hold parameters, for example `/v2/models/{model}`, with slashes as `{model:path}`.
        access: `open` to every client, or for the holders of `user` or `admin` keys.
        is_work: counts against the client's rate limit.
    """

    method: str
    path: str
    handler: Handler
    access: Access
    is_work: bool = False

    @property
    def template(self) -> str:
        """The path as documents and metrics name it: a parameter that may hold slashes is like any other."""
        return self.path.replace(":path", "")


class Table:
    """Finds the route of a request."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        self._fixed: dict[str, dict[str, Route]] = {}
        self._patterns = []
        for route in routes:
            if "{" in route.path:
                self._patterns.append((compile_path(route.path)[0], route))
            else:
                self._fixed.setdefault(route.path, {})[route.method] = route

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route and its parameters.

        More slashes than there need to be, and one at the end, say nothing; nor does a `/v1` too few or too
        many, as a client makes it that adds its own to a base address, or does not, nor Azure's `/openai/v1`.

        Raises:
            GatewayError: `not_found`, or `method_not_allowed` with the header that says which are.
        """
        if path.endswith("/") or "//" in path:
            path = "/" + "/".join(part for part in path.split("/") if part)
        wanted = "GET" if method == "HEAD" else method
        for spelled in (path, path.replace("/v1/v1/", "/v1/", 1), f"/v1{path}", path.removeprefix("/openai")):
            methods = self._fixed.get(spelled)
            if methods is not None:
                if wanted in methods:
                    return methods[wanted], {}
                raise _not_allowed(methods)
            allowed: list[str] = []
            for pattern, route in self._patterns:
                match = pattern.match(spelled)
                if match is not None:
                    if route.method == wanted:
                        return route, match.groupdict()
                    allowed.append(route.method)
            if allowed:
                raise _not_allowed(allowed)
        raise GatewayError("not_found", "there is no such route; GET /openapi.json lists them")


def _not_allowed(methods: "Sequence[str] | dict[str, Route]") -> GatewayError:
    error = GatewayError("method_not_allowed", "this route does not take this method")
    error.headers.append((b"allow", ", ".join(sorted(methods)).encode()))
    return error
