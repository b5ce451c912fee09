"""An artifact to the Hugging Face Hub: every file in one commit, by the Hub's own client."""

import tempfile
from pathlib import Path
from typing import Any

from pointsman.artifact.hub import HubAddress, client, failures
from pointsman.artifact.layout import MANIFEST
from pointsman.artifact.store import Artifact
from pointsman.errors import SettingsError

_ATTRIBUTES = ".gitattributes"
_LFS = tuple(f"*.{suffix} filter=lfs diff=lfs merge=lfs -text" for suffix in ("onnx", "onnx_data", "ort"))
"""Models are large and binary: git keeps pointers."""


def push(artifact: Artifact, address: HubAddress, *, private: bool = False) -> HubAddress:
    """Verify an artifact and commit it; returns the address of the commit.

    The repository is made where there is none, and the branch too. Files of the repository that are not the
    artifact's stay, and are not part of this one.

    Args:
        private: of a repository that is made now.

    Raises:
        SettingsError: no token.
        IntegrityError: the artifact is not what its manifest says; nothing is sent.
        ArtifactError: the Hub refuses, or cannot be reached; the branch is as it was.
    """
    hub = client()
    if hub.get_token() is None:
        raise SettingsError("no token for the Hub. Log in with `hf auth login`, or set HF_TOKEN.")
    artifact.verify()
    files = {name: artifact.read(name) for name in artifact.manifest.files}
    files[MANIFEST] = (artifact.path / MANIFEST).read_bytes()
    api = hub.HfApi()
    with failures(hub, str(address)):
        api.create_repo(address.repository, private=private or None, exist_ok=True)
        if address.revision != "main":
            api.create_branch(address.repository, branch=address.revision, exist_ok=True)
        files[_ATTRIBUTES] = _attributes(hub, address)
        commit = api.create_commit(
            address.repository,
            [hub.CommitOperationAdd(name, data) for name, data in sorted(files.items())],
            revision=address.revision,
            commit_message=f"Add {artifact.manifest.name}, artifact {artifact.manifest.id[:12]}",
        )
    return HubAddress(address.repository, commit.oid)


def _attributes(hub: Any, address: HubAddress) -> bytes:
    """The repository's own rules, and those of ours that it lacks."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = hub.hf_hub_download(
                address.repository, _ATTRIBUTES, revision=address.revision, local_dir=folder
            )
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except hub.errors.EntryNotFoundError:
            lines = []
    return "".join(f"{line}\n" for line in [*lines, *(rule for rule in _LFS if rule not in lines)]).encode()
