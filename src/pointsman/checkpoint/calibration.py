"""A checkpoint's `calibration.json`: the calibration, and the curve over the queries of its fit."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pointsman.artifact.manifest import Calibration
from pointsman.artifact.strict_json import parse_strict
from pointsman.errors import CheckpointError, PointsmanError

CALIBRATION = "calibration.json"


def read_calibration(directory: Path) -> tuple[Calibration | None, Mapping[str, Any] | None]:
    """The calibration and the curve of a checkpoint; None for what it has not.

    Raises:
        CheckpointError: the file is there and not understood.
    """
    path = directory / CALIBRATION
    if not path.is_file():
        return None, None
    try:
        data = parse_strict(path.read_bytes())
        found = Calibration(**{field.name: data[field.name] for field in fields(Calibration)})
    except (OSError, ValueError, TypeError, KeyError, PointsmanError) as error:
        raise CheckpointError(
            f"{path} is not understood: {error}. Run `pointsman calibrate` again."
        ) from None
    curve = data.get("curve")
    return found, curve if isinstance(curve, Mapping) else None
