"""Settings: argument or flag, environment, `.env`, default; a bad value is named."""

import os
from pathlib import Path

import pytest
from tests.support.tiny_artifact import build_tiny_artifact

from pointsman.errors import SettingsError
from pointsman.policy import Policy
from pointsman.runtime.router import Router
from pointsman.settings import Settings, effective_environment

EVERYTHING = {
    "BERT_MODEL_PATH": "models/router",
    "BERT_MAX_SEQUENCE_LENGTH": "32",
    "BERT_CONFIDENCE_THRESHOLD": "0.8",
    "POINTSMAN_CLOUD_THRESHOLD": "0.4",
    "POINTSMAN_SAFE_TARGET": "Local",
    "POINTSMAN_THREADS": "2",
}


@pytest.fixture
def dotenv(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_nothing_said_is_nothing_set(dotenv: Path) -> None:
    assert Settings.load({}, dotenv) == Settings()


def test_every_name_is_read(dotenv: Path) -> None:
    assert Settings.load(EVERYTHING, dotenv) == Settings(Path("models/router"), 32, 0.8, 0.4, "local", 2)


def test_the_full_path_wins_over_the_path(dotenv: Path) -> None:
    both = {"BERT_MODEL_PATH": "one", "BERT_MODEL_FULLPATH": "two"}
    assert Settings.load(both, dotenv).model_path == Path("two")


def test_the_environment_wins_over_the_file(dotenv: Path) -> None:
    dotenv.write_text("POINTSMAN_THREADS=3\nBERT_MAX_SEQUENCE_LENGTH=16\n", encoding="utf-8")
    settings = Settings.load({"POINTSMAN_THREADS": "2"}, dotenv)
    assert (settings.threads, settings.max_tokens) == (2, 16)


def test_the_file_of_the_working_directory_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("POINTSMAN_THREADS=3\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert Settings.load({}).threads == 3


def test_reading_the_file_leaves_the_process_environment_alone(dotenv: Path) -> None:
    dotenv.write_text("POINTSMAN_THREADS=3\n", encoding="utf-8")
    before = dict(os.environ)
    Settings.load(dotenv=dotenv)
    assert dict(os.environ) == before


def test_an_empty_value_is_not_set(dotenv: Path) -> None:
    assert Settings.load({"POINTSMAN_THREADS": ""}, dotenv).threads is None
    assert effective_environment({"A": ""}, dotenv) == {}


def test_a_flag_wins_over_the_environment(dotenv: Path) -> None:
    flags = {
        "max_tokens": "64",
        "confidence_threshold": "0",
        "cloud_threshold": "1",
        "safe_target": "cloud",
        "threads": "1",
    }
    settings = Settings.load(EVERYTHING, dotenv).overruled(**flags)
    assert settings == Settings(Path("models/router"), 64, 0.0, 1.0, "cloud", 1)


def test_a_flag_that_was_not_given_changes_nothing(dotenv: Path) -> None:
    settings = Settings.load(EVERYTHING, dotenv)
    assert settings.overruled() == settings


def test_the_artifact_is_below_the_environment_and_an_argument_above(tmp_path: Path, dotenv: Path) -> None:
    artifact = build_tiny_artifact(tmp_path / "router")
    settings = Settings.load({"BERT_CONFIDENCE_THRESHOLD": "0.9"}, dotenv)
    assert Router.open(artifact, settings=settings).policy == Policy(0.5, 0.9, "cloud")
    given = Policy(0.3, 0.6, "local")
    assert Router.open(artifact, settings=settings, policy=given).policy == given


def test_a_path_given_wins_over_the_environment(tmp_path: Path) -> None:
    build_tiny_artifact(tmp_path / "given")
    settings = Settings(model_path=tmp_path / "not there")
    assert Router.open(tmp_path / "given", settings=settings).manifest.name == "keyword"


BAD = [
    *[("BERT_MAX_SEQUENCE_LENGTH", v) for v in ("1", "0", "-5", "12.5", "many", "²", "9" * 5000)],
    *[("POINTSMAN_THREADS", v) for v in ("0", "-1", "two", " ")],
    *[("BERT_CONFIDENCE_THRESHOLD", v) for v in ("1.01", "-0.1", "nan", "inf", "high", " ")],
    *[("POINTSMAN_CLOUD_THRESHOLD", v) for v in ("2", "-inf", "50%")],
    *[("POINTSMAN_SAFE_TARGET", v) for v in ("edge", "local cloud", " ")],
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda text: text[:26])
def test_a_bad_value_is_named_with_what_was_found(name: str, value: str, dotenv: Path) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.load({name: value}, dotenv)
    assert str(error.value).startswith(f"{name}: expected ")
    assert repr(value)[:40] in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("flag", "given"),
    [
        ("--max-length", {"max_tokens": "1"}),
        ("--confidence-threshold", {"confidence_threshold": "2"}),
        ("--cloud-threshold", {"cloud_threshold": "x"}),
        ("--safe-target", {"safe_target": "moon"}),
        ("--threads", {"threads": "0"}),
    ],
)
def test_a_bad_flag_is_named_as_the_user_wrote_it(flag: str, given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=f"^{flag}: expected"):
        Settings().overruled(**given)


def test_a_file_that_is_no_text_is_named(dotenv: Path) -> None:
    dotenv.write_bytes(b"POINTSMAN_THREADS=\xff\xfe\n")
    with pytest.raises(SettingsError, match="UTF-8") as error:
        Settings.load({}, dotenv)
    assert str(dotenv) in str(error.value)
