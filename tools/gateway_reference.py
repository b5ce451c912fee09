"""The tables of docs/gateway.md, written from the settings, the routes and the failures themselves."""

from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from pointsman.serve.failures import KINDS
from pointsman.serve.routes import ADMIN, PUBLIC
from pointsman.serve.settings import Rule
from pointsman.serve.settings_loader import known_keys
from tools.pages import table


def settings_table() -> str:
    """Every key that can be set, with its default; the two upstreams share one set of lines."""
    rows = []
    for key, field in known_keys().items():
        if key.startswith("upstreams.cloud."):
            continue
        name = key.replace("upstreams.local.", "upstreams.*.")
        rows.append((f"`{name}`", _default(field), field.description))
    return table(("key", "default", "what it is"), rows, figures=False)


def rules_table() -> str:
    """The keys of one rule."""
    rows = [(f"`{name}`", field.description) for name, field in Rule.model_fields.items()]
    return table(("key", "what it is"), rows, figures=False)


def routes_table() -> str:
    """Every route, who may use it, and what it does."""
    rows = []
    for route in (*PUBLIC, *(route for route in ADMIN if route.access == "admin")):
        doc = (route.handler.__doc__ or "").strip().split("\n")[0].replace("|", "\\|")
        rows.append((f"`{route.method} {route.template}`", route.access, doc))
    return table(("route", "for", "what it does"), rows, figures=False)


def failures_table() -> str:
    """Every code of an error, with its status and advice."""
    rows = []
    for code, kind in KINDS.items():
        after, again = ("yes" if kind.retry_after else "-"), str(kind.should_retry).lower()
        rows.append((f"`{code}`", kind.status, after, again))
    return table(("code", "status", "Retry-After", "x-should-retry"), rows, figures=False)


def _default(field: Any) -> str:
    default = field.default
    if default is PydanticUndefined:
        return "needed"
    if default in (None, (), {}) or isinstance(default, SecretStr | BaseModel):
        return "-"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


TABLES = {
    "settings": settings_table,
    "rules": rules_table,
    "routes": routes_table,
    "failures": failures_table,
}
