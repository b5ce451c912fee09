"""Writes `pointsman/serve/routing/lookalikes.py` from Unicode's table of confusable characters.

The table comes with the package confusable-homoglyphs (MIT; data: Unicode, security mechanisms for UTS #39).
`python -m tests.support.lookalikes` prints the module.
"""

import json
import unicodedata
from importlib.resources import files

_SCRIPTS = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "COPTIC", "CHEROKEE", "LISU")
_CAPITAL_I = {"GREEK", "CYRILLIC", "COPTIC"}
"""Whose capital I the table calls a small l, as Latin's own."""


def lookalikes() -> tuple[dict[str, str], dict[str, str]]:
    """Small letters and capitals of other scripts, each with the Latin letter that it looks like."""
    table = json.loads(files("confusable_homoglyphs").joinpath("confusables.json").read_text())
    small: dict[str, str] = {}
    capitals: dict[str, str] = {}
    for char, others in sorted(table.items()):
        script = unicodedata.name(char[0], "").partition(" ")[0]
        latin = [other["c"] for other in others if other["c"].isascii() and other["c"].isalpha()]
        if len(char) != 1 or char.isascii() or script not in _SCRIPTS or not latin or not char.isalpha():
            continue
        if unicodedata.normalize("NFKD", char) != char or len(latin[0]) != 1:
            continue
        if char == char.casefold() or script == "CHEROKEE":
            small[char] = latin[0].lower()
        else:
            is_i = latin[0] == "l" and script in _CAPITAL_I
            capitals[char] = "I" if is_i else latin[0].upper()
    return small, capitals


def module() -> str:
    """The module's source."""
    lines = ['"""Letters that look like Latin ones; written by `python -m tests.support.lookalikes`."""', ""]
    for name, pairs in zip(("SMALL", "CAPITALS"), lookalikes(), strict=True):
        lines.append(f"{name} = dict(")
        lines.append("    zip(")
        for side in ("".join(pairs), "".join(pairs.values())):
            lines.append(f'        "{side}",')
        lines += ["        strict=True,", "    )", ")"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(module(), end="")
