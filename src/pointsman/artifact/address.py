"""What a user writes to name an artifact: a directory, a name in a registry, or an address on the Hub."""

from pathlib import Path

from pointsman.artifact.registry import Registry
from pointsman.artifact.store import Artifact

_HUB = "hub:"


def is_on_hub(path: str | Path) -> bool:
    """Whether an address names the Hub, so that opening it may fetch something."""
    # A Path reads `hub:a/b` as it stands, so it is told by its beginning in either form.
    return Path(path).as_posix().startswith(_HUB)


def open_artifact(path: str | Path) -> Artifact:
    """The artifact at an address, as it is there now.

    Args:
        path: a directory; `REGISTRY/<version or alias>`; or `hub:owner/name[@revision]`, which is fetched.

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
    registry = Registry(path.parent)
    if path.exists() or not registry.exists:
        return Artifact.open(path)
    return registry.open(path.name)
