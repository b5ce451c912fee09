"""An artifact as an MLflow model, logged, registered, and back.

A model of the pyfunc flavour carries the whole artifact, tokenizer and policy included: texts in, decisions
out. One of the onnx flavour is the bare graph of one variant: token ids in, logits out. No Python object is
serialized: pyfunc finds this module by its name and reads the artifact, verified.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pointsman import __version__
from pointsman.artifact.layout import MANIFEST
from pointsman.artifact.registry import Registry
from pointsman.artifact.store import Artifact, copy_artifact
from pointsman.errors import ArtifactError, ArtifactNotFoundError, InputError, MissingExtraError
from pointsman.runtime.router import Router

ARTIFACT_TAG = "pointsman.artifact"
"""Tag of a model version: the artifact's id."""
COLUMN = "query"


def log(artifact: Artifact, flavor: str = "pyfunc") -> str:
    """Log an artifact as a model of a new run; returns its `models:/` address.

    Raises:
        MissingExtraError: MLflow is not installed.
        IntegrityError: the artifact is not what its manifest says; nothing is logged.
        ArtifactError: the tracking server refuses, or is not there.
    """
    mlflow = _mlflow()
    with tempfile.TemporaryDirectory() as folder:
        # Verified, and without what tools left beside it.
        artifact = copy_artifact(artifact, Path(folder) / "router")
        return _logged(mlflow, artifact, flavor)


def _logged(mlflow: Any, artifact: Artifact, flavor: str) -> str:
    manifest = artifact.manifest
    with _failures(mlflow), mlflow.start_run(run_name=manifest.name):
        mlflow.set_tag(ARTIFACT_TAG, manifest.id)
        common = {"name": "router", "metadata": {ARTIFACT_TAG: manifest.id}}
        if flavor == "onnx":
            import onnx

            model = onnx.load_from_string(artifact.read(manifest.variants[manifest.default_variant]))
            info = mlflow.onnx.log_model(model, save_as_external_data=False, **common)
        else:
            info = mlflow.pyfunc.log_model(
                loader_module=__name__,
                data_path=str(artifact.path),
                signature=_signature(),
                pip_requirements=[f"pointsman=={__version__}"],
                **common,
            )
    return str(info.model_uri)


def register(artifact: Artifact, name: str, alias: str | None = None, flavor: str = "pyfunc") -> str:
    """Log an artifact and register it as a version of a model; returns the version.

    Args:
        name: of the registered model; it is made where it is not.
        alias: pointed at the version when it is there, for example `stable`.
        flavor: `pyfunc` or `onnx`.
    """
    mlflow = _mlflow()
    address = log(artifact, flavor)
    with _failures(mlflow):
        version = mlflow.register_model(address, name, tags={ARTIFACT_TAG: artifact.manifest.id}).version
        if alias is not None:
            mlflow.MlflowClient().set_registered_model_alias(name, alias, version)
    return str(version)


def mirror(registry: Registry, name: str) -> dict[str, str]:
    """Give a registered model the aliases of a pointsman registry; returns alias to model version.

    An artifact that some version carries already is not logged again.
    """
    mlflow = _mlflow()
    client = mlflow.MlflowClient()
    with _failures(mlflow):
        known = {
            version.tags[ARTIFACT_TAG]: str(version.version)
            for version in client.search_model_versions(f"name = '{name}'")
            if ARTIFACT_TAG in version.tags
        }
    pointed = {}
    for alias in registry.aliases():
        artifact = registry.open(alias)
        identity = artifact.manifest.id
        if identity not in known:
            known[identity] = register(artifact, name)
        with _failures(mlflow):
            client.set_registered_model_alias(name, alias, known[identity])
        pointed[alias] = known[identity]
    return pointed


def load(address: str, target: Path) -> Artifact:
    """Get the artifact of a logged pyfunc model back, verified, into `target`.

    Args:
        address: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `runs:/...`.
        target: where it shall be; must not exist.

    Raises:
        ArtifactNotFoundError: no such model, or one that carries no artifact.
        IntegrityError: its files are not what its manifest says; nothing is written.
    """
    mlflow = _mlflow()
    with tempfile.TemporaryDirectory() as folder:
        with _failures(mlflow):
            path = Path(mlflow.artifacts.download_artifacts(artifact_uri=address, dst_path=folder))
        found = sorted(path.glob(f"data/**/{MANIFEST}"))
        if not found:
            raise ArtifactNotFoundError(f"{address} carries no artifact. Was it logged as pyfunc?")
        return copy_artifact(Artifact.open(found[0].parent), target)


class _Model:
    """What pyfunc calls."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """A pandas frame with the column `query`, or texts one by one, to a frame of decisions."""
        import pandas

        texts = model_input[COLUMN] if hasattr(model_input, "columns") else model_input
        decisions = self._router.route_many([str(text) for text in texts])
        return pandas.DataFrame([decision.to_dict() for decision in decisions])


def _load_pyfunc(path: str) -> _Model:
    """MLflow's own entry: it calls this name with the place of the artifact."""
    return _Model(Router.open(Path(path)))


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    kinds = {
        "target": "string",
        "label": "string",
        "confidence": "double",
        "p_cloud": "double",
        "reason": "string",
        "tokens": "long",
        "truncated": "boolean",
    }
    outputs = Schema([ColSpec(kind, name) for name, kind in kinds.items()])
    return ModelSignature(inputs=Schema([ColSpec("string", COLUMN)]), outputs=outputs)


def _mlflow() -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        import mlflow
        import mlflow.artifacts
        import mlflow.exceptions
    except ModuleNotFoundError:
        raise MissingExtraError("needs mlflow. Install it with: pip install 'pointsman[mlflow]'") from None
    return mlflow


@contextmanager
def _failures(mlflow: Any) -> Iterator[None]:
    try:
        yield
    except mlflow.exceptions.MlflowException as error:
        text = str(error).splitlines()[0]
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise ArtifactNotFoundError(f"MLflow: {text}") from None
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise InputError(f"MLflow: {text}") from None
        raise ArtifactError(f"MLflow: {text}") from None
