"""What every encoder has to hold, tiny and random: exported, proved, and int8 or the reason why not."""

from pathlib import Path

import numpy as np
from tests.convert.tiny_checkpoint import write_other

from pointsman.convert.build import export
from pointsman.convert.options import ExportOptions
from pointsman.runtime.router import Router

AFTER_PADDING = ("roberta", "xlm-roberta", "mpnet")
OPTIONS = ExportOptions(measure=False, max_tokens=48)


def made(directory: Path, architecture: str) -> Path:
    """A checkpoint of an architecture; MiniLM is a BERT of other sizes."""
    if architecture == "MiniLM":
        sizes = {"hidden_size": 48, "num_hidden_layers": 3, "intermediate_size": 96}
        return write_other(directory / "checkpoint", "bert", **sizes)
    pad = 1 if architecture in AFTER_PADDING else 0
    return write_other(directory / "checkpoint", architecture, pad_token_id=pad)


def check_encoder(architecture: str, directory: Path) -> None:
    """Export it, and ask every variant alone and in a padded batch."""
    exported = export(made(directory, architecture), directory / "artifact", OPTIONS, lambda line: None)
    manifest = exported.artifact.manifest
    assert manifest.model_type == architecture.replace("MiniLM", "bert")
    assert exported.comparisons["plain"].passed
    assert "not MobileBERT" in manifest.conversion["fold"]["refused"]
    assert ("folded" in manifest.variants) != ("refused" in manifest.conversion["optimizer"])
    assert ("int8" in manifest.variants) != ("refused" in manifest.conversion["int8"])
    if "int8" in manifest.variants:
        assert manifest.conversion["int8"]["magnitudes"]["largest"] > 0
    texts = ["a", "some more words than the first", "", "b" * 40]
    for variant in manifest.variants:
        router = Router.open(exported.artifact.path, variant=variant)
        together = router.logits(texts)
        alone = np.concatenate([router.logits([text]) for text in texts])
        np.testing.assert_allclose(together, alone, atol=2e-5)
