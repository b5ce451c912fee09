"""Programs in compiled languages on ONNX Runtime's own interface, with a WordPiece tokenizer of their own."""

import json
from pathlib import Path

from pointsman.artifact.layout import TOKENIZER
from pointsman.artifact.store import Artifact
from pointsman.deploy.package.characters import UNKNOWN, Characters, read_characters
from pointsman.deploy.package.render import weights_of
from pointsman.deploy.package.target import Target

_UNKNOWN = "\x1a"
"""One byte for what the vocabulary does not hold; a control character, so never in a normalized text."""


def write_tokenizer(artifact: Artifact, stage: Path) -> None:
    """Write the vocabulary, the table of characters and the tokenizer's constants for the program.

    Raises:
        ArtifactError: the artifact's tokenizer is not a WordPiece tokenizer of BERT's kind.
    """
    characters = read_characters(artifact.read(TOKENIZER))
    (stage / "vocab.txt").write_text("\n".join(characters.vocabulary) + "\n", encoding="utf-8", newline="\n")
    lines = [f"{first:x} {last:x} |{text}" for first, last, text in _lines(characters)]
    (stage / "characters.txt").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    constants = {
        "UNKNOWN_TOKEN": json.dumps(characters.unknown),
        "START_TOKEN": json.dumps(characters.start),
        "END_TOKEN": json.dumps(characters.end),
        "UNKNOWN_CHARACTER": f"'\\x{ord(_UNKNOWN):x}'",
        "MAX_WORD": str(characters.longest),
    }
    header = "".join(f"#define {name} {value}\n" for name, value in constants.items())
    weights = ",".join(map(str, weights_of(artifact)))
    header += f"static const signed char WORD_WEIGHTS[] = {{{weights}}};\n"
    (stage / "tokenizer.h").write_text(header, encoding="utf-8", newline="\n")


def _lines(characters: Characters) -> list[tuple[int, int, str]]:
    """First and last code point and the text for both, in order."""
    many = characters.classes
    lines = [
        (first, last, text.replace(UNKNOWN, _UNKNOWN))
        for one, text in characters.table.items()
        for first, last in many.get(one, [(ord(one), ord(one))])
    ]
    return sorted(lines)


TARGETS = (
    Target(
        name="c",
        page="other-languages",
        purpose="a program in C on ONNX Runtime's C interface, its tokenizer included",
        needs="a C compiler, ONNX Runtime's header and library (Debian: libonnxruntime-dev)",
        tested="compiled by gcc and run: 1,000 texts and hostile Unicode against Python",
        variants={"router.onnx": ("int8", "plain")},
        step=write_tokenizer,
    ),
)
