"""The model card of an artifact: the checkpoint's own, or a new one, with what the export knows."""

from pointsman.artifact.manifest import Manifest
from pointsman.convert.checkpoint import Checkpoint

_MARK = "<!-- written by pointsman export -->"


def model_card(checkpoint: Checkpoint, manifest: Manifest) -> str:
    """Markdown with the ecosystem's YAML header; what the checkpoint's card says stays and is added to."""
    own = checkpoint.path / "README.md"
    text = own.read_text(encoding="utf-8").split(_MARK)[0].rstrip() if own.is_file() else _new_card(manifest)
    return f"{text}\n\n{_MARK}\n{_export_section(manifest)}"


def _new_card(manifest: Manifest) -> str:
    return f"""---
library_name: onnx
pipeline_tag: text-classification
tags:
- llm-routing
- {manifest.model_type}
- onnx
---

# {manifest.name}

A router: it classifies a query as `local` (a small model is enough) or `cloud` (a large model is needed).
The checkpoint came without a model card; its data, licence and quality are for its author to state."""


def _word_experts(manifest: Manifest) -> str:
    if (found := manifest.conversion.get("word_experts")) is None:
        return ""
    return (
        f" Every file holds\n{found['experts']} word experts beside the network (the checkpoint's "
        "`word_experts.safetensors`): a table of words\nthat adds to the logits. "
        "`model.safetensors` alone is another classifier."
    )


def _export_section(manifest: Manifest) -> str:
    rows = "\n".join(
        f"| {name} | `{manifest.variants.get(name, 'not published')}` | {p['max_p']:.1e} | {p['mean_p']:.1e} "
        f"| {p['label_agreement']:.2%} | {p['invariance']:.1e} |"
        for name, p in manifest.parity.items()
    )
    table = (
        "| variant | file | max difference of p(cloud) | mean | labels agree | invariance |\n"
        f"|---|---|---|---|---|---|\n{rows}"
        if rows
        else "The export was not validated: nothing says that these files answer as the checkpoint does."
    )
    return f"""
## Export

Labels in the order of the logits: {", ".join(f"`{name}`" for name in manifest.labels.names)}. At
most {manifest.limits.max_tokens} tokens are read.{_word_experts(manifest)}
A router runs the `{manifest.default_variant}` variant unless told otherwise.

{table}
"""
