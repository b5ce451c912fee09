"""The scores that `choose` counts: those from before a row was learned."""

from dataclasses import replace

import numpy as np
import pytest
from tests.fit.test_rows import fill

from pointsman.artifact.address import open_artifact, shipped_artifact
from pointsman.artifact.store import rewrite_manifest
from pointsman.datasets.duplicates import SKETCH, row_sketch
from pointsman.errors import DataError
from pointsman.evaluation.quality import router_scores
from pointsman.fit.rows import read_rows
from pointsman.fit.thresholds import UNSEEN, keep_unseen, served_scores, unseen_key
from pointsman.runtime.router import Router
from pointsman.traffic.work import Work

LEARNED = ["play the lights", "prove that there are no more primes", "thanks"]
LATER = ["what is a prime?"]
P_CLOUD = np.array([0.125, 0.25, 0.5])


@pytest.fixture
def router(tmp_path):
    """The shipped router, with the record of a fit."""
    artifact = open_artifact(shipped_artifact())
    record = {"fit": {UNSEEN: unseen_key(P_CLOUD)}, "training": {SKETCH: row_sketch(LEARNED)}}
    manifest = replace(artifact.manifest, provenance={**artifact.manifest.provenance, **record})
    return Router.open(rewrite_manifest(artifact, tmp_path / "router", manifest))


def test_a_row_counts_with_its_score_from_before_it_was_learned(router, tmp_path):
    with Work.open(tmp_path / "work", create=True) as work:
        fill(work, LEARNED)
        keep_unseen(work, read_rows(work), P_CLOUD)
        fill(work, LATER)
        found = served_scores(router, read_rows(work), work)
    assert found[:3].tolist() == P_CLOUD.tolist()
    assert found[3] == router_scores(router, LATER)[0]


def test_learned_rows_in_another_folder_are_refused(router, tmp_path):
    with Work.open(tmp_path / "copy", create=True) as work:
        fill(work, [*LATER, LEARNED[0]])
        with pytest.raises(DataError, match="not the folder of that fit"):
            served_scores(router, read_rows(work), work)


def test_other_rows_in_another_folder_are_served_as_they_are(router, tmp_path):
    with Work.open(tmp_path / "next-month", create=True) as work:
        fill(work, LATER)
        assert served_scores(router, read_rows(work), work).tolist() == router_scores(router, LATER).tolist()
