"""The two targets, and the names of a classifier's classes in the order of its logits.

This file defines names and their order, and nothing of thresholds, models and text.
"""

from dataclasses import dataclass
from typing import Self

from pointsman.errors import SettingsError

LOCAL = "local"
CLOUD = "cloud"
TARGETS = (LOCAL, CLOUD)


def checked_target(name: str, where: str) -> str:
    """Return `name` if it is a target, in any case.

    Raises:
        SettingsError: it is neither `local` nor `cloud`; `where` is named.
    """
    target = name.strip().lower()
    if target not in TARGETS:
        raise SettingsError(f"{where}: expected 'local' or 'cloud', found {name!r}.")
    return target


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Class names in the order of the logits: a router has exactly `local` and `cloud`, in either order."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if sorted(self.names) != sorted(TARGETS):
            raise SettingsError(
                f"labels: a router has exactly the labels 'local' and 'cloud', found {list(self.names)}. "
                "Set id2label in config.json, for example {'0': 'local', '1': 'cloud'}."
            )

    @classmethod
    def from_id2label(cls, id2label: dict[str, str]) -> Self:
        """Read the `id2label` of a Hugging Face config.json: ids as keys, names as values, any case.

        Raises:
            SettingsError: ids are not 0..n-1, or the names are not the two targets.
        """
        try:
            by_id = {int(key): str(name).strip().lower() for key, name in id2label.items()}
        except ValueError:
            raise SettingsError(f"id2label: keys must be integers, found {list(id2label)}.") from None
        if sorted(by_id) != list(range(len(by_id))):
            raise SettingsError(f"id2label: ids must be 0..{len(by_id) - 1}, found {sorted(by_id)}.")
        return cls(tuple(by_id[index] for index in range(len(by_id))))

    @property
    def cloud_index(self) -> int:
        """Which logit speaks for `cloud`."""
        return self.names.index(CLOUD)
