"""The training loop: distillation and labels in one pass, resumable, with the best weights kept.

A plain loop over torch and transformers' parts rather than a Trainer, because a batch carries three
targets (a sentence vector, a label, a teacher's opinion) of which each may be missing, and because the
saved state must be safetensors.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import get_linear_schedule_with_warmup

from pointsman.errors import TrainingError
from pointsman.evaluation.curve import apgr, cost_quality_curve
from pointsman.progress import Progress
from pointsman.train.batches import encode, epoch_order, pad_batch, with_edits
from pointsman.train.data import Example
from pointsman.train.precision import has_bfloat16
from pointsman.train.recipe import Recipe
from pointsman.train.state import load_state, save_state
from pointsman.train.trainee import Answer, Targets, Trainee

_SAVE_EVERY_S = 120.0
_REPORT_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave: the averaged weights that were best on the validation split, and its history."""

    weights: dict[str, torch.Tensor]
    history: list[dict[str, float]]
    seconds: float
    steps: int
    stopped_early: bool


class Loop:
    """One training run over fixed examples."""

    def __init__(
        self,
        recipe: Recipe,
        trainee: Trainee,
        tokenizer: Any,
        train: tuple[list[Example], Targets],
        validation: tuple[list[Example], Targets],
        directory: Path,
        progress: Progress,
    ) -> None:
        """Prepare a run; `directory` keeps its resumable state."""
        self.recipe, self.trainee, self.tokenizer = recipe, trainee, tokenizer
        self.examples, self.targets = train
        self.held_out, self.held_targets = validation
        self.directory, self.progress = directory, progress
        self.bfloat16 = recipe.schedule.bfloat16 and has_bfloat16()
        schedule = recipe.schedule
        lengths = [len(i) for i in self._encode([e.query for e in self.examples])]
        self.steps_per_epoch = len(epoch_order(lengths, schedule.batch_tokens, recipe.seed))
        self.total = max(1, math.ceil(self.steps_per_epoch * schedule.epochs))
        decayed = [p for p in trainee.parameters() if p.ndim > 1]
        plain = [p for p in trainee.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": schedule.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=schedule.learning_rate,
            betas=(0.9, 0.98),
            fused=True,
        )
        warmup = int(self.total * schedule.warmup_share)
        self.scheduler = get_linear_schedule_with_warmup(self.optimizer, warmup, self.total)
        self.average = {name: value.detach().clone() for name, value in trainee.state_dict().items()}
        self.best = {name: value.clone() for name, value in self.average.items()}
        self.history: list[dict[str, float]] = []
        self.step, self.seconds, self.worse = 0, 0.0, 0

    def run(self) -> Outcome:
        """Train to the end of the schedule, to early stopping, or on from where an interrupt left off.

        Raises:
            TrainingError: the loss is not finite, or the disk refuses a save.
        """
        self._resume()
        every = max(1, self.total // self.recipe.schedule.evaluations)
        saved = reported = time.monotonic()
        losses: list[float] = []  # since the evaluation before: one batch's loss says little about the next's
        while self.step < self.total and self.worse < self.recipe.schedule.patience:
            epoch = self.step // self.steps_per_epoch
            texts = with_edits(
                [e.query for e in self.examples], self.recipe.loss.edit_share, self._seed(epoch)
            )
            ids = self._encode(texts)
            batches = epoch_order([len(i) for i in ids], self.recipe.schedule.batch_tokens, self._seed(epoch))
            for rows in batches[self.step % self.steps_per_epoch :][: self.total - self.step]:
                began = time.monotonic()
                losses.append(self._step(rows, ids))
                self.step += 1
                self.seconds += time.monotonic() - began
                if time.monotonic() - reported > _REPORT_EVERY_S:
                    reported = time.monotonic()
                    self._report(losses)
                if self.step % every == 0 or self.step == self.total:
                    self._evaluate(losses)
                    losses = []
                    if self.worse >= self.recipe.schedule.patience:
                        break
                if time.monotonic() - saved > _SAVE_EVERY_S:
                    saved = time.monotonic()
                    self._save()
                if self.step % self.steps_per_epoch == 0:
                    break
        self._save()
        return Outcome(self.best, self.history, self.seconds, self.step, self.step < self.total)

    def _step(self, rows: list[int], ids: list[list[int]]) -> float:
        batch = pad_batch(rows, ids)
        self.trainee.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            answer = self.trainee(batch.input_ids, batch.attention_mask)
        loss = self._loss(Answer(*(part.float() for part in answer)), rows, self.targets)
        if not torch.isfinite(loss):
            raise TrainingError(f"step {self.step}: the loss is {loss.item()}. Lower schedule.learning_rate.")
        loss.backward()
        nn.utils.clip_grad_norm_(self.trainee.parameters(), self.recipe.schedule.clip_norm)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        decay = min(self.recipe.schedule.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            current = self.trainee.state_dict()
            torch._foreach_lerp_(
                [self.average[name] for name in current], list(current.values()), 1.0 - decay
            )
        return float(loss.item())

    def _loss(self, answer: Answer, rows: list[int], targets: Targets) -> torch.Tensor:
        weights, margin = self.recipe.loss, answer.margin
        total = margin.new_zeros(())
        if targets.vectors is not None:
            wanted = torch.from_numpy(targets.vectors[rows].astype(np.float32))
            distance = 1.0 - nn.functional.cosine_similarity(answer.vector, wanted)
            total = total + weights.embedding * (distance * wanted.any(1)).mean()
        p_cloud = torch.from_numpy(targets.p_cloud[rows])
        known = ~torch.isnan(p_cloud)
        if known.any():
            weight = None if targets.weights is None else torch.from_numpy(targets.weights[rows])[known]
            entropy = nn.functional.binary_cross_entropy_with_logits(
                margin[known], p_cloud[known], weight=weight, reduction="sum"
            )
            total = total + weights.label * entropy / len(rows)
        if targets.subjects is not None:
            subject = torch.from_numpy(targets.subjects[rows])
            entropy = nn.functional.cross_entropy(answer.subjects, subject, ignore_index=-1, reduction="sum")
            total = total + weights.subject * entropy / len(rows)
        return total

    def _evaluate(self, losses: list[float]) -> None:
        margins, distance = self.predict(self.held_out, self.held_targets)
        known = np.array([np.nan if e.p_cloud is None else e.p_cloud for e in self.held_out])
        facts = {"step": float(self.step), "minutes": self.seconds / 60.0}
        facts |= {"train_loss": float(np.mean(losses)), "validation_cosine_distance": distance}
        for name, chosen in (
            ("measured", np.array([e.is_measured for e in self.held_out])),
            ("ruled", np.array([not e.is_measured for e in self.held_out])),
        ):
            rows = chosen & ~np.isnan(known)
            if rows.any():
                facts[f"validation_{name}_entropy"] = _entropy(margins[rows], known[rows])
            if name == "measured" and rows.any():
                nothing = np.zeros(int(rows.sum()))
                facts["validation_apgr"] = apgr(cost_quality_curve(margins[rows], nothing, known[rows]))
        score = sum(v for k, v in facts.items() if k.endswith("_entropy"))
        facts["score"] = score
        if not self.history or score < min(h["score"] for h in self.history):
            self.best = {name: value.clone() for name, value in self.average.items()}
            self.worse = 0
        else:
            self.worse += 1
        self.history.append(facts)
        self.progress("validation: " + ", ".join(f"{k} {v:.4g}" for k, v in facts.items()))

    def predict(self, examples: list[Example], targets: Targets) -> tuple[NDArray[np.float64], float]:
        """Margins (examples,) of the averaged weights, and the mean cosine distance to the teacher."""
        kept = {name: value.clone() for name, value in self.trainee.state_dict().items()}
        self.trainee.load_state_dict(self.average)
        self.trainee.eval()
        ids = self._encode([e.query for e in examples])
        margins, distances = np.empty(len(examples)), [0.0]
        with (
            torch.inference_mode(),
            torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16),
        ):
            for rows in epoch_order([len(i) for i in ids], self.recipe.schedule.batch_tokens, 0):
                batch = pad_batch(rows, ids)
                margin, vector, _ = self.trainee(batch.input_ids, batch.attention_mask)
                margins[rows] = margin.float().numpy()
                if targets.vectors is not None:
                    wanted = torch.from_numpy(targets.vectors[rows].astype(np.float32))
                    distance = 1.0 - nn.functional.cosine_similarity(vector.float(), wanted)
                    distances += distance[wanted.any(1)].tolist()
        self.trainee.load_state_dict(kept)
        return margins, sum(distances) / max(1, len(distances) - 1)

    def _report(self, losses: list[float]) -> None:
        left = self.seconds / max(1, self.step) * (self.total - self.step) / 60
        mean = np.mean(losses)
        self.progress(f"step {self.step:,} of {self.total:,}, loss {mean:.3f}, at most {left:.0f} min left")

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return encode(self.tokenizer, texts, self.recipe.student.max_tokens)

    def _seed(self, epoch: int) -> int:
        return self.recipe.seed * 1_000_003 + epoch

    def _save(self) -> None:
        tensors = {f"model.{k}": v for k, v in self.trainee.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in state.items() if isinstance(v, torch.Tensor)}
        tensors["random"] = torch.get_rng_state()
        facts = {"step": self.step, "seconds": self.seconds, "worse": self.worse, "history": self.history}
        save_state(self.directory, tensors, facts)

    def _resume(self) -> None:
        found = load_state(self.directory)
        if found is None:
            return
        tensors, facts = found

        def part(prefix: str) -> dict[str, torch.Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        try:
            self.trainee.load_state_dict(part("model."))
        except RuntimeError:
            raise TrainingError(
                f"{self.directory} holds another run's state. Choose another --output."
            ) from None
        self.average, self.best = part("average."), part("best.")
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in part("optimizer.").items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.step, self.seconds = int(facts["step"]), float(facts["seconds"])
        self.worse, self.history = int(facts["worse"]), list(facts["history"])
        self.scheduler.load_state_dict(
            {**self.scheduler.state_dict(), "last_epoch": self.step, "_step_count": self.step + 1}
        )
        for group, base, rule in zip(
            self.optimizer.param_groups, self.scheduler.base_lrs, self.scheduler.lr_lambdas, strict=True
        ):
            group["lr"] = base * rule(self.step)
        if "random" in tensors:
            torch.set_rng_state(tensors["random"])
        self.progress(f"resumed at step {self.step:,} of {self.total:,}")


def _entropy(margin: NDArray[np.float64], p_cloud: NDArray[np.float64]) -> float:
    """Mean binary cross-entropy of margins against probabilities, in nats."""
    return float(np.mean(np.logaddexp(0.0, margin) - p_cloud * margin))
