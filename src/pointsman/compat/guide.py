"""The conversion guide's own interface: its class and its file names, over this package.

Code that follows the guide (`from modules.onnx_converter import MobileBertONNXConverter`) gets a verified
artifact in `{output_dir}/artifact`, and beside it the files under the names that the guide uses. Where the
guide's recipe would give wrong or unproven results, this gives right ones: parity is judged on probability
and label, an opset is what was asked for, sizes and speeds are measured.
"""

import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pointsman.artifact.layout import (
    GUIDE_ARTIFACT,
    GUIDE_FOLDED,
    GUIDE_INT8,
    GUIDE_PLAIN,
    GUIDE_TOKENIZER,
    ONNX_DIRECTORY,
    PARITY_REPORT,
    TOKENIZER,
    TOKENIZER_COMPANIONS,
    VARIANTS,
)
from pointsman.artifact.store import Artifact
from pointsman.compat.guide_figures import ROUNDS, TOKENS, compared, measured, say
from pointsman.convert.build import export
from pointsman.convert.checkpoint import read_checkpoint
from pointsman.convert.options import ExportOptions, Shape
from pointsman.datasets.reading import project_queries
from pointsman.errors import ArtifactError, InputError
from pointsman.evaluation.parity import answers_alone, in_words
from pointsman.runtime.router import Router
from pointsman.runtime.session import available_threads
from pointsman.runtime.tokenize import checked_texts
from pointsman.settings import Settings

DEFAULT_PATHS = ("./notebooks/mobilebert_query_router_trained", "./notebooks/mobilbert_query_router_trained")
"""Where a checkpoint is looked for by default: the right spelling, and the guide's."""

_GUIDE_NAMES = {"plain": GUIDE_PLAIN, "folded": GUIDE_FOLDED, "int8": GUIDE_INT8}


