"""Labels: two targets, in the order of the logits, whatever that order is."""

import pytest

from pointsman.errors import SettingsError
from pointsman.labels import LabelSet, checked_target


@pytest.mark.parametrize(("names", "index"), [(("local", "cloud"), 1), (("cloud", "local"), 0)])
def test_the_cloud_index_follows_the_order(names: tuple[str, ...], index: int) -> None:
    assert LabelSet(names).cloud_index == index


@pytest.mark.parametrize(
    "names", [(), ("local",), ("local", "local"), ("local", "cloud", "edge"), ("LABEL_0", "LABEL_1")]
)
def test_other_names_are_refused_with_the_remedy(names: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match="id2label"):
        LabelSet(names)


@pytest.mark.parametrize(
    ("id2label", "names"),
    [
        ({"0": "local", "1": "cloud"}, ("local", "cloud")),
        ({"1": " LOCAL ", "0": "Cloud"}, ("cloud", "local")),
        ({0: "local", 1: "cloud"}, ("local", "cloud")),
    ],
)
def test_id2label_is_read_by_its_ids(id2label: dict[str, str], names: tuple[str, ...]) -> None:
    assert LabelSet.from_id2label(id2label).names == names


@pytest.mark.parametrize(
    "id2label", [{"a": "local"}, {"0": "local", "2": "cloud"}, {}, {"-1": "local", "0": "cloud"}]
)
def test_ids_that_are_no_positions_are_refused(id2label: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="label"):
        LabelSet.from_id2label(id2label)


@pytest.mark.parametrize("name", ["local", " Local", "CLOUD\n"])
def test_a_target_is_read_in_any_case(name: str) -> None:
    assert checked_target(name, "here") == name.strip().lower()


@pytest.mark.parametrize("name", ["", "edge", "lo cal"])
def test_another_target_is_refused_by_the_name_of_its_place(name: str) -> None:
    with pytest.raises(SettingsError, match=r"^here: expected 'local' or 'cloud'"):
        checked_target(name, "here")
