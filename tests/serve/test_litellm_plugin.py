import asyncio
import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.support.tiny_artifact import CLOUD_TEXT, LOCAL_TEXT

from pointsman.errors import ArtifactNotFoundError
from pointsman.serve import litellm_plugin
from pointsman.serve.litellm_plugin import PointsmanClassifier


@pytest.mark.parametrize(("text", "tier"), [(LOCAL_TEXT, "cheap"), (CLOUD_TEXT, "dear"), ("", None)])
def test_names_the_tier_of_the_last_user_message(artifact: Path, text: str, tier: str | None) -> None:
    classifier = PointsmanClassifier("cheap", "dear", str(artifact))
    messages = [{"role": "system", "content": CLOUD_TEXT}, {"role": "user", "content": text}]
    routing = SimpleNamespace(structured_messages=messages, raw_messages=[{"role": "user", "content": "x"}])
    raw = SimpleNamespace(structured_messages=[], raw_messages=messages)
    for context in (routing, raw, {"messages": messages}, SimpleNamespace(messages=messages)):
        assert asyncio.run(classifier.classify(context)) == tier


def test_copies_share_one_loaded_router(artifact: Path) -> None:
    classifier = PointsmanClassifier(artifact=str(artifact))
    assert asyncio.run(classifier.classify({"prompt": CLOUD_TEXT})) == "COMPLEX"
    loaded = litellm_plugin._ROUTERS[str(artifact)]
    assert asyncio.run(copy.deepcopy(classifier).classify({"prompt": LOCAL_TEXT})) == "SIMPLE"
    assert litellm_plugin._ROUTERS[str(artifact)] is loaded


def test_nothing_to_read_is_no_answer_and_no_router_is_an_error(tmp_path: Path) -> None:
    classifier = PointsmanClassifier(artifact=str(tmp_path / "none"))
    assert asyncio.run(classifier.classify({})) is None
    with pytest.raises(ArtifactNotFoundError):
        asyncio.run(classifier.classify({"prompt": "hello"}))
