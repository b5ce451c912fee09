"""What a gateway configuration says to `collect`: its endpoints; and the consent to paid calls."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointsman.errors import SettingsError
from pointsman.progress import tell

if TYPE_CHECKING:
    from pointsman.serve.upstream_settings import UpstreamSettings
    from pointsman.traffic.asking import Asked, Limits
    from pointsman.traffic.endpoint import Call, Endpoint
    from pointsman.traffic.estimate import Expectation
    from pointsman.traffic.work import Work


def endpoint(settings: "UpstreamSettings | None", side: str) -> "Endpoint":
    """One upstream of the configuration, with its key.

    Raises:
        SettingsError: it is missing, has no model, speaks another protocol, or its key cannot be read.
    """
    from pointsman.serve.upstream.headers import read_key, set_headers
    from pointsman.traffic.endpoint import Endpoint

    if settings is None or not settings.model:
        raise SettingsError(f"--config: expected upstreams.{side} with url and model.")
    if settings.api == "anthropic":
        raise SettingsError(f"--config: upstreams.{side}.api: expected an OpenAI-compatible API here.")
    given = settings.model_fields_set & {"price_in", "price_out"}
    if len(given) == 1:
        missing = "price_out" if "price_in" in given else "price_in"
        tell(f"upstreams.{side}.{missing} is not set, and counts as 0")
    priced = side == "local" or settings.price_in > 0 or settings.price_out > 0
    return Endpoint(
        settings.url,
        settings.model,
        read_key(settings, side) or "",
        settings.price_in if priced else None,
        settings.price_out if priced else None,
        settings.api_version if settings.api == "azure" else None,
        settings.first_byte_timeout_s,
        settings.connect_timeout_s,
        set_headers(settings, side),
    )


def read_text(path: Path | None, flag: str) -> str | None:
    """A text file of the user's; None where none is named.

    Raises:
        SettingsError: it cannot be read, or is empty.
    """
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{flag} {path} cannot be read: {error}.") from None
    if not text:
        raise SettingsError(f"{flag} {path}: expected text, found none.")
    return text


def consent(calls: "Sequence[Call]", work: "Work", limits: "Limits", args: Any) -> "Expectation | None":
    """Show the estimate and ask whether to go on: what is expected, or None after --dry-run or a no.

    Raises:
        SettingsError: no terminal to ask at and no --yes, or a budget where a price is not known.
    """
    from pointsman.traffic.estimate import estimate, expectation

    expect = expectation(calls, work)
    found = estimate(calls, work, expect, limits.concurrency)
    tell(f"{args.command}: {found.sentence(limits.currency)}")
    if limits.budget is not None and found.money is None:
        prices = {"judge": "give --judge-price-in and --judge-price-out"}
        said = prices.get(args.command, "set price_in and price_out in --config")
        raise SettingsError(f"--budget needs prices: {said}, per million tokens.")
    if args.dry_run or (found.calls and not agreed(args.yes)):
        return None
    return expect


def ask(calls: "Sequence[Call]", work: "Work", limits: "Limits", expect: "Expectation") -> "Asked":
    """Ask the endpoints, and say what failed."""
    from pointsman.traffic.asking import ask_all

    asked = ask_all(calls, work, limits, expect, tell)
    for reason, count in sorted(asked.reasons.items(), key=lambda item: -item[1])[:5]:
        tell(f"{count:,} calls failed: {reason}")
    if asked.out_of_budget:
        tell(f"stopped at the budget of {limits.budget:g} {limits.currency}; the same command goes on")
    return asked


def agreed(yes: bool) -> bool:
    """Whether the person agrees: by --yes, or at the terminal.

    Raises:
        SettingsError: there is no terminal to ask at.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise SettingsError("nothing was asked or paid: there is no terminal to ask at. Agree with --yes.")
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
