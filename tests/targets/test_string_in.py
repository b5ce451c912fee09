"""Why no target has its tokenizer inside the graph: its token ids are not the artifact's on all texts."""

import json

from tests.targets.comparing import peer

_SCRIPT = """
import json, sys
import numpy as np, onnxruntime, onnxruntime_extensions
from onnx import TensorProto, helper
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1])
tokenizer.no_padding()
tokenizer.enable_truncation(128)
vocabulary = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])]
node = helper.make_node(
    "BertTokenizer", ["text"], ["ids", "types", "mask"],
    domain="ai.onnx.contrib", vocab_file="\\n".join(vocabulary),
    do_lower_case=1, strip_accents=1, tokenize_chinese_chars=1, do_basic_tokenize=1, max_length=128,
    truncation_strategy_name="longest_first", unk_token="[UNK]", sep_token="[SEP]", pad_token="[PAD]",
    cls_token="[CLS]", mask_token="[MASK]", suffix_indicator="##")
outputs = [helper.make_tensor_value_info(name, TensorProto.INT64, None) for name in ("ids", "types", "mask")]
inputs = [helper.make_tensor_value_info("text", TensorProto.STRING, [1])]
model = helper.make_model(
    helper.make_graph([node], "tokenizer", inputs, outputs),
    opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.contrib", 1)])
model.ir_version = 9
options = onnxruntime.SessionOptions()
options.register_custom_ops_library(onnxruntime_extensions.get_library_path())
session = onnxruntime.InferenceSession(model.SerializeToString(), options)
differing = []
for text in json.load(open(sys.argv[2])):
    found = session.run(["ids"], {"text": np.array([text], object)})[0].ravel().tolist()
    if found != tokenizer.encode(text).ids:
        differing.append(text)
print(json.dumps(differing))
"""


def test_tokenizer_in_the_graph_differs_only_outside_plain_english(artifact, texts, tmp_path):
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    differing = json.loads(
        peer("venv-tr", _SCRIPT, artifact.path / "tokenizer.json", tmp_path / "texts.json")
    )
    print(f"\nn {len(texts)}, token ids differ for {len(differing)}")
    # Were it none, the target could be offered; a difference in plain English would be news, too.
    assert differing
    assert all(not text.isascii() or "[" in text for text in differing)
