"""The encoders that `nox -s tests` leaves out, because each export takes torch many seconds."""

import pytest
from tests.convert.encoders import check_encoder

ENCODERS = ("albert", "deberta-v2", "distilbert", "electra", "MiniLM", "mpnet", "qwen3", "xlm-roberta")


@pytest.mark.parametrize("architecture", ENCODERS)
def test_an_encoder_is_exported_proved_and_answers_alone_as_in_a_batch(architecture, tmp_path):
    check_encoder(architecture, tmp_path)
