"""Whether a router has met the rows that it is tested on: in its calibration, or in its training."""

import json
from pathlib import Path

from pointsman.artifact.address import open_artifact
from pointsman.checkpoint.calibration import read_calibration
from pointsman.datasets.duplicates import SKETCH, share_in
from pointsman.datasets.outcomes import Dataset
from pointsman.errors import DataError
from pointsman.evaluation.threshold import CURVE
from pointsman.train.scoring import is_checkpoint


def seen_before(router: Path, data: Dataset) -> list[str]:
    """A warning for each use of these rows that the router's own record shows.

    Raises:
        DataError: all rows are of one label.
    """
    if data.is_cloud.all() or not data.is_cloud.any():
        raise DataError("every row has the same label; to evaluate needs rows of both.")
    if is_checkpoint(router):
        training = router / "training.json"
        known = [read_calibration(router)[1], json.loads(training.read_bytes()) if training.is_file() else {}]
    else:
        provenance = open_artifact(router).manifest.provenance
        known = [provenance.get(CURVE), provenance.get("training")]
    found = []
    for record, verb in zip(known, ("calibrated", "trained"), strict=True):
        if share := share_in(data.queries, (record or {}).get(SKETCH, ())):
            found.append(
                f"warning: the router was {verb} on about {share:.0%} of these rows, so the figures are "
                "better than on new rows. Evaluate on others."
            )
    return found
