"""Text in, decision out, in one ONNX file: tokenizer, model, calibration and policy in one graph.

The tokenizer's operators are onnxruntime-extensions', which its user registers with the session.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointsman.artifact.layout import TOKENIZER
from pointsman.artifact.manifest import Manifest
from pointsman.artifact.store import Artifact
from pointsman.deploy.package.characters import UNKNOWN, Characters, Range, read_characters
from pointsman.deploy.package.render import weights_of
from pointsman.deploy.package.target import Target

if TYPE_CHECKING:
    import onnx

CONTRIB = "ai.onnx.contrib"
FILE = "router.onnx"
_IR_VERSION = 9


class _Nodes:
    """Nodes and constants of a graph that is being written, under a prefix of its own."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def __call__(self, op: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> str:
        """Add a node; returns the name of its first output."""
        from onnx import helper

        name = f"{self.prefix}{len(self.nodes)}"
        names = [name, *(f"{name}.{index}" for index in range(1, outputs))]
        self.nodes.append(helper.make_node(op, inputs, names, name=name, domain=domain, **attributes))
        return name

    def constant(self, value: Any) -> str:
        """Add a constant (a number, a list or an array; text as a list of strings); returns its name."""
        import numpy as np
        from onnx import helper, numpy_helper

        name = f"{self.prefix}c{len(self.constants)}"
        array = np.asarray(value)
        if array.dtype.kind == "U":
            texts = [text.encode() for text in array.ravel()]
            tensor = helper.make_tensor(name, 8, array.shape, texts)
        else:
            tensor = numpy_helper.from_array(array, name)
        self.constants.append(tensor)
        return name


def tokenizer_graph(characters: Characters, max_tokens: int, max_chars: int) -> tuple[_Nodes, str, str]:
    """The nodes from `text` (string, batch) to token ids and mask (int64, batch x longest of the batch).

    Returns:
        the nodes, and the names of ids and mask among them.
    """
    from onnx import TensorProto

    outer, text = _Nodes("text."), "text"
    for one, ranges in characters.classes.items():
        taken, given = outer.constant([_pattern(ranges)]), outer.constant([one])
        text = outer("StringRegexReplace", text, taken, given, domain=CONTRIB)
    # A space at the end changes no token, and leaves no text empty.
    space = outer("Expand", outer.constant([" "]), outer("Shape", text))
    text = outer("StringConcat", text, space, domain=CONTRIB)
    loop = _one_text(characters, text, max_tokens, max_chars)
    rows = outer("Squeeze", outer("Shape", "text"))
    padded = outer("Loop", rows, outer.constant(True), outputs=2, body=loop)
    lengths = f"{padded}.1"
    longest = outer("ReduceMax", lengths, keepdims=0)
    places = outer("Range", outer.constant(0), longest, outer.constant(1))
    mask = outer("Cast", outer("Less", places, lengths), to=TensorProto.INT64)
    axis = outer.constant([1])
    used = outer("Unsqueeze", longest, outer.constant([0]))
    return outer, outer("Slice", padded, outer.constant([0]), used, axis), mask


def _one_text(characters: Characters, text: str, max_tokens: int, max_chars: int) -> Any:
    """The loop's body: row `row.index` of `text` to its ids, padded to `max_tokens`, and their number."""
    from onnx import TensorProto, helper

    body = _Nodes("row.")
    zero = body.constant([0])
    words = _words(body, characters, text, max_tokens, max_chars)
    ids = _token_ids(body, characters, words, max_tokens)
    length = body("Shape", ids)
    ids = body("Pad", ids, body("Concat", zero, body("Sub", body.constant([max_tokens]), length), axis=0))
    keep = body("Identity", "row.more")
    info = helper.make_tensor_value_info
    return helper.make_graph(
        body.nodes,
        "one_text",
        [info("row.index", TensorProto.INT64, []), info("row.more", TensorProto.BOOL, [])],
        [
            info(keep, TensorProto.BOOL, []),
            info(ids, TensorProto.INT64, [max_tokens]),
            info(length, TensorProto.INT64, [1]),
        ],
        body.constants,
    )


