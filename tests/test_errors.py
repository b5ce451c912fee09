"""The error tree: drawn once, in the module's docstring, and the drawing is the code."""

import inspect
import re

import pytest

from pointsman import errors
from pointsman.cli import __main__ as command_line
from pointsman.errors import PointsmanError

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, Exception)
}
DRAWN = re.compile(r"^    (?P<indent>[ │├└─]*)(?P<name>[A-Z]\w+Error)(?P<rest>.*)$", re.MULTILINE)


def drawing() -> list[tuple[str, int, str]]:
    """Name, depth and the rest of the line of every class in the drawing, from the top down."""
    return [(m["name"], len(m["indent"]) // 4, m["rest"]) for m in DRAWN.finditer(errors.__doc__ or "")]


def test_every_class_is_drawn_exactly_once() -> None:
    assert sorted(name for name, _, _ in drawing()) == sorted(CLASSES)


def test_the_drawing_shows_the_real_parents() -> None:
    above: list[str] = []
    for name, depth, _ in drawing():
        del above[depth:]
        parent = CLASSES[name].__bases__[0].__name__
        assert parent == (above[-1] if above else "Exception"), name
        above.append(name)


def test_the_drawn_exit_codes_are_the_real_ones() -> None:
    seen = 0
    for name, _, rest in drawing():
        columns = re.search(r"(?:^|\s)([1-9]|-)(?:\s+(?:-|\d{3}))?$", rest)
        if columns and columns[1].isdigit() and not re.search(r"exit", rest):
            assert CLASSES[name].exit_code == int(columns[1]), name
            seen += 1
    assert seen >= 10


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("PointsmanError", 1),
        ("SettingsError", 2),
        ("InputError", 2),
        ("MissingExtraError", 2),
        ("ArtifactError", 3),
        ("RuntimeUnavailableError", 3),
        ("NonFiniteOutputError", 3),
        ("CheckpointError", 4),
        ("ConversionError", 4),
        ("ParityError", 5),
        ("TrainingError", 6),
        ("UpstreamError", 7),
    ],
)
def test_exit_codes_are_a_promise_to_scripts(name: str, code: int) -> None:
    assert CLASSES[name].exit_code == code


def test_a_subclass_keeps_the_code_of_its_branch() -> None:
    for name, cls in CLASSES.items():
        parent = cls.__bases__[0]
        if parent not in (Exception, PointsmanError):
            assert cls.exit_code == parent.exit_code, name


def test_the_command_line_documents_every_code() -> None:
    documented = {int(code) for code in re.findall(r"\b(\d+) ", command_line.__doc__ or "")}
    assert {cls.exit_code for cls in CLASSES.values()} | {0, 130} == documented


def test_every_class_says_what_it_means() -> None:
    for name, cls in CLASSES.items():
        assert (cls.__doc__ or "").endswith("."), name
