"""The manifest: what is written is read back, and everything else is refused by name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.keyword_artifact import build_keyword_artifact

from pointsman.artifact.digest import FileDigest, artifact_id, digest_bytes, digest_file
from pointsman.artifact.manifest import Calibration, Chat, Limits, Manifest
from pointsman.errors import ManifestError, PointsmanError
from pointsman.policy import Policy

CALIBRATION = Calibration("platt", 1.5, -0.25, "d" * 64, 400)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    path = tmp_path_factory.mktemp("manifest") / "router"
    return build_keyword_artifact(path, CALIBRATION).manifest


def changed(manifest: Manifest, **values: Any) -> str:
    return json.dumps({**json.loads(manifest.to_json()), **values})


def test_round_trip(manifest: Manifest) -> None:
    again = Manifest.from_json(manifest.to_json())
    assert again == manifest
    assert again.to_json() == manifest.to_json()
    assert again.id == manifest.id


def test_no_calibration_survives_too(manifest: Manifest) -> None:
    bare = replace(manifest, calibration=None)
    assert Manifest.from_json(bare.to_json()) == bare


def test_text_of_any_language_survives(manifest: Manifest) -> None:
    named = replace(manifest, name="Weiche 🚦 محوّل", provenance={"made_by": "Zoë"})
    assert Manifest.from_json(named.to_json().encode()) == named


@pytest.mark.parametrize("schema", [0, 2, "1", None, [1], 1.5])
def test_another_schema_is_refused(manifest: Manifest, schema: object) -> None:
    with pytest.raises(ManifestError, match=r"expected schema 1, found"):
        Manifest.from_json(changed(manifest, schema=schema))


def test_an_unknown_key_is_refused(manifest: Manifest) -> None:
    with pytest.raises(ManifestError, match=r"unknown keys \['colour'\]"):
        Manifest.from_json(changed(manifest, colour="red"))


def test_a_missing_key_is_named(manifest: Manifest) -> None:
    for key in json.loads(manifest.to_json()):
        data = json.loads(manifest.to_json())
        del data[key]
        with pytest.raises(ManifestError, match=key):
            Manifest.from_json(json.dumps(data))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"manifest"', "[" * 100_000, b"\xff\xfe\x00"])
def test_what_is_no_manifest_is_refused(text: str | bytes) -> None:
    with pytest.raises(ManifestError):
        Manifest.from_json(text)


BAD = [
    ("labels", ["local", "edge"]),
    ("labels", 5),
    ("limits", {"max_tokens": 1, "max_chars": 9}),
    ("limits", {"max_tokens": 64, "max_chars": 9}),
    ("limits", {"max_tokens": 2.5, "max_chars": 9}),
    ("limits", {"max_tokens": True, "max_chars": 9}),
    ("limits", {"max_tokens": 64}),
    ("policy", {"cloud_threshold": 2}),
    ("policy", {"mood": 1}),
    ("policy", []),
    ("calibration", {"method": "magic", "a": 1, "b": 0, "data_sha256": "", "n": 1}),
    ("calibration", {"method": "platt", "a": 0, "b": 0, "data_sha256": "", "n": 1}),
    ("calibration", {"method": "platt", "a": 1, "b": float("nan"), "data_sha256": "", "n": 1}),
    ("calibration", {"method": "platt", "a": float("inf"), "b": 0, "data_sha256": "", "n": 1}),
    ("calibration", {"method": "platt", "a": "1", "b": 0, "data_sha256": "", "n": 1}),
    ("calibration", {}),
    ("chat", {"earlier_turns": -1}),
    ("chat", {"earlier_turns": "2"}),
    ("variants", {}),
    ("variants", ["folded"]),
    ("variants", {"other": "onnx/model.onnx"}),
    ("variants", {"folded": "onnx/elsewhere.onnx"}),
    ("default_variant", "int8"),
    ("conversion", []),
    ("parity", None),
    ("opsets", 17),
    ("provenance", "a test"),
    ("provenance", {"time": float("inf")}),
    ("parity", {"max_abs": [float("nan")]}),
    ("conversion", {"half a pair": "\ud800"}),
    ("name", "\udfff"),
    ("name", 5),
    ("model_type", None),
    ("files", []),
    ("files", {"tokenizer.json": {"size_bytes": 1}}),
]


@pytest.mark.parametrize(("key", "value"), BAD, ids=lambda item: repr(item)[:40])
def test_a_value_that_is_not_understood_is_refused(manifest: Manifest, key: str, value: object) -> None:
    with pytest.raises(ManifestError):
        Manifest.from_json(changed(manifest, **{key: value}))


NAMES = ["../evil", "a/../../evil", "/etc/passwd", "..", ".", "", "a\\b", "./a", "a//b", "a/", "C:evil"]


@pytest.mark.parametrize("name", [*NAMES, "a\0b", "a\nb", "\ud800"], ids=ascii)
def test_a_name_that_could_leave_the_artifact_is_refused(manifest: Manifest, name: str) -> None:
    files = json.loads(manifest.to_json())["files"]
    with pytest.raises(ManifestError, match="leaves the artifact"):
        Manifest.from_json(changed(manifest, files={**files, name: {"size_bytes": 1, "sha256": "a" * 64}}))


@pytest.mark.parametrize(
    "digest", [("1", "a" * 64), (1, 5), (1, "xyz"), (1, "A" * 64), (True, "a" * 64)], ids=repr
)
def test_a_digest_that_is_none_is_refused(manifest: Manifest, digest: tuple[Any, Any]) -> None:
    files = {**manifest.files, "README.md": FileDigest(*digest)}
    with pytest.raises(ManifestError, match=r"README\.md"):
        replace(manifest, files=files)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = ["labels", "limits", "policy", "calibration", "chat", "variants", "default_variant", "files", "opsets"]
KEYS += ["name", "model_type", "conversion", "parity", "provenance"]


@given(st.sampled_from(KEYS), json_values)
def test_any_json_is_read_or_refused_but_never_crashes(manifest: Manifest, key: str, value: object) -> None:
    try:
        read = Manifest.from_json(changed(manifest, **{key: value}))
    except PointsmanError as error:
        assert isinstance(error, ManifestError)
    else:
        assert Manifest.from_json(read.to_json().encode()).id == read.id


def test_the_identity_is_the_files_and_the_rules(manifest: Manifest) -> None:
    assert replace(manifest, provenance={"made_by": "another"}, name="other").id == manifest.id
    others = [
        replace(manifest, policy=Policy(0.4)),
        replace(manifest, calibration=None),
        replace(manifest, chat=Chat(1)),
        replace(manifest, limits=Limits(32, 4096)),
        replace(manifest, files={**manifest.files, "README.md": digest_bytes(b"")}),
    ]
    assert len({manifest.id, *(other.id for other in others)}) == 6


def test_a_digest_does_not_depend_on_how_it_is_read(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000  # more than one block
    (tmp_path / "data").write_bytes(data)
    assert digest_file(tmp_path / "data") == digest_bytes(data)


def test_an_artifacts_id_does_not_depend_on_the_order_of_files() -> None:
    files = {"a": digest_bytes(b"1"), "b": digest_bytes(b"2")}
    assert artifact_id(files) == artifact_id(dict(reversed(files.items())))
    assert artifact_id(files) != artifact_id({"a": files["b"], "b": files["a"]})


def test_every_flipped_bit_and_every_edited_digit_is_refused(manifest: Manifest) -> None:
    text = manifest.to_json().encode()
    flips = [(at, byte ^ (1 << bit)) for at, byte in enumerate(text) for bit in range(8)]
    digits = [(at, other) for at, byte in enumerate(text) if 48 <= byte < 58 for other in range(48, 58)]
    for at, other in [*flips, *(edit for edit in digits if text[edit[0]] != edit[1])]:
        with pytest.raises(ManifestError):
            Manifest.from_json(text[:at] + bytes([other]) + text[at + 1 :])


@pytest.mark.parametrize(
    "edit", [lambda t: t + b" ", lambda t: b" " + t, lambda t: t.replace(b"\n", b"\r\n")]
)
def test_another_layout_of_the_same_values_is_another_text(manifest: Manifest, edit: Any) -> None:
    with pytest.raises(ManifestError, match="altered after it was made"):
        Manifest.from_json(edit(manifest.to_json().encode()))


@pytest.mark.parametrize("key", ["schema", "policy", "sha256"])
def test_a_key_twice_is_refused(manifest: Manifest, key: str) -> None:
    value = json.dumps(json.loads(manifest.to_json())[key])
    with pytest.raises(ManifestError, match="one key twice"):
        Manifest.from_json(manifest.to_json().replace("{", f'{{"{key}": {value},', 1))


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\x9bb", "a\nb", "a\u202eb", "a\x00b", "a\u200bb"], ids=ascii)
def test_a_name_that_a_terminal_would_obey_is_refused(manifest: Manifest, name: str) -> None:
    with pytest.raises(ManifestError, match="name: expected a text of printable"):
        replace(manifest, name=name)
    if name != "a\nb" and name.isascii():
        hidden = replace(manifest, provenance={"made_by": [{name: 1}]})
        with pytest.raises(ManifestError, match="holds the character"):
            Manifest.from_json(hidden.to_json())


def test_a_manifest_without_its_own_digest_is_refused(manifest: Manifest) -> None:
    data = json.loads(manifest.to_json())
    del data["sha256"]
    with pytest.raises(ManifestError, match="'sha256' is missing"):
        Manifest.from_json(json.dumps(data, indent=2))
