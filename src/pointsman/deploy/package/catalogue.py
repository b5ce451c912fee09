"""Every target there is."""

import difflib

from pointsman.deploy.package import (
    containers,
    javascript,
    languages,
    mobile,
    model_servers,
    native,
    text_in,
)
from pointsman.deploy.package.target import Target
from pointsman.errors import InputError

TARGETS: dict[str, Target] = {
    target.name: target
    for room in (containers, javascript, mobile, model_servers, native, languages, text_in)
    for target in room.TARGETS
}


def target_named(name: str) -> Target:
    """The target of that name.

    Raises:
        InputError: there is none; the nearest name is offered.
    """
    if name in TARGETS:
        return TARGETS[name]
    near = difflib.get_close_matches(name, TARGETS, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise InputError(f"unknown target {name!r}. {hint}There are: {', '.join(TARGETS)}.")
