"""Show what an artifact is: labels, files, what was folded, fused or refused, parity and provenance."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pointsman.artifact.address import open_artifact, shipped_artifact
from pointsman.artifact.manifest import Manifest
from pointsman.evaluation.parity import sentence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("artifact", type=Path, nargs="?", help="directory (default: the shipped router)")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")


def run(args: argparse.Namespace) -> int:
    manifest = open_artifact(args.artifact or shipped_artifact()).manifest
    if args.json:
        print(json.dumps({"id": manifest.id, **manifest.to_dict()}, indent=2))
    else:
        print("\n".join(_lines(manifest)))
    return 0


def _lines(manifest: Manifest) -> Iterator[str]:
    policy, calibration = manifest.policy, manifest.calibration
    yield f"{manifest.name}  ({manifest.model_type}, artifact {manifest.id[:12]})"
    yield f"labels       {', '.join(manifest.labels.names)}, in the order of the logits"
    yield f"reads        at most {manifest.limits.max_tokens} tokens"
    yield (
        f"policy       cloud from p_cloud {policy.effective_threshold:g} (cloud threshold "
        f"{policy.cloud_threshold:g}, confidence threshold {policy.confidence_threshold:g}, "
        f"safe target {policy.safe_target})"
    )
    yield "calibration  " + (
        f"{calibration.method}, a {calibration.a:.3f}, b {calibration.b:.3f}, on {calibration.n:,} rows "
        f"(data {calibration.data_sha256[:12]})"
        if calibration
        else "none: p_cloud is the softmax"
    )
    yield ""
    for variant, file in manifest.variants.items():
        opsets = ", ".join(f"{domain} {v}" for domain, v in manifest.opsets[file].items())
        mark = "  (default)" if variant == manifest.default_variant else ""
        yield f"{variant:12} {manifest.files[file].size_bytes:>11,} bytes  {file}  [{opsets}]{mark}"
    yield ""
    yield from _conversion(manifest.conversion)
    yield ""
    yield from _parity(manifest.parity)
    yield ""
    provenance = manifest.provenance
    yield f"made         {provenance.get('created', '?')}"
    yield f"from         checkpoint {provenance.get('checkpoint_sha256', '?')}"
    yield "with         " + ", ".join(f"{n} {v}" for n, v in provenance.get("versions", {}).items())


def _conversion(conversion: Any) -> Iterator[str]:
    for name, facts in conversion.items():
        for step in facts.get("steps", []):
            refused = f", {step['refused']} refused: {step['reason']}" if step["refused"] else ""
            yield f"{name:12} {step['name']}: {step['done']}{refused}"
        if facts.get("fused"):
            yield f"{name:12} fused " + ", ".join(f"{count} {op}" for op, count in facts["fused"].items())
        if facts.get("refused"):
            yield f"{name:12} refused: {facts['refused']}"
        rest = {k: v for k, v in facts.items() if k not in ("steps", "fused", "refused")}
        if rest:
            yield f"{name:12} " + ", ".join(f"{key} {_readable(value)}" for key, value in rest.items())


def _readable(value: Any) -> str:
    """A recorded fact in a few digits; a table as its pairs."""
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key}: {_readable(part)}" for key, part in value.items()) + ")"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _parity(parity: Any) -> Iterator[str]:
    if not parity:
        yield "parity       not proved: the export was asked not to validate"
    for variant, summary in parity.items():
        yield f"parity       {variant} {sentence(summary)}"
