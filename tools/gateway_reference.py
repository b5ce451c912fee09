"""The tables of docs/gateway.md, written from the settings, the routes and the failures themselves."""

from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from pointsman.serve.failures import KINDS
from pointsman.serve.routes import ADMIN, PUBLIC
from pointsman.serve.settings import Rule
from pointsman.serve.settings_loader import known_keys


def settings_table() -> str:
    """Every key that can be set, with its default; the two upstreams share one set of lines."""
    lines = ["| key | default | what it is |", "| --- | --- | --- |"]
    for key, field in known_keys().items():
        if key.startswith("upstreams.cloud."):
            continue
        name = key.replace("upstreams.local.", "upstreams.*.")
        lines.append(f"| `{name}` | {_default(field)} | {field.description} |")
    return "\n".join(lines)


def rules_table() -> str:
    """The keys of one rule."""
    lines = ["| key | what it is |", "| --- | --- |"]
    lines += [f"| `{name}` | {field.description} |" for name, field in Rule.model_fields.items()]
    return "\n".join(lines)


def routes_table() -> str:
    """Every route, who may use it, and what it does."""
    lines = ["| route | for | what it does |", "| --- | --- | --- |"]
    for route in (*PUBLIC, *(route for route in ADMIN if route.access == "admin")):
        doc = (route.handler.__doc__ or "").strip().split("\n")[0].replace("|", "\\|")
        lines.append(f"| `{route.method} {route.template}` | {route.access} | {doc} |")
    return "\n".join(lines)


def failures_table() -> str:
    """Every code of an error, with its status and advice."""
    lines = ["| code | status | Retry-After | x-should-retry |", "| --- | --- | --- | --- |"]
    for code, kind in KINDS.items():
        after, again = ("yes" if kind.retry_after else "-"), str(kind.should_retry).lower()
        lines.append(f"| `{code}` | {kind.status} | {after} | {again} |")
    return "\n".join(lines)


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
