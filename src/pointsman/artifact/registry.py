"""A registry of artifact versions on disk: immutable versions, atomic aliases, an append-only history.

::

    REGISTRY/
    ├── versions/<version>/   artifacts, never changed
    ├── aliases/<alias>       one line: the version it names; replaced in one step
    └── history.jsonl         every publish, promote and rollback

One lock on the directory orders all changes. An event is in the history before its alias moves, so an alias
whose change was killed in between is read as the history says. What the history does not say of a version or
an alias was not done by these commands, and is refused.
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
from pointsman.artifact.staging import directory_lock, remove_stale
from pointsman.artifact.store import Artifact, copy_artifact
from pointsman.artifact.strict_json import parse_strict
from pointsman.errors import IntegrityError, RegistryError

STABLE = "stable"
_VERSIONS = "versions"
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
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
        with directory_lock(self.path):
            self._refuse_alike(name, "version", {STABLE, *self.aliases()}, "an alias")
            self._refuse_alike(name, "version", set(self._names()) - {name}, "a version in other letters")
            remove_stale(self._versions, ".*.partial")
            if (self._versions / name).exists():
                raise RegistryError(f"version {name!r} exists in {self.path}; versions never change.")
            artifact.verify(listed_only=True)
            # The record first: a kill in between leaves a record without a version, and the next publish of
            # that name writes its own. A version without a record would be refused.
            made = artifact.manifest
            self._record("publish", version=name, artifact_id=made.id, manifest_sha256=made.sha256)
            copy_artifact(artifact, self._versions / name)
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
            for path in map(self._versions.joinpath, self._names())
        ]

    def aliases(self) -> dict[str, str]:
        """Alias to version name; a move that was killed halfway counts as made."""
        if not self._aliases.is_dir() and not self.exists:
            return {}
        # The files first: a move between the two reads then makes neither of them older than the other.
        names, moves = self._written(), self._moves()
        for alias, move in moves.items():
            if names.get(alias) == move.get("previous"):
                names[alias] = move["version"]
        return dict(sorted(names.items()))

    def open(self, name: str = STABLE) -> Artifact:
        """The artifact under a version name or an alias; a version name wins.

        Raises:
            RegistryError: neither is known.
        """
        return self._checked(self._resolve(name))

    def promote(self, version: str, alias: str = STABLE) -> None:
        """Point `alias` at `version`, in one atomic step, after verifying the version.

        Raises:
            RegistryError: no such version.
            IntegrityError: the version was altered on disk; the alias stays.
        """
        _checked_name(alias, "alias")
        with directory_lock(self.path):
            resolved = self._resolve(version)
            self._refuse_alike(alias, "alias", set(self._names()), "a version")
            self._refuse_alike(alias, "alias", {*self.aliases()} - {alias}, "an alias in other letters")
            self._checked(resolved).verify(listed_only=True)
            self._move("promote", alias, resolved)

    def rollback(self, alias: str = STABLE) -> str:
        """Point `alias` back to the version before the last promotion, and return that version's name.

        Raises:
            RegistryError: there is nothing to go back to.
        """
        with directory_lock(self.path):
            version = self._before(alias)
            self._checked(self._resolve(version)).verify(listed_only=True)
            self._move("rollback", alias, version)
        return version

    def _before(self, alias: str) -> str:
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
        return stack[-2]

    def verify(self, name: str | None = None) -> list[str]:
        """Check the files of one version, or of all; returns the version names that were checked.

        Raises:
            RegistryError: an alias that names no version, or another one than the history says.
            IntegrityError: a file is not what its manifest says, or a version not what was published.
        """
        if not self.exists and name is None:
            return []
        with directory_lock(self.path):
            moves = self._moves()
            for alias, version in self.aliases().items():
                if not _NAME.fullmatch(version) or not (self._versions / version).is_dir():
                    raise RegistryError(
                        f"alias {alias!r} in {self.path} names {version!r}, which is not there."
                    )
                if moves.get(alias, {}).get("version") != version:
                    raise RegistryError(
                        f"alias {alias!r} in {self.path} names {version!r}, which is not in the history. "
                        f"Promote the version that is meant."
                    )
        names = [self._resolve(name)] if name else self._names()
        for version in names:
            self._checked(version).verify()
        return names

    def history(self) -> list[dict[str, Any]]:
        """Every event, oldest first; a line that a crash left incomplete is left out."""
        path = self.path / "history.jsonl"
        if not path.is_file():
            return []
        events = []
        for line in path.read_bytes().splitlines():
            try:
                event = parse_strict(line)
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

    def _names(self) -> list[str]:
        """Names of the versions that are there."""
        return sorted(path.name for path in self._versions.iterdir() if not path.name.startswith("."))

    def _written(self) -> dict[str, str]:
        """Alias to version name, as the files say."""
        if not self._aliases.is_dir():
            return {}
        return {
            path.name: path.read_text(encoding="utf-8", errors="replace").strip()
            for path in sorted(self._aliases.iterdir())
            if not path.name.startswith(".")
        }

    def _moves(self) -> dict[str, dict[str, Any]]:
        """The last event of each alias."""
        return {
            event["alias"]: event
            for event in self.history()
            if event.get("event") in ("promote", "rollback")
            and isinstance(event.get("alias"), str)
            and isinstance(event.get("version"), str)
        }

    def _checked(self, version: str) -> Artifact:
        """The artifact of a version, if it is the one that was published."""
        artifact = Artifact.open(self._versions / version)
        records = [e for e in self.history() if (e.get("event"), e.get("version")) == ("publish", version)]
        if not records:
            raise IntegrityError(
                f"version {version!r} in {self.path} has no record in the history. "
                "Remove it, and publish it again."
            )
        published = records[-1]
        found = {"artifact_id": artifact.manifest.id, "manifest_sha256": artifact.manifest.sha256}
        for key, value in found.items():
            if published.get(key, value) != value:
                raise IntegrityError(
                    f"version {version!r} in {self.path} is not what was published: expected {key} "
                    f"{str(published[key])[:12]}…, found {value[:12]}…. Publish it under another name."
                )
        return artifact

    def _refuse_alike(self, name: str, what: str, taken: set[str], as_what: str) -> None:
        """Refuse a name that is taken, in any case: some file systems do not tell them apart."""
        alike = sorted(other for other in taken if other.casefold() == name.casefold())
        if alike:
            raise RegistryError(
                f"{what} {name!r}: {alike[0]!r} is {as_what} in {self.path}. Choose another name."
            )

    def _move(self, event: str, alias: str, version: str) -> None:
        # The history first: killed in between, the alias is read as the history says. The file of an alias is
        # at most one move behind, so one that was killed is finished before the next.
        previous = self.aliases().get(alias)
        if previous is not None and previous != self._written().get(alias):
            self._point(alias, previous)
        self._record(event, alias=alias, version=version, previous=previous)
        self._point(alias, version)

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
    if _DEVICE.fullmatch(name) or name.endswith("."):
        raise RegistryError(f"{what} {name!r}: some systems cannot have a file of that name. Choose another.")
    return name
