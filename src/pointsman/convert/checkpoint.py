"""A trained checkpoint on disk: a Hugging Face directory, read without torch, trusted only after checks."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from pointsman.artifact.digest import artifact_id, digest_file
from pointsman.artifact.layout import CONFIG, TOKENIZER, TOKENIZER_COMPANIONS
from pointsman.artifact.manifest import Calibration, Chat
from pointsman.checkpoint.calibration import CALIBRATION, read_calibration
from pointsman.checkpoint.word_experts import WORD_EXPERTS, WordExperts, read_word_experts
from pointsman.convert.checkpoint_files import (
    WEIGHTS,
    check_tokenizer,
    explain_other_directories,
    present_name,
    read_json,
    read_tensors,
    require_safetensors,
    weight_files,
)
from pointsman.errors import CheckpointError, ManifestError, PointsmanError
from pointsman.labels import TARGETS, LabelSet

TOKENIZER_CONFIG = "tokenizer_config.json"
PREFIXES = ("module.", "_orig_mod.", "model.")
"""What wrappers put before every name: DistributedDataParallel, torch.compile, a Lightning module."""

_POSITIONS_AFTER_PADDING = (
    "camembert",
    "data2vec-text",
    "ibert",
    "longformer",
    "luke",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint whose files were found and whose configuration was understood.

    Attributes:
        labels: `local` and `cloud`, in the order of the logits.
        calibration: from `calibration.json`, where there is one.
        curve: from the same file, what it was fitted on; None where that is not said.
        sha256: identity of the files that matter, 64 hexadecimal digits.
    """

    path: Path
    config: Mapping[str, Any]
    labels: LabelSet
    calibration: Calibration | None
    curve: Mapping[str, Any] | None
    sha256: str

    @property
    def model_type(self) -> str:
        """The architecture, for example `mobilebert`."""
        return str(self.config["model_type"])

    @property
    def heads(self) -> int:
        """Attention heads, by the names that architectures use; 0 where the config is silent."""
        config = self.config
        return int(config.get("num_attention_heads") or config.get("n_heads") or config.get("n_head") or 0)

    @property
    def hidden_size(self) -> int:
        """Channels of the stream, by the names that architectures use; 0 where the config is silent."""
        return int(self.config.get("hidden_size") or self.config.get("dim") or self.config.get("n_embd") or 0)

    @property
    def chat(self) -> Chat:
        """How a chat was read in training: `earlier_turns` and `last_turn_first` of the config.

        Raises:
            ManifestError: the first is no whole number of at least 0, or the second not true or false.
        """
        return Chat(self.config.get("earlier_turns", 0), self.config.get("last_turn_first", False))

    @property
    def scripts(self) -> tuple[str, ...]:
        """Scripts that the router reads: `scripts` of the config; MobileBERT was trained on English.

        Raises:
            CheckpointError: no list of names.
        """
        found = self.config.get("scripts", ["LATIN"] if self.model_type == "mobilebert" else [])
        if not isinstance(found, list) or not all(isinstance(s, str) and s.isupper() for s in found):
            raise CheckpointError(f"{CONFIG}: scripts: expected a list such as ['LATIN'], found {found!r}.")
        return tuple(found)

    @property
    def max_positions(self) -> int | None:
        """The longest sequence that the position table holds, in tokens; None where the config is silent.

        RoBERTa and its kin count positions from the padding token's number on: two of their 514 hold no text.
        """
        value = self.config.get("max_position_embeddings", self.config.get("n_positions"))
        if not isinstance(value, int):
            return None
        return value - self.pad_token_id - 1 if self.model_type in _POSITIONS_AFTER_PADDING else value

    @property
    def pad_token_id(self) -> int:
        """The padding token's number: the config's, else the tokenizer's, else the end of text's, else 0.

        Raises:
            CheckpointError: the config's is no token of its vocabulary.
        """
        if isinstance(found := self.config.get("pad_token_id"), int):
            size = self.config.get("vocab_size")
            if found < 0 or (isinstance(size, int) and found >= size):
                raise CheckpointError(
                    f"{CONFIG}: pad_token_id: expected a token of the vocabulary ({size}), found {found}. "
                    "Write the tokenizer's there, or null."
                )
            return found
        settings = read_json(self.path / TOKENIZER_CONFIG) if (self.path / TOKENIZER_CONFIG).is_file() else {}
        token = settings.get("pad_token")
        name = token.get("content") if isinstance(token, dict) else token
        if isinstance(name, str):
            number = Tokenizer.from_file(str(self.path / TOKENIZER)).token_to_id(name)
            if number is not None:
                return int(number)
        end = self.config.get("eos_token_id")
        return end if isinstance(end, int) else 0

    @property
    def tokenizer_files(self) -> list[Path]:
        """`tokenizer.json` and those of its companions that are there."""
        names = (TOKENIZER, *TOKENIZER_COMPANIONS)
        return [self.path / name for name in names if (self.path / name).is_file()]

    @property
    def weight_files(self) -> list[Path]:
        """The safetensors that hold the weights: one, or the shards that an index names."""
        return weight_files(self.path)

    def weights(self) -> dict[str, NDArray[Any]]:
        """Every tensor, finite, without a wrapper's prefix before the names; bfloat16 as float32.

        Raises:
            CheckpointError: truncated or hostile safetensors, 8-bit numbers, or NaN or infinity in a tensor.
        """
        prefix = self.prefix
        tensors = read_tensors(self.weight_files)
        named = {present_name(name.removeprefix(prefix)): tensor for name, tensor in tensors.items()}
        head = named.get("classifier.weight")
        if head is not None and len(head) != len(self.labels.names):
            raise CheckpointError(
                f"{WEIGHTS}: classifier.weight: expected a row per label, {len(self.labels.names)}, "
                f"found shape {head.shape}. Take the config.json that was saved with these weights."
            )
        return named

    def word_experts(self) -> WordExperts | None:
        """The linear part beside the network; None where the checkpoint has none.

        Raises:
            CheckpointError: the file is not understood, or is of another vocabulary.
        """
        return read_word_experts(self.path, self.config.get("vocab_size"))

    @property
    def prefix(self) -> str:
        """What a wrapper put before every tensor's name; empty where there is none, which is usual."""
        names: list[str] = []
        for file in self.weight_files:
            with suppress(SafetensorError, OSError), safe_open(file, framework="numpy") as opened:
                names += opened.keys()
        found = ""
        while names and (
            more := next((p for p in PREFIXES if all(n.startswith(found + p) for n in names)), "")
        ):
            found += more
        return found


