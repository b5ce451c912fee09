"""`hub:owner/name[@revision]`: an artifact on the Hugging Face Hub, by the Hub's own client.

A revision is a branch, a tag or a commit; without one it is `main`. A branch moves, so it is asked for each
time; a commit never changes, so one that was fetched needs no network again. What is fetched is verified
against its manifest and kept, as an artifact, under `HF_HOME/pointsman`.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pointsman.artifact.layout import MANIFEST
from pointsman.artifact.store import Artifact, copy_artifact
from pointsman.errors import (
    ArtifactError,
    ArtifactNotFoundError,
    MissingExtraError,
    OutputExistsError,
    PointsmanError,
    SettingsError,
)

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9._-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubAddress:
    """Where on the Hub: `owner/name`, and a branch, a tag or a commit of 40 hexadecimal digits."""

    repository: str
    revision: str = "main"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `owner/name[@revision]`, with or without the leading `hub:`.

        Raises:
            SettingsError: it is neither.
        """
        repository, at, revision = text.removeprefix("hub:").partition("@")
        if not _REPOSITORY.fullmatch(repository) or bool(at) != bool(revision):
            raise SettingsError(f"expected hub:owner/name or hub:owner/name@revision, found {text!r}.")
        return cls(repository, revision or "main")

    def __str__(self) -> str:
        return f"hub:{self.repository}@{self.revision}"


def fetch(address: HubAddress) -> Path:
    """The directory of the artifact at an address, fetched unless its commit is there.

    Raises:
        MissingExtraError: the Hub's client is not installed.
        ArtifactNotFoundError: no such repository or revision, or none that the token may see.
        IntegrityError: the repository's files are not what its manifest says; nothing is kept.
        ArtifactError: the Hub cannot be reached.
    """
    hub = client()
    with failures(hub, str(address)):
        commit = address.revision
        if not _COMMIT.fullmatch(commit):
            commit = hub.HfApi().model_info(address.repository, revision=commit).sha
    kept = Path(hub.constants.HF_HOME) / "pointsman" / address.repository.replace("/", "--") / commit
    if kept.is_dir():
        return kept
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder)
        # The manifest first: it says which files there are to fetch, and how many bytes.
        _download(hub, address, commit, stage, [MANIFEST])
        if not (stage / MANIFEST).is_file():
            raise ArtifactNotFoundError(f"{address} is no artifact: it has no {MANIFEST}.")
        artifact = Artifact.open(stage)
        _download(hub, address, commit, stage, list(artifact.manifest.files))
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            return copy_artifact(artifact, kept).path
        except OutputExistsError:
            # Another process fetched the same commit meanwhile.
            return kept
        except OSError as error:
            raise ArtifactError(f"{kept} cannot be written: {error.strerror}. Set HF_HOME.") from None


def _download(hub: Any, address: HubAddress, commit: str, stage: Path, names: list[str]) -> None:
    with failures(hub, str(address)):
        hub.snapshot_download(address.repository, revision=commit, local_dir=stage, allow_patterns=names)


def client() -> Any:
    """The `huggingface_hub` module.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ModuleNotFoundError:
        raise MissingExtraError(
            "hub: needs huggingface_hub. Install it with: pip install 'pointsman[hub]'"
        ) from None
    return huggingface_hub


@contextmanager
def failures(hub: Any, what: str) -> Iterator[None]:
    """The client's errors as ours; no message holds a token."""
    login = "Log in with `hf auth login`, or set HF_TOKEN."
    try:
        yield
    except PointsmanError:
        raise
    except hub.errors.RevisionNotFoundError:
        raise ArtifactNotFoundError(f"{what}: the repository has no such revision.") from None
    except hub.errors.RepositoryNotFoundError:
        raise ArtifactNotFoundError(
            f"{what}: no such repository, or it is private and your token does not open it. {login}"
        ) from None
    except hub.errors.HfHubHTTPError as error:
        status = error.response.status_code
        hint = f" {login}" if status in (401, 403) else ""
        raise ArtifactError(f"{what}: the Hub answered {status}.{hint}") from None
    except Exception as error:  # noqa: BLE001 - the client lets through what its HTTP library raises
        raise ArtifactError(
            f"{what}: the Hub cannot be reached ({type(error).__name__}). A commit that was fetched before "
            "needs no network: name it by its 40 digits, as hub:owner/name@COMMIT."
        ) from None
