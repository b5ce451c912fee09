"""Packages as folders: what is written, what is refused, and that nothing stays half-written."""

import errno
import functools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.deploy.full_artifact import build_full_artifact
from tests.deploy.package_files import check_files
from tests.support.tiny_artifact import build_tiny_artifact

from pointsman.artifact.layout import PLAIN
from pointsman.artifact.store import Artifact
from pointsman.cli.__main__ import main
from pointsman.deploy.package import native, text_in
from pointsman.deploy.package.build import build_package
from pointsman.deploy.package.catalogue import TARGETS, target_named
from pointsman.deploy.package.characters import read_characters
from pointsman.deploy.package.render import template_root
from pointsman.errors import ArtifactError, InputError, IntegrityError, OutputExistsError

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return build_full_artifact(tmp_path_factory.mktemp("full") / "full")


@pytest.fixture(scope="module", autouse=True)
def characters_once() -> Iterator[None]:
    """To ask the tokenizer about every character there is takes seconds: one answer serves all targets."""
    once = functools.cache(read_characters)
    with pytest.MonkeyPatch.context() as patch:
        for module in (native, text_in):
            patch.setattr(module, "read_characters", once)
        yield


# The one for phones is made and read in tests/deploy/test_package_mobile.py.
@pytest.mark.parametrize("name", [name for name in TARGETS if name != "mobile"])
def test_every_target_is_written_and_can_be_read(name: str, full: Artifact, tmp_path: Path) -> None:
    output = tmp_path / "made"
    check_files(output, build_package(target_named(name), full, output))
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_says_what_it_is(name: str) -> None:
    target = TARGETS[name]
    assert target.purpose and target.needs and target.tested
    assert template_root(name).is_dir()


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_has_a_page_with_its_command_and_what_was_not_tested(name: str) -> None:
    page = (DOCS / "deploy" / f"{TARGETS[name].page or name}.md").read_text(encoding="utf-8")
    assert f"pointsman package {name} " in page
    assert re.search(r"[Tt]ested", page) and re.search(r"[Nn]ot tested|was not|were not|no phone", page)


def test_rules_of_the_artifact_stand_in_the_script(full: Artifact, tmp_path: Path) -> None:
    build_package(target_named("node"), full, tmp_path / "made")
    script = (tmp_path / "made" / "decision.mjs").read_text()
    assert f"maxTokens: {full.manifest.limits.max_tokens}," in script
    assert f"confidenceThreshold: {full.manifest.policy.confidence_threshold}," in script


@pytest.mark.parametrize(("most", "lengths"), [(8, [8]), (16, [16]), (100, [16, 32, 64, 100])])
def test_openvinos_server_has_a_model_for_each_length_up_to_the_limit(
    most: int, lengths: list[int], full: Artifact, tmp_path: Path
) -> None:
    limits = replace(full.manifest.limits, max_tokens=most)
    artifact = Artifact(full.path, replace(full.manifest, limits=limits))
    build_package(target_named("openvino"), artifact, tmp_path / "made")
    entries = json.loads((tmp_path / "made/models/config.json").read_text("utf-8"))["model_config_list"]
    assert [one["config"]["name"] for one in entries] == [f"router-{length}" for length in lengths]
    for one, length in zip(entries, lengths, strict=True):
        assert set(one["config"]["shape"].values()) == {f"(-1,{length})"}
        # The server numbers versions by folder; the whole folder is mounted at /models.
        assert (tmp_path / "made" / one["config"]["base_path"][1:] / "1" / "model.onnx").is_file()


def test_missing_variant_names_the_command_that_makes_it(tmp_path: Path) -> None:
    tiny = build_tiny_artifact(tmp_path / "tiny")
    with pytest.raises(ArtifactError, match=r"has no plain file, only folded.*pointsman export"):
        build_package(target_named("triton"), tiny, tmp_path / "made")
    assert list(tmp_path.iterdir()) == [tiny.path]


def test_existing_output_is_refused_and_untouched(full: Artifact, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine").write_text("keep")
    with pytest.raises(OutputExistsError):
        build_package(target_named("node"), full, tmp_path / "made")
    assert [p.name for p in (tmp_path / "made").iterdir()] == ["mine"]


def test_altered_file_is_refused_and_nothing_is_left(full: Artifact, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for name in (*full.manifest.files, "manifest.json"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((full.path / name).read_bytes())
    (copy / PLAIN).write_bytes(b"something else")
    with pytest.raises(IntegrityError):
        build_package(target_named("node"), Artifact.open(copy), tmp_path / "made")
    assert list(tmp_path.iterdir()) == [copy]


def test_output_that_cannot_be_written_is_said_and_leaves_nothing(full: Artifact, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ArtifactError, match=r"Choose another --output"):
        build_package(target_named("docker"), full, tmp_path / "file" / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (
        tmp_path / "file"
    ).read_text() == "mine"


@pytest.mark.parametrize("name", TARGETS)
def test_disk_that_fills_up_is_said_and_leaves_nothing(
    name: str, full: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_text(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", write_text)
    with pytest.raises(
        ArtifactError, match=r"cannot write .*made.*: No space left on device\. Nothing was left"
    ):
        build_package(target_named(name), full, tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if target.variants])
def test_each_variant_that_a_target_needs_is_missed_by_name(
    name: str, full: Artifact, tmp_path: Path
) -> None:
    for wanted in TARGETS[name].variants.values():
        fewer = {k: v for k, v in full.manifest.variants.items() if k not in wanted}
        bare = Artifact(full.path, replace(full.manifest, variants=fewer))
        with pytest.raises(ArtifactError, match=rf"target {name}: .* has no {wanted[0]}.*pointsman export"):
            build_package(target_named(name), bare, tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if target.files])
def test_each_file_that_a_target_needs_is_missed_by_name(name: str, full: Artifact, tmp_path: Path) -> None:
    for source in TARGETS[name].files.values():
        fewer = {k: v for k, v in full.manifest.files.items() if k != source}
        bare = Artifact(full.path, replace(full.manifest, files=fewer))
        with pytest.raises(ArtifactError, match=rf"target {name}: .* has no {re.escape(source)}"):
            build_package(target_named(name), bare, tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


def test_unknown_target_offers_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'docker'"):
        target_named("dokcer")


def test_command_lists_packages_and_refuses(
    full: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["package", "--list", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == set(TARGETS)
    assert main(["package", "openvino", str(full.path), "--output", str(tmp_path / "made")]) == 0
    assert (tmp_path / "made" / "models" / "router" / "1" / "model.onnx").is_file()
    assert main(["package", "openvino", str(full.path), "--output", str(tmp_path / "made")]) == 4
    assert main(["package", "nowhere", str(full.path), "--output", str(tmp_path / "other")]) == 2
    assert main(["package"]) == 2
    assert main(["package", "docker", str(tmp_path / "nothing"), "--output", str(tmp_path / "other")]) == 3
    assert main(["package", "docker", str(full.path), "--output", "/proc/pointsman/made"]) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made"]