def _words(body: _Nodes, characters: Characters, text: str, max_tokens: int, max_chars: int) -> str:
    """The normalized words of a text, and the closing token after them."""
    zero = body.constant([0])
    row = body("Unsqueeze", body("Gather", text, "row.index"), zero)
    each = body.constant(["(?s)(.)"])
    letters = body("StringRegexSplitWithOffsets", row, each, each, outputs=4, domain=CONTRIB)
    letters = body("Slice", letters, zero, body.constant([max_chars]))
    written = body(
        "LabelEncoder", letters, domain="ai.onnx.ml", default_string=UNKNOWN,
        keys_strings=list(characters.table), values_strings=list(characters.table.values()),
    )  # fmt: skip
    row = body("StringJoin", written, body.constant([""]), zero, domain=CONTRIB)
    spaces = body.constant(["( +)"])
    words = body("StringRegexSplitWithOffsets", row, spaces, body.constant([""]), outputs=4, domain=CONTRIB)
    # A word is at least one token, so more words than tokens are never read.
    words = body("Slice", words, zero, body.constant([max_tokens]))
    return body("Concat", words, body.constant([characters.end]), axis=0)


def _token_ids(body: _Nodes, characters: Characters, words: str, max_tokens: int) -> str:
    """Words and the closing token to token ids, the opening token first, cut at `max_tokens`."""
    ids_of = {piece: index for index, piece in enumerate(characters.vocabulary)}
    zero, last = body.constant([0]), body.constant([-1])
    count = body("Squeeze", body("Shape", words))
    rows = body("Range", body.constant(0), body("Add", count, body.constant(1)), body.constant(1))
    pieces = body(
        "WordpieceTokenizer", words, rows, outputs=4, domain=CONTRIB, suffix_indicator="##",
        vocab=json.dumps(ids_of), unknown_token=characters.unknown,
        max_input_chars_per_word=characters.longest,
    )  # fmt: skip
    first, beyond = f"{pieces}.2", f"{pieces}.3"
    ids = body(
        "LabelEncoder", pieces, domain="ai.onnx.ml",
        keys_strings=list(ids_of), values_int64s=list(ids_of.values()),
    )  # fmt: skip
    # Of an unknown word the operator gives the pieces up to where it failed; the tokenizer gives none.
    unknown = body("Equal", ids, body.constant(ids_of[characters.unknown]))
    failed = body("Gather", unknown, body("Sub", beyond, body.constant(1)))
    ones = body("Expand", body.constant([1]), body("Shape", first))
    starts = body("ScatterElements", body("Expand", zero, body("Shape", ids)), first, ones)
    word = body("Sub", body("CumSum", starts, body.constant(0)), body.constant(1))
    ids = body("Compress", ids, body("Or", unknown, body("Not", body("Gather", failed, word))))
    read = body("Slice", body("Slice", ids, zero, last), zero, body.constant([max_tokens - 2]))
    end = body("Slice", ids, last, body.constant([1 << 60]))
    return body("Concat", body.constant([ids_of[characters.start]]), read, end, axis=0)


def _pattern(ranges: Sequence[Range]) -> str:
    """An RE2 class of these characters."""
    return "[" + "".join(f"\\x{{{first:X}}}-\\x{{{last:X}}}" for first, last in ranges) + "]"


def decision_graph(manifest: Manifest, logits: str, ids: str, weights: Sequence[int]) -> _Nodes:
    """The nodes from logits (float32, batch x 2) to `p_local`, `p_cloud`, `label` and `target` (batch).

    The token ids and the weight of each say whether the text was readable.
    """
    import numpy as np

    nodes, policy = _Nodes("decision."), manifest.policy

    def number(value: float) -> str:
        return nodes.constant(np.float64(value))

    margin = _margin(nodes, manifest, logits)
    p_cloud = nodes(
        "Mul", nodes("Add", nodes("Tanh", nodes("Mul", margin, number(0.5))), number(1)), number(0.5)
    )
    p_local = nodes("Sub", number(1), p_cloud)
    words = {word: nodes.constant([word]) for word in ("local", "cloud")}
    label = nodes("Where", nodes("Less", p_cloud, number(0.5)), words["local"], words["cloud"])
    is_cloud = nodes("GreaterOrEqual", p_cloud, number(policy.effective_threshold))
    wanted = nodes("Where", is_cloud, words["cloud"], words["local"])
    # A NaN is no probability: it goes to the safe target.
    is_read = nodes("And", nodes("Greater", "tokens", nodes.constant(2)), nodes("Equal", p_cloud, p_cloud))
    # Padding is a token of weight 0.
    each = nodes("Gather", nodes.constant(weights), ids)
    foreign = nodes("ReduceSum", each, nodes.constant([1]), keepdims=0)
    is_read = nodes("And", is_read, nodes("LessOrEqual", foreign, nodes.constant(0)))
    target = nodes("Where", is_read, wanted, words[policy.safe_target])
    for name, value in (("p_local", p_local), ("p_cloud", p_cloud), ("label", label), ("target", target)):
        nodes.nodes.append(_renamed(value, name))
    return nodes


