"""API keys: known by their SHA-256 only, compared in constant time, strong enough or refused.

A key is long and random, so a plain hash is enough; there is nothing to guess.
"""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from pointsman.errors import SettingsError
from pointsman.serve.settings import AuthSettings, ServerSettings

MIN_KEY_CHARS = 32
KEY_HEADERS = (b"authorization", b"x-api-key", b"api-key")
"""Where a request shows a key; the first one as `Bearer <key>`."""
_LINE = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,64})\s+sha256:(?P<digest>[0-9a-f]{64})")
_PLACEHOLDERS = ("changeme", "change-me", "secret", "password", "example", "test", "sk-1234", "your")


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Names and digests of the keys of one role; an empty ring asks for no key."""

    role: str
    digests: tuple[tuple[str, bytes], ...]

    def __bool__(self) -> bool:
        return bool(self.digests)

    def holder_of(self, key: str) -> str | None:
        """Who holds a key, or None; every digest is compared, whatever the first ones say.

        Two keys are two holders, also where their names are the same or another role has that name.
        """
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found = None
        for name, known in self.digests:
            if hmac.compare_digest(digest, known):
                found = f"{self.role}:{name}:{known[:4].hex()}"
        return found


@dataclass(frozen=True, slots=True)
class Access:
    """Both rings, and whether a proxy in front has checked the users already."""

    users: KeyRing
    admins: KeyRing
    by_proxy: bool

    @property
    def tells_clients_apart(self) -> bool:
        """Whether several keys exist, so that one holder must not learn what another asked."""
        return bool(self.users) and len(self.users.digests) + len(self.admins.digests) > 1


def load_access(auth: AuthSettings) -> Access:
    """Read the keys.

    Raises:
        SettingsError: a weak key, or a file that is not understood; no key is shown.
    """
    return Access(
        KeyRing("user", _digests(auth.keys, auth.keys_file, "auth.keys")),
        KeyRing("admin", _digests(auth.admin_keys, auth.admin_keys_file, "auth.admin_keys")),
        auth.by_proxy,
    )


def check_exposure(server: ServerSettings, access: Access) -> None:
    """Refuse to listen beyond loopback without keys.

    Only `auth.by_proxy` opens the public routes without one; the admin routes always want theirs.

    Raises:
        SettingsError: says which table lacks a key.
    """
    for where, host, is_checked, table in (
        ("server.host", server.host, bool(access.users) or access.by_proxy, "auth.keys"),
        (
            "server.admin_host",
            server.admin_host if server.admin_port is not None else "127.0.0.1",
            bool(access.admins),
            "auth.admin_keys",
        ),
    ):
        if not is_checked and not is_loopback(host):
            raise SettingsError(
                f"{where}: listening on {host!r} is reachable from other machines: set {table} "
                f"(or {table}_file), keys of at least {MIN_KEY_CHARS} characters. "
                "`openssl rand -hex 32` makes one."
            )


def is_loopback(host: str) -> bool:
    """Whether an address is this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def hashed_line(key: str, name: str = "key-1") -> str:
    """The line for a keys file.

    Raises:
        SettingsError: a weak key.
    """
    _check_strength(key, "the key")
    return f"{name} sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def _digests(keys: Iterable[SecretStr], path: Path | None, where: str) -> tuple[tuple[str, bytes], ...]:
    digests: list[tuple[str, bytes]] = []
    for index, secret in enumerate(keys):
        key = secret.get_secret_value()
        _check_strength(key, f"{where}[{index}]")
        digests.append((f"key-{index + 1}", hashlib.sha256(key.encode()).digest()))
    if path is not None:
        digests += _from_file(path, f"{where}_file")
    return tuple(digests)


def _from_file(path: Path, where: str) -> list[tuple[str, bytes]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{where}: {path} cannot be read.") from None
    digests = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise SettingsError(f"{where}: line {number} of {path}: expected `name sha256:<64 hex digits>`.")
        digests.append((match["name"], bytes.fromhex(match["digest"])))
    if not digests:
        raise SettingsError(f"{where}: {path} holds no key.")
    return digests


def _check_strength(key: str, where: str) -> None:
    lowered = key.lower()
    weak = len(key) < MIN_KEY_CHARS or len(set(key)) < 8
    if weak or any(lowered.startswith(word) for word in _PLACEHOLDERS):
        raise SettingsError(
            f"{where}: expected a random key of at least {MIN_KEY_CHARS} characters. "
            "`openssl rand -hex 32` makes one."
        )
