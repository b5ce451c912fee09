"""A registry of artifact versions on disk: immutable versions, atomic aliases, an append-only history.

::

    REGISTRY/
    ├── versions/<version>/   artifacts, never changed
    ├── aliases/<alias>       one line: the version it names; replaced in one step
    └── history.jsonl         every publish, promote and rollback
"""

import json
import os
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pointsman.artifact.atomic import atomic_write
from pointsman.artifact.staging import remove_stale
from pointsman.artifact.store import Artifact, copy_artifact
from pointsman.errors import OutputExistsError, RegistryError

STABLE = "stable"
_VERSIONS = "versions"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Version:
    """One published version, its artifact's id (64 hexadecimal digits) and the aliases that name it."""

    name: str
    artifact_id: str
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Registry:
    """The registry in one directory; the directory is made by the first publish."""

    path: Path

    def publish(self, artifact: Artifact, version: str | None = None) -> Version:
        """Copy a verified artifact in under a new version name; the name defaults to the time and its id.

        Raises:
            RegistryError: the version exists, the name is not usable, or the directory cannot be written.
            IntegrityError: the artifact is not what its manifest says.
        """
        stamp = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
        name = _checked_name(version or f"{stamp}-{artifact.manifest.id[:8]}", "version")
        try:
            self._versions.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RegistryError(f"no registry can be made at {self.path}: {error.strerror}.") from None
        remove_stale(self._versions, ".*.partial")
        try:
            copy_artifact(artifact, self._versions / name)
        except OutputExistsError:
            raise RegistryError(f"version {name!r} exists in {self.path}; versions never change.") from None
        self._record("publish", version=name, artifact_id=artifact.manifest.id)
        return Version(name, artifact.manifest.id, ())

    @property
    def exists(self) -> bool:
        """Whether anything was ever published here."""
        return self._versions.is_dir()

    def versions(self) -> list[Version]:
        """Every version, oldest name first."""
        if not self._versions.is_dir():
            return []
        aliases = self.aliases()
        return [
            Version(
                path.name,
                Artifact.open(path).manifest.id,
                tuple(sorted(alias for alias, version in aliases.items() if version == path.name)),
            )
            for path in sorted(self._versions.iterdir())
            if not path.name.startswith(".")
        ]

    def aliases(self) -> dict[str, str]:
        """Alias to version name."""
        if not self._aliases.is_dir():
            return {}
        return {
            path.name: path.read_text(encoding="utf-8").strip()
            for path in sorted(self._aliases.iterdir())
            if not path.name.startswith(".")
        }

    def open(self, name: str = STABLE) -> Artifact:
        """The artifact under a version name or an alias; a version name wins.

        Raises:
            RegistryError: neither is known.
        """
        return Artifact.open(self._versions / self._resolve(name))

    def promote(self, version: str, alias: str = STABLE) -> None:
        """Point `alias` at `version`, in one atomic step, after verifying the version.

        Raises:
            RegistryError: no such version.
            IntegrityError: the version was altered on disk; the alias stays.
        """
        resolved = self._resolve(version)
        Artifact.open(self._versions / resolved).verify()
        previous = self.aliases().get(_checked_name(alias, "alias"))
        self._point(alias, resolved)
        self._record("promote", alias=alias, version=resolved, previous=previous)

    def rollback(self, alias: str = STABLE) -> str:
        """Point `alias` back to the version before the last promotion, and return that version's name.

        Raises:
            RegistryError: there is nothing to go back to.
        """
        stack: list[str] = []
        for event in self.history():
            if event.get("alias") != alias:
                continue
            if event["event"] == "promote":
                if stack[-1:] != [event["version"]]:
                    stack.append(event["version"])
            elif event["event"] == "rollback" and stack:
                stack.pop()
        if len(stack) < 2:
            raise RegistryError(f"alias {alias!r} in {self.path} has no earlier version to go back to.")
        version = stack[-2]
        Artifact.open(self._versions / self._resolve(version)).verify()
        self._point(alias, version)
        self._record("rollback", alias=alias, version=version, previous=stack[-1])
        return version

    def verify(self, name: str | None = None) -> list[str]:
        """Check the files of one version, or of all; returns the version names that were checked.

        Raises:
            RegistryError: an alias that names no version.
            IntegrityError: a file is not what its manifest says.
        """
        for alias, version in self.aliases().items():
            if not _NAME.fullmatch(version) or not (self._versions / version).is_dir():
                raise RegistryError(f"alias {alias!r} in {self.path} names {version!r}, which is not there.")
        names = [self._resolve(name)] if name else [version.name for version in self.versions()]
        for version in names:
            Artifact.open(self._versions / version).verify()
        return names

    def history(self) -> list[dict[str, Any]]:
        """Every event, oldest first; a line that a crash left incomplete is left out."""
        path = self.path / "history.jsonl"
        if not path.is_file():
            return []
        events = []
        for line in path.read_bytes().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                events.append(event)
        return events

    @property
    def _versions(self) -> Path:
        return self.path / _VERSIONS

    @property
    def _aliases(self) -> Path:
        return self.path / "aliases"

    def _resolve(self, name: str) -> str:
        _checked_name(name, "version")
        version = name if (self._versions / name).is_dir() else self.aliases().get(name)
        if version is None or not _NAME.fullmatch(version) or not (self._versions / version).is_dir():
            known = [v.name for v in self.versions()]
            raise RegistryError(f"{name!r} is no version or alias in {self.path} (versions: {known}).")
        return version

    def _point(self, alias: str, version: str) -> None:
        self._aliases.mkdir(parents=True, exist_ok=True)
        # A name of its own: two promotions at once must not write into one file.
        partial = self._aliases / f".{alias}.{secrets.token_hex(4)}"
        with atomic_write(self._aliases / alias, partial) as stream:
            stream.write(f"{version}\n".encode())

    def _record(self, event: str, **facts: Any) -> None:
        line = json.dumps(
            {"time": datetime.now(UTC).isoformat(timespec="microseconds"), "event": event, **facts}
        )
        with (self.path / "history.jsonl").open("ab+") as stream:
            # A line that a crash left incomplete must not swallow this one.
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - 1))
            torn = stream.read(1) not in (b"", b"\n")
            stream.write(("\n" if torn else "").encode() + line.encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())


def _checked_name(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        raise RegistryError(f"{what} {name!r}: expected letters, digits, '.', '_' and '-', at most 100.")
    return name