class MobileBertONNXConverter:
    """A trained query router to ONNX: convert, validate, benchmark, export for production.

    Attributes:
        output_dir: where the guide's files and the artifact go.
        model: the torch module, once `load_pytorch_model` was called.
        tokenizer: its transformers tokenizer, likewise.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        output_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        """Take the paths; nothing is read yet.

        Args:
            model_path: None takes `BERT_MODEL_FULLPATH` or `BERT_MODEL_PATH` of the environment or `.env`, or
                else the guide's default directory.
            output_dir: None takes `{model_path}/onnx`.
        """
        self.model_path = Path(model_path) if model_path is not None else _default_model_path()
        self.output_dir = Path(output_dir) if output_dir is not None else self.model_path / ONNX_DIRECTORY
        self.model: Any = None
        self.tokenizer: Any = None

    @property
    def artifact(self) -> Artifact:
        """The artifact of the last conversion.

        Raises:
            ArtifactNotFoundError: nothing was converted yet.
        """
        return Artifact.open(self.output_dir / GUIDE_ARTIFACT)

    def load_pytorch_model(self) -> Any:
        """Load the checkpoint into torch (eval mode, float32) with its tokenizer; returns the module.

        Raises:
            CheckpointError: it cannot be read or trusted.
        """
        from pointsman.convert.reference import load_tokenizer
        from pointsman.convert.torch_export import load_model

        checkpoint = read_checkpoint(self.model_path)
        self.model = load_model(checkpoint)
        self.tokenizer = load_tokenizer(checkpoint)
        return self.model

    def convert_to_onnx(
        self,
        opset_version: int = 14,
        max_length: int = 128,
        dynamic_axes: bool = True,
        optimize: bool = True,
    ) -> str:
        """Convert, prove, and write the artifact and the guide's files; returns the path of the plain file.

        An earlier conversion is replaced.

        Args:
            opset_version: of the plain file, 14..23.
            max_length: tokens read of a text.
            dynamic_axes: any batch and length; False fixes the plain file to 1 x max_length.
            optimize: write the folded and the int8 file, too.

        Raises:
            CheckpointError, ConversionError, ParityError: see `pointsman.convert.build.export`; an earlier
                conversion stays as it was.
        """
        options = ExportOptions(
            opset=opset_version,
            max_tokens=max_length,
            shape=Shape() if dynamic_axes else Shape(1, max_length),
            fold=optimize,
            quantize=optimize,
            threads=available_threads(),
        )
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArtifactError(f"{self.output_dir} cannot be made: {error.strerror}.") from None
        fresh = self.output_dir / f".{GUIDE_ARTIFACT}-{secrets.token_hex(4)}"
        try:
            self._publish(export(self.model_path, fresh, options, say).artifact)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return str(self.output_dir / GUIDE_PLAIN)

    def validate_onnx_model(self, test_queries: Sequence[str] | None = None) -> dict[str, Any]:
        """Compare the plain file with the checkpoint, query by query.

        Args:
            test_queries: None takes the project's own test queries.

        Returns:
            `passed` and `total_tests` (a query passes with the same label and a probability within 1e-4),
            `max_difference` (of a logit), `max_probability_difference`, `verdict` in the guide's words, and
            `details`, a list with one table per query.

        Raises:
            InputError: no queries, or no list of texts.
            ArtifactNotFoundError: nothing was converted yet.
        """
        from pointsman.convert.reference import TorchBackend

        queries = list(checked_texts(project_queries() if test_queries is None else test_queries))
        if not queries:
            raise InputError("test_queries: expected at least one query, found none.")
        router = Router.open(self.artifact, variant="plain", settings=Settings())
        tokens = [encoding.ids for encoding in router.encode(queries)]
        model = self.load_pytorch_model() if self.model is None else self.model
        wanted, found = (answers_alone(of, tokens) for of in (TorchBackend(model), router.session))
        details = [
            compared(router.labels.names, query, *logits)
            for query, *logits in zip(queries, wanted, found, strict=True)
        ]
        largest = max(one["probability_difference"] for one in details)
        return {
            "passed": sum(one["passed"] for one in details),
            "total_tests": len(details),
            "max_difference": max(one["difference"] for one in details),
            "max_probability_difference": largest,
            "verdict": in_words(largest),
            "details": details,
        }

    def benchmark_performance(self, num_iterations: int = 100) -> dict[str, Any]:
        """Measure one query of 16 tokens: PyTorch against every file of the artifact.

        Each backend runs alone in its own process with the same threads, in alternating rounds; calls that
        warm up do not count.

        Args:
            num_iterations: calls per backend that count, at least 5; rounded up to whole rounds.

        Returns:
            A table each for `pytorch`, `onnx` (what a router runs by default) and every variant by its name,
            with `avg_time_ms`, `p50_ms`, `p95_ms`, `p99_ms`, `n`; `speedup` (mean of PyTorch over that of
            `onnx`), `default_variant`, `threads`, `tokens`.

        Raises:
            InputError: too few iterations.
            ArtifactError: a backend did not run.
        """
        if not isinstance(num_iterations, int) or num_iterations < ROUNDS:
            raise InputError(f"num_iterations: expected at least {ROUNDS}, found {num_iterations!r}.")
        artifact, threads = self.artifact, available_threads()
        tables = measured(self.model_path, artifact, threads, -(-num_iterations // ROUNDS))
        default = artifact.manifest.default_variant
        return {
            **tables,
            "onnx": tables[default],
            "speedup": tables["pytorch"]["avg_time_ms"] / tables[default]["avg_time_ms"],
            "default_variant": default,
            "threads": threads,
            "tokens": TOKENS,
        }

    def export_for_production(
        self,
        include_optimized: bool = True,
        include_validation: bool = True,
        include_benchmark: bool = True,
    ) -> dict[str, Any]:
        """Convert, and on request validate and benchmark.

        Returns:
            `onnx_model`, `tokenizer` and `artifact` (paths); `optimized_model` and `quantized_model` where
            they were published; `validation` and `benchmark` where asked for; `parity_report`.
        """
        plain = self.convert_to_onnx(optimize=include_optimized)
        made: dict[str, Any] = {
            "onnx_model": plain,
            "tokenizer": str(self.output_dir / GUIDE_TOKENIZER),
            "artifact": str(self.artifact.path),
            "parity_report": str(self.artifact.path / PARITY_REPORT),
        }
        for key, name in (("optimized_model", GUIDE_FOLDED), ("quantized_model", GUIDE_INT8)):
            if (self.output_dir / name).is_file():
                made[key] = str(self.output_dir / name)
        if include_validation:
            made["validation"] = self.validate_onnx_model()
        if include_benchmark:
            made["benchmark"] = self.benchmark_performance()
        return made

    def _publish(self, made: Artifact) -> None:
        """Put a finished artifact and the guide's names in place of those of an earlier conversion."""
        final, old = self.output_dir / GUIDE_ARTIFACT, made.path.with_name(made.path.name + "-old")
        try:
            if final.exists():
                final.rename(old)
            made.path.rename(final)
            shutil.rmtree(old, ignore_errors=True)
            for variant, name in _GUIDE_NAMES.items():
                (self.output_dir / name).unlink(missing_ok=True)
                if variant in made.manifest.variants:
                    shutil.copyfile(final / VARIANTS[variant], self.output_dir / name)
            folder = self.output_dir / GUIDE_TOKENIZER
            folder.mkdir(exist_ok=True)
            for name in (TOKENIZER, *TOKENIZER_COMPANIONS):
                if (final / name).is_file():
                    shutil.copyfile(final / name, folder / name)
        except OSError as error:
            raise ArtifactError(f"cannot write to {self.output_dir}: {error.strerror}.") from error


def _default_model_path() -> Path:
    named = Settings.load().model_path
    if named is not None:
        return named
    there = [Path(path) for path in DEFAULT_PATHS if Path(path).is_dir()]
    return there[0] if there else Path(DEFAULT_PATHS[0])
