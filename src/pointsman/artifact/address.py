"""What a user writes to name a router: a directory, `default-router`, a registry's name, a Hub address."""

from pathlib import Path

from pointsman.artifact.registry import Registry
from pointsman.artifact.store import Artifact
from pointsman.errors import ArtifactError

DEFAULT_ROUTER = "default-router"
"""The name of the shipped router and of its checkpoint, where no file of that name is."""

_HUB = "hub:"
_PACKAGE = Path(__file__).parents[1]


def shipped_artifact() -> Path:
    """Where the router that comes with the package is."""
    return _PACKAGE / "shipped"


def checkpoint_at(path: str | Path) -> Path:
    """The path itself, or that of the shipped checkpoint for `default-router`."""
    path = Path(path)
    if path.exists() or path != Path(DEFAULT_ROUTER):
        return path
    installed = _PACKAGE / "checkpoints" / DEFAULT_ROUTER
    return installed if installed.is_dir() else _PACKAGE.parents[1] / "checkpoints" / DEFAULT_ROUTER


def is_on_hub(path: str | Path) -> bool:
    """Whether an address names the Hub, so that opening it may fetch something."""
    # A Path reads `hub:a/b` as it stands, so it is told by its beginning in either form.
    return Path(path).as_posix().startswith(_HUB)


def open_artifact(path: str | Path) -> Artifact:
    """The artifact at an address, as it is there now.

    Args:
        path: a directory; `default-router`, the shipped one; `REGISTRY/<version or alias>`; or
            `hub:owner/name[@revision]`, which is fetched.

    Raises:
        ArtifactNotFoundError: there is none.
        RegistryError: the registry knows no such name.
        ManifestError: the manifest is not understood.
        MissingExtraError: the Hub's client is not installed.
        ArtifactError: the Hub cannot be reached.
    """
    path = Path(path)
    if is_on_hub(path):
        from pointsman.artifact.hub import HubAddress, fetch  # its client is an extra

        return Artifact.open(fetch(HubAddress.parse(path.as_posix())))
    try:
        if path == Path(DEFAULT_ROUTER) and not path.exists():
            return Artifact.open(shipped_artifact())
        registry = Registry(path.parent)
        if path.exists() or not registry.exists:
            return Artifact.open(path)
        return registry.open(path.name)
    except (OSError, ValueError) as error:
        # A name that is too long, a folder that may not be entered, a NUL.
        raise ArtifactError(f"{path} cannot be read: {error}.") from None


def version_of(artifact: Artifact) -> str | None:
    """The name of the registry's version that an artifact is; None where it is in no registry."""
    versions = artifact.path.parent
    is_version = versions.name == "versions" and (versions.parent / "history.jsonl").is_file()
    return artifact.path.name if is_version else None
