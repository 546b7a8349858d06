"""Keeping a model's answers while its body moves: KL to the source model, and LwF."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgetl.errors import CheckpointError, ConfigError
from edgetl.extras import extra
from edgetl.files import sha256_bytes, sha256_file
from edgetl.reference.architectures import TIMM
from edgetl.reference.ending import Ending, raw_logits
from edgetl.reference.factories import timm_pretrained
from edgetl.reference.tensors import check_finite, read_tensors
from edgetl.spec import ClassifierInput, ImageInput
from edgetl.train.backbones import check_source, imagenet_state
from edgetl.train.terms.base import Start, Step, Term
from edgetl.train.terms.checks import check_temperature, check_weight, head_block, listed
from edgetl.train.terms.distillation import softened_kl


@dataclass(frozen=True, kw_only=True)
class KeepAnswers:
    """weight x KL(answers at the start || answers now), both softened by the temperature.

    Learning without forgetting, Li and Hoiem 2016, arXiv:1606.09282, equations 2 and 3, on the
    training images of the new task: as KL, which differs from the paper's cross-entropy by a
    number that training does not move, and without the factor T^2, which the paper has not. The
    answers of the start are those of a frozen copy in eval mode.

    Two kinds, by what the old answers come from:

    - `source_weights` is the file that the network started from, or the tensors themselves
      (`published_state`). Its head, which the new task replaced, is kept and stays as it was; the
      moving body answers through it. (The paper also trains it, which a head that is never used
      again does not need.)
    - Without it, the network's own first `known` outputs are the old classes: their rows of the
      head train too, as in the paper.

    Attributes:
        weight: The paper's lambda_o, 1 there; from 0.
        temperature: The paper's 2.
        source_weights: A .safetensors file, the source model's tensors by name, or None.
        known: How many of the first outputs the starting network knows already; None for all.
            Only without `source_weights`.

    Raises:
        ConfigError: For a weight below 0, NaN or infinite, such a temperature, or `known` where
            it means nothing.

    Example:
        >>> KeepAnswers(weight=1.0, known=5).digest["temperature"]
        2.0
    """

    weight: float
    temperature: float = 2.0
    source_weights: Path | Mapping[str, Tensor] | None = field(default=None, repr=False)
    known: int | None = None

    def __post_init__(self) -> None:
        check_weight("keep_answers.weight", self.weight)
        check_temperature("keep_answers.temperature", self.temperature)
        if self.known is not None and (self.known < 2 or self.source_weights is not None):
            raise ConfigError(
                "keep_answers.known",
                got=f"{self.known}" + ", beside source_weights" * (self.source_weights is not None),
                expected="at least 2 outputs of the network's own head, without source_weights",
                fix="leave one of the two out",
            )

    @property
    def digest(self) -> Mapping[str, Any]:
        """What decides the term; the source model by its hash."""
        return {
            "term": "keep-answers",
            "weight": self.weight,
            "temperature": self.temperature,
            "known": self.known,
            "source": _hash(self.source_weights),
        }

    def build(self, start: Start) -> Term:
        """The term, with a frozen copy of the starting network.

        Raises:
            CheckpointError: When the source model cannot be read, is of another architecture
                (with the keys), holds NaN, or is not what the network started from.
            ConfigError: When the network's head is no plain linear layer, or has fewer outputs
                than are known.
        """
        frozen = copy.deepcopy(start.network)
        old_head: nn.Module | None = None
        if self.source_weights is not None:
            old_head = _old_head(frozen, start, self.source_weights)
            frozen.set_submodule(head_block(frozen, start.layer), copy.deepcopy(old_head))
        elif self.known is not None and self.known > len(start.classes):
            raise ConfigError(
                "keep_answers.known",
                got=str(self.known),
                expected=f"at most the network's {len(start.classes)} outputs",
                fix="name every old class among the new ones",
            )
        return _KeepAnswersTerm(self, start, frozen.eval().requires_grad_(False), old_head)


class _KeepAnswersTerm(Term):
    name = "keep-answers"

    def __init__(
        self, maker: KeepAnswers, start: Start, frozen: nn.Module, old_head: nn.Module | None
    ) -> None:
        super().__init__()
        # While the body is frozen its answers through the old head stand still.
        self.in_head_phase = old_head is None
        self.needs_features = old_head is not None
        self._maker, self._start = maker, start
        self._frozen = (frozen, old_head)

    def forward(self, step: Step) -> Tensor:
        frozen, old_head = self._frozen
        start, maker = self._start, self._maker
        with torch.no_grad():
            given = [start.preprocess(step.inputs)]
            before = raw_logits(frozen, start.layer, start.answer, given)
        now = step.raw_logits
        if old_head is not None:
            assert step.features is not None
            now = old_head(step.features)
        known = maker.known or now.shape[1]
        return maker.weight * softened_kl(now[:, :known], before[:, :known], maker.temperature)


def published_state(
    weights: str, architecture: str, input: ClassifierInput
) -> Mapping[str, Tensor]:
    """The published weights that a network starts from, head included, for `KeepAnswers`.

    Args:
        weights: ``"imagenet"`` or ``"pretrained"``, as `FinetuneConfig.weights`.
        architecture: One of torchvision's, or ``timm:NAME``.
        input: What the classifier takes.

    Raises:
        ConfigError: For other weights, which nobody published.
        CheckpointError: When they cannot be downloaded.
    """
    check_source(weights, architecture)
    if weights == "imagenet":
        return imagenet_state(architecture)
    if weights == "pretrained" and isinstance(input, ImageInput):
        with extra("train"):
            import timm
        published = timm.get_pretrained_cfg(architecture.removeprefix(TIMM))
        classes = 0 if published is None else int(published.num_classes)
        network, _ = timm_pretrained(architecture, classes, input)
        return dict(network.state_dict())
    raise ConfigError(
        "keep_answers",
        got=f"weights = {weights!r}",
        expected="a source model with a head: 'imagenet', 'pretrained' or a .safetensors file",
        fix="save the source model's weights and name the file, or take l2_sp, which looks at "
        "the body alone",
    )


def _hash(source: Path | Mapping[str, Tensor] | None) -> str | None:
    if source is None or isinstance(source, Path):
        return None if source is None else sha256_file(source)
    with extra("train"):
        from safetensors.torch import save
    return sha256_bytes(save({name: each.contiguous() for name, each in source.items()}))


def _old_head(network: nn.Module, start: Start, source: Path | Mapping[str, Tensor]) -> nn.Linear:
    """The source model's head, once that is surely what the network started from."""
    subject = f"source weights {source}" if isinstance(source, Path) else "the source weights"
    block = head_block(network, start.layer)
    if not start.answer.folds or start.answer.ending is not Ending.LOGITS:
        raise ConfigError(
            "keep_answers",
            got=f"the head '{start.layer}', which is no plain linear layer behind the body",
            expected="a body and then its head, as the source model has",
            fix="take l2_sp, which looks at weights alone",
        )
    tensors = read_tensors(source) if isinstance(source, Path) else source
    check_finite(tensors, subject)
    body = {
        name: value
        for name, value in network.state_dict().items()
        if not name.startswith(f"{block}.")
    }
    _check_body(tensors, body, block, subject)
    weight, bias = tensors[f"{block}.weight"], tensors.get(f"{block}.bias")
    head = nn.Linear(weight.shape[1], len(weight), bias=bias is not None)
    head.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    return head.to(start.device).requires_grad_(False)


def _check_body(
    tensors: Mapping[str, Tensor], body: Mapping[str, Tensor], block: str, subject: str
) -> None:
    """Refuse a file of another architecture, without a linear head, or of other weights."""
    head = {f"{block}.weight", f"{block}.bias"}
    missing = [name for name in (*body, f"{block}.weight") if name not in tensors]
    surplus = [name for name in tensors if name not in body and name not in head]
    if missing or surplus:
        parts = [f"without {listed(missing)}"] * bool(missing)
        parts += [f"with {listed(surplus)}"] * bool(surplus)
        raise CheckpointError(
            subject,
            got=" and ".join(parts),
            expected=f"the network's own body and a linear head '{block}'",
            fix="name the weights that the network started from",
        )
    for name, value in body.items():
        # A table of positions was resized to the input; of another shape nothing can be said.
        same = tensors[name].shape == value.shape
        if same and not torch.equal(value.cpu(), tensors[name].cpu()):
            raise CheckpointError(
                subject,
                got=f"another '{name}' than the network's",
                expected="the file that the network started from",
                fix="name the same file in weights and here",
            )
