"""A tiny artifact with every file that a target asks for."""

from dataclasses import replace
from pathlib import Path

from tests.support.tiny_artifact import build_tiny_artifact

from pointsman.artifact.layout import INT8, PLAIN
from pointsman.artifact.store import Artifact, seal, staged


def build_full_artifact(path: Path) -> Artifact:
    """The tiny artifact at `path` with its one graph under the names of three variants."""
    tiny = build_tiny_artifact(path.with_name(path.name + "-tiny"))
    variants = {**tiny.manifest.variants, "plain": PLAIN, "int8": INT8}
    graph = tiny.read(tiny.manifest.variants["folded"])
    with staged(path) as stage:
        for name in tiny.manifest.files:
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            (stage / name).write_bytes(tiny.read(name))
        (stage / PLAIN).write_bytes(graph)
        (stage / INT8).write_bytes(graph)
        (stage / "config.json").write_text('{"model_type": "mobilebert"}')
        (stage / "tokenizer_config.json").write_text("{}")
        return seal(stage, path, replace(tiny.manifest, variants=variants, files={}))