def read_checkpoint(path: Path, names: Mapping[str, str] | None = None) -> Checkpoint:
    """Find and check a checkpoint's files.

    Args:
        names: which of its labels mean `local` and `cloud`, for example {"weak": "local", "strong": "cloud"}.

    Raises:
        CheckpointError: not a directory, a file missing or unreadable, weights that are pickled, labels that
            are missing or contradict each other, a tokenizer of another vocabulary.
    """
    try:
        return _read(path, names)
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error}.") from None
    except ManifestError as error:
        raise CheckpointError(f"{path / CONFIG}: {error}") from None


def _read(path: Path, names: Mapping[str, str] | None) -> Checkpoint:
    if not path.is_dir():
        raise CheckpointError(
            f"checkpoint {path}: expected a directory with {CONFIG} and {WEIGHTS}, found none."
        )
    explain_other_directories(path)
    config = read_json(path / CONFIG)
    if not isinstance(config.get("model_type"), str):
        raise CheckpointError(
            f"{path / CONFIG}: model_type: expected a name such as 'mobilebert', found none."
        )
    if quantization := config.get("quantization_config"):
        raise CheckpointError(
            f"{path / CONFIG}: quantization_config {quantization}: these weights lost their floating point. "
            "Export the checkpoint that was quantized."
        )
    require_safetensors(path)
    labels = _labels(config, path / CONFIG, {k.strip().lower(): v for k, v in (names or {}).items()})
    check_tokenizer(path, config)
    made = Checkpoint(path, config, labels, *read_calibration(path), sha256="")
    others = [path / n for n in (CONFIG, TOKENIZER, CALIBRATION, WORD_EXPERTS) if (path / n).is_file()]
    files = {file.name: digest_file(file) for file in (*made.weight_files, *others)}
    _ = made.chat, made.pad_token_id, made.scripts  # what they say is refused now, not after the work
    return replace(made, sha256=artifact_id(files))


def _labels(config: Mapping[str, Any], where: Path, names: Mapping[str, str]) -> LabelSet:
    def target(name: object) -> str:
        return names.get(str(name).strip().lower(), str(name)).strip().lower()

    id2label, label2id = config.get("id2label"), config.get("label2id")
    if not id2label and names:
        # What transformers calls the classes of a config that does not name them.
        count = config.get("num_labels")
        classes = min(count, len(TARGETS) + 1) if isinstance(count, int) else len(TARGETS)
        id2label, label2id = {str(i): f"LABEL_{i}" for i in range(classes)}, None
    if not isinstance(id2label, dict) or not id2label:
        raise CheckpointError(
            f"{where}: id2label is missing, so the meaning of each logit is unknown. "
            "Say it in the order of training: --labels LABEL_0=local,LABEL_1=cloud"
        )
    problem = config.get("problem_type") or "single_label_classification"
    if len(id2label) != len(TARGETS) or problem != "single_label_classification":
        raise CheckpointError(
            f"{where}: expected a classifier of {len(TARGETS)} classes that exclude each other, found "
            f"{len(id2label)} ({', '.join(map(str, id2label.values()))}), problem_type {problem!r}. "
            "Train it on the two classes `local` and `cloud`."
        )
    try:
        labels = LabelSet.from_id2label({key: target(name) for key, name in id2label.items()})
    except PointsmanError as error:
        pairs = [f"{name}={kind}" for name, kind in zip(id2label.values(), TARGETS, strict=True)]
        cure = f" Or say which is which: --labels {','.join(pairs)}"
        given = {str(name).strip().lower() for name in id2label.values()}
        can_be_said = len(given) == len(TARGETS) and given != {*TARGETS}
        raise CheckpointError(f"{where}: {error}{cure if can_be_said else ''}") from None
    if isinstance(label2id, dict) and label2id:
        other = {target(name): int(i) if str(i).isdecimal() else i for name, i in label2id.items()}
        if other != {name: index for index, name in enumerate(labels.names)}:
            raise CheckpointError(
                f"{where}: id2label {id2label} and label2id {label2id} contradict each other."
            )
    return labels
