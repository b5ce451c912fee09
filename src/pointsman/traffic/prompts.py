"""What a judge is asked, and how its words become a verdict; both are versioned by the digest of the text."""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from pointsman.traffic.endpoint import Messages

_VERDICT = re.compile(
    r"[*_`#>\s]*verdict[*_`]*\s*[:\uff1a][*_`\s]*(A|B|TIE|CORRECT|INCORRECT)[*_`.\s]*", re.IGNORECASE
)
_FENCE = re.compile(r"\s*(?:```|~~~)\w*\s*")
_AGAIN = "Your reply does not end with the verdict line. Reply with that line alone."

PAIRWISE, REFERENCE = "pairwise", "reference"
ALLOWED = {PAIRWISE: ("A", "B", "TIE"), REFERENCE: ("CORRECT", "INCORRECT")}
"""The verdicts of each mode."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A judge's instructions, and the form of what it is shown.

    Attributes:
        mode: `pairwise` or `reference`.
        instructions: the system message, with the rubric in it.
        form: the user message, with places for `request`, `a`, and `b` or `reference`.
    """

    mode: str
    instructions: str
    form: str

    @property
    def digest(self) -> str:
        """SHA-256 of both texts: the version of the prompt."""
        return hashlib.sha256(f"{self.instructions}\0{self.form}".encode()).hexdigest()

    def messages(self, **texts: str) -> list[dict[str, Any]]:
        """The messages for these texts, each fenced so that it cannot end its own part."""
        # Texts are put between the parts of the form and never searched for places themselves.
        parts = re.split(r"\{(\w+)\}", self.form)
        filled = [
            part if at % 2 == 0 else texts[part].replace("</", "<\u200b/") for at, part in enumerate(parts)
        ]
        return [
            {"role": "system", "content": self.instructions},
            {"role": "user", "content": "".join(filled)},
        ]

    def verdict(self, reply: str) -> str | None:
        """The verdict in the last line of a reply; None where that is none of this mode, or not the only one.

        A fence around the verdict is passed over.
        """
        lines = [line for line in reply.splitlines() if line.strip() and not _FENCE.fullmatch(line)]
        said = {found[1].upper() for line in lines if (found := _VERDICT.fullmatch(line))}
        is_last = bool(lines) and _VERDICT.fullmatch(lines[-1]) is not None
        return said.pop() if is_last and len(said) == 1 and said <= {*ALLOWED[self.mode]} else None


def load_prompt(mode: str, rubric: str = "") -> Prompt:
    """The prompt of a mode, with the user's rubric in it."""
    text = files("pointsman.traffic").joinpath(f"{mode}.txt").read_text(encoding="utf-8")
    instructions, _, form = text.partition("\n===\n")
    shown = f"What matters here:\n{rubric.strip()}\n\n" if rubric.strip() else ""
    return Prompt(mode, instructions.replace("{rubric}", shown), form)


def asked_again(messages: Messages, reply: str) -> list[dict[str, Any]]:
    """The messages of a second try, after a reply without a verdict."""
    return [*messages, {"role": "assistant", "content": reply}, {"role": "user", "content": _AGAIN}]