def _margin(nodes: _Nodes, manifest: Manifest, logits: str) -> str:
    """The logit of cloud less that of local, calibrated, double (batch)."""
    import numpy as np
    from onnx import TensorProto

    columns, cloud_index = nodes("Cast", logits, to=TensorProto.DOUBLE), manifest.labels.cloud_index
    cloud, local = (
        nodes("Gather", columns, nodes.constant(index), axis=1) for index in (cloud_index, 1 - cloud_index)
    )
    margin = nodes("Sub", cloud, local)
    if (calibration := manifest.calibration) is None:
        return margin
    slope, offset = (nodes.constant(np.float64(value)) for value in (calibration.a, calibration.b))
    return nodes("Add", nodes("Mul", margin, slope), offset)


def _renamed(value: str, name: str) -> Any:
    from onnx import helper

    return helper.make_node("Identity", [value], [name], name=name)


def compose(artifact: Artifact, model: "onnx.ModelProto") -> "onnx.ModelProto":
    """One model from text to decision, around the artifact's own.

    Raises:
        ArtifactError: the artifact's tokenizer is of a kind that cannot stand in a graph.
    """
    import onnx
    from onnx import TensorProto, compose, helper

    manifest, limits = artifact.manifest, artifact.manifest.limits
    characters = read_characters(artifact.read(TOKENIZER))
    text, ids, mask = tokenizer_graph(characters, limits.max_tokens, limits.max_chars)
    renamed = compose.add_prefix_graph(model.graph, "model.")
    inputs = {"model.input_ids": ids, "model.attention_mask": mask}
    count = helper.make_node("ReduceSum", [mask, text.constant([1])], ["tokens"], name="tokens", keepdims=0)
    text.nodes += [*(_renamed(inputs[given.name], given.name) for given in renamed.input), count]
    decision = decision_graph(manifest, renamed.output[0].name, ids, weights_of(artifact))
    kinds = {"p_local": "DOUBLE", "p_cloud": "DOUBLE", "label": "STRING", "target": "STRING"}
    values = {
        name: helper.make_tensor_value_info(name, getattr(TensorProto, kind), ["batch"])
        for name, kind in {"text": "STRING", **kinds, "tokens": "INT64"}.items()
    }
    graph = helper.make_graph(
        [*text.nodes, *renamed.node, *decision.nodes],
        "text_in_decision_out",
        [values.pop("text")],
        list(values.values()),
        [*text.constants, *renamed.initializer, *decision.constants],
    )
    opsets = {entry.domain: entry.version for entry in model.opset_import} | {CONTRIB: 1, "ai.onnx.ml": 3}
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(*opset) for opset in opsets.items()],
        producer_name="pointsman",
        ir_version=max(_IR_VERSION, model.ir_version),
    )
    helper.set_model_props(made, {"artifact": manifest.id, "name": manifest.name})
    onnx.checker.check_model(made, check_custom_domain=False)
    return made


def write(artifact: Artifact, stage: Path) -> None:
    """Replace the model's file in the folder by the one that takes text.

    Raises:
        ArtifactError: the artifact's tokenizer is of a kind that cannot stand in a graph.
    """
    import onnx

    path = stage / FILE
    onnx.save(compose(artifact, onnx.load(path)), path)


TARGETS = (
    Target(
        name="text-in",
        purpose="one ONNX file, text in and decision out, for languages without a WordPiece tokenizer",
        needs="onnxruntime and onnxruntime-extensions; onnx where it is packaged",
        tested="token ids of texts of every kind and of hostile Unicode against the artifact's tokenizer",
        variants={FILE: ("int8", "plain")},
        step=write,
    ),
)
