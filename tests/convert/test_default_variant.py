import onnx
import pytest
from tests.convert.products import bag_of_words

from pointsman.convert.default_variant import choose, choose_default
from pointsman.convert.options import ExportOptions, Shape


@pytest.mark.parametrize(
    ("times", "default", "refused"),
    [
        ({"1x9": {"int8": 1.0, "folded": 2.0, "plain": 3.0}}, "int8", {}),
        ({"1x9": {"int8": 2.2, "folded": 2.0, "plain": 3.0}}, "folded", {"int8": "folded"}),
        (
            {
                "1x9": {"int8": 1.0, "folded": 2.0, "plain": 3.0},
                "56x9": {"int8": 9.0, "folded": 5.0, "plain": 4.0},
            },
            "plain",
            {"int8": "56x9 takes 9.00 ms, plain 4.00 ms", "folded": "plain"},
        ),
        ({"1x9": {"int8": 2.02, "folded": 2.0, "plain": 2.01}}, "folded", {}),
        ({"1x9": {"int8": 2.0, "folded": 3.0}}, "int8", {}),
        ({"1x9": {"int8": 3.0, "folded": 2.0}}, "folded", {"int8": "folded"}),
        ({"1x9": {"folded": 2.0, "plain": 1.0}}, "plain", {"folded": "plain"}),
    ],
)
def test_the_default_is_never_slower_than_plain_and_int8_never_than_float32(times, default, refused) -> None:
    best, reasons = choose(times)
    assert best == default
    assert reasons.keys() == refused.keys()
    assert all(word in reasons[name] for name, word in refused.items())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("shape", "lengths", "measured"),
    [
        (Shape(), [4, 5, 6, 40], {"1x6", "1x40", "85x6"}),
        (Shape(), [512], {"1x512"}),
        (Shape(2, 16), [4], {"2x16"}),
    ],
)
def test_variants_are_measured_at_the_lengths_of_the_texts(
    tmp_path, threads, shape, lengths, measured
) -> None:
    model = onnx.load(bag_of_words(tmp_path / "m.onnx"))
    options = ExportOptions(shape=shape, threads=threads)
    best, record = choose_default({"folded": model, "plain": model}, options, lengths)
    assert record is not None
    assert record["median_ms"].keys() == measured
    assert best in ("folded", "plain")
    assert record["threads"] == threads


def test_without_a_measurement_int8_is_the_default() -> None:
    models = dict.fromkeys(("plain", "folded", "int8"), onnx.ModelProto())
    assert choose_default(models, ExportOptions(measure=False), [5]) == ("int8", None)
