"""The guide's functions: batches in order, immutable versions, sessions that are what was asked for."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort

from pointsman.artifact.registry import Registry
from pointsman.artifact.store import Artifact
from pointsman.errors import ArtifactError, InputError
from pointsman.runtime.probability import softmax
from pointsman.runtime.router import Router
from pointsman.runtime.session import SessionConfig, resolve_providers
from pointsman.runtime.tokenize import checked_texts


def batch_inference(
    queries: Iterable[str], batch_size: int = 32, *, router: Router | None = None
) -> list[tuple[int, float]]:
    """Classify many queries: (index of the class, its probability), in the order of the queries.

    Args:
        batch_size: rows of one run of the model at most; batches are made by length, so this bounds memory
            and changes no answer.
        router: None opens the one that the environment names, or else the one that is shipped.

    Raises:
        InputError: a batch size below 1, or a query that is no text.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"batch_size: expected a whole number of at least 1, found {batch_size!r}.")
    texts = list(checked_texts(queries))
    router = Router.open() if router is None else router
    found: list[tuple[int, float]] = []
    for start in range(0, len(texts), batch_size):
        for row in softmax(router.logits(texts[start : start + batch_size])):
            found.append((int(row.argmax()), float(row.max())))
    return found


def version_model(model_path: str | os.PathLike[str], version: str | None = None) -> str:
    """Publish an artifact as an immutable version; returns where it is.

    Versions stand in `{model_path}_versions`, a registry that `pointsman versions` reads, too.

    Args:
        model_path: an artifact, or the directory that the converter wrote one to.
        version: its name; None takes the time.

    Raises:
        RegistryError: the version exists: versions never change.
        ArtifactError: there is no artifact, or it was altered.
    """
    path = Path(model_path) if Path(model_path).name else Path(model_path).absolute()
    registry = Registry(path.with_name(f"{path.name}_versions"))
    published = registry.publish(Artifact.open(path), version)
    versioned = str(registry.open(published.name).path)
    print(f"Model versioned: {versioned}")
    return versioned


def inference_session(
    model: str | os.PathLike[str],
    providers: Sequence[str] = ("CPUExecutionProvider",),
    sess_options: Mapping[str, Any] | ort.SessionOptions | None = None,
) -> ort.InferenceSession:
    """A bare ONNX Runtime session with `sess_options` as a plain table; an absent provider is an error.

    Args:
        providers: in order of preference; all of them must be installed.
        sess_options: attributes of `onnxruntime.SessionOptions` by name, or such an object.

    Raises:
        RuntimeUnavailableError: a provider is not in this installation.
        InputError: an option that ONNX Runtime does not have, or not with this value.
        ArtifactError: a file that is not there, or that it does not take.
    """
    options = sess_options
    if not isinstance(options, ort.SessionOptions):
        options = ort.SessionOptions()
        for name, value in dict(sess_options or {}).items():
            if not hasattr(options, name):
                raise InputError(f"sess_options: ONNX Runtime {ort.__version__} has no option {name!r}.")
            try:
                setattr(options, name, value)
            except TypeError:
                found = f"{getattr(options, name)!r} is its default, found {value!r}"
                raise InputError(f"sess_options: {name} takes another type: {found}.") from None
    wanted = [name for name, _ in resolve_providers(SessionConfig(providers=providers))]
    try:
        return ort.InferenceSession(str(model), sess_options=options, providers=wanted)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises its own untyped exceptions
        raise ArtifactError(f"ONNX Runtime {ort.__version__} does not take {model}: {error}") from None
