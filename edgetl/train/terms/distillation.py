"""Distillation: the answers of a teacher, softened, as a second target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgetl.errors import CheckpointError, ConfigError
from edgetl.files import canonical_json, sha256_bytes
from edgetl.reference.checkpoint import load_classifier
from edgetl.reference.description import (
    ONNX_ARCHITECTURE,
    ClassifierDescription,
    description_to_json,
    read_description,
)
from edgetl.reference.ending import find_answer, raw_logits
from edgetl.reference.onnx_checkpoint import load_onnx_classifier
from edgetl.reference.onnx_network import OnnxNetwork
from edgetl.reference.preprocess import Preprocess
from edgetl.reference.user_code import USER_CODE, source_hashes
from edgetl.spec import ClassifierInput, ImageInput, SeveralInputs, SingleInput
from edgetl.train.terms.base import Start, Step, Term
from edgetl.train.terms.checks import check_temperature, check_weight, listed


def softened_kl(raw_logits: Tensor, target_logits: Tensor, temperature: float) -> Tensor:
    """Mean over the batch of KL(softmax(target / T) || softmax(raw / T)), in nats.

    No factor T^2: a caller whose paper has one multiplies.

    Args:
        raw_logits: [n, K], any float dtype, with gradient.
        target_logits: [n, K].
        temperature: T, above 0.

    Returns:
        A scalar, float32; 0 where the two agree.

    Example:
        >>> x = torch.tensor([[2.0, 1.0, -1.0]])
        >>> round(float(softened_kl(x, x.flip(1), 1.0)), 4)
        2.0108
    """
    # Under bf16 autocast logits come with 8 bits of mantissa: the sums must not.
    own = torch.log_softmax(raw_logits.float() / temperature, dim=1)
    target = torch.log_softmax(target_logits.float() / temperature, dim=1)
    return torch.nn.functional.kl_div(own, target, reduction="batchmean", log_target=True)


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """weight x T^2 x KL(teacher || student), both softened by the temperature T.

    Hinton, Vinyals and Dean 2015, arXiv:1503.02531, section 2: the factor T^2 keeps the
    gradient's size when T changes. The loss on the labels stays beside it.

    Attributes:
        teacher: From a batch as the graph takes it, [n, ...], to raw logits [n, classes] in the
            order of the student's classes; `teacher_from` makes one of a checkpoint. An
            `nn.Module` is moved to the training's device and never trained.
        teacher_digest: What tells this teacher from others, such as the SHA-256 of its weights.
        weight: From 0.
        temperature: Above 0; the paper took 1 to 20.

    Raises:
        ConfigError: For a weight below 0, NaN or infinite, or such a temperature.

    Example:
        >>> Distillation(teacher=nn.Linear(4, 2), teacher_digest="0" * 64, weight=1.0).temperature
        2.0
    """

    teacher: Callable[[Tensor], Tensor]
    teacher_digest: str
    weight: float
    temperature: float = 2.0

    def __post_init__(self) -> None:
        check_weight("distillation.weight", self.weight)
        check_temperature("distillation.temperature", self.temperature)

    @property
    def digest(self) -> Mapping[str, Any]:
        """What decides the term."""
        return {
            "term": "distillation",
            "weight": self.weight,
            "temperature": self.temperature,
            "teacher": self.teacher_digest,
        }

    def build(self, start: Start) -> Term:
        """The term, with the teacher on the training's device."""
        if isinstance(self.teacher, nn.Module):
            self.teacher.to(start.device).eval().requires_grad_(False)
        return _DistillationTerm(self, len(start.classes))


class _DistillationTerm(Term):
    name = "distillation"
    in_head_phase = True

    def __init__(self, maker: Distillation, classes: int) -> None:
        super().__init__()
        self._maker, self._classes = (maker,), classes

    def forward(self, step: Step) -> Tensor:
        (maker,) = self._maker
        with torch.no_grad():
            target = maker.teacher(step.inputs).to(step.raw_logits.device)
        _check_answer(target, len(step.inputs), self._classes)
        kl = softened_kl(step.raw_logits, target, maker.temperature)
        return maker.weight * maker.temperature**2 * kl


def _check_answer(answer: Tensor, rows: int, classes: int) -> None:
    finite = bool(torch.isfinite(answer).all())
    if answer.shape == (rows, classes) and finite:
        return
    raise CheckpointError(
        "the teacher's answer",
        got=f"shape {tuple(answer.shape)}" if finite else "NaN or infinity",
        expected=f"finite raw logits [{rows}, {classes}]",
        fix="take a teacher of the same classes that answers every training image",
    )


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A trained classifier as `Distillation` takes it.

    Attributes:
        answer: From a batch as the graph takes it to raw logits in the student's order.
        digest: Of its weights, what they mean (its preprocessing and a ``python:`` network's code
            too), and the order of its classes.
        description: What it is.
    """

    answer: Callable[[Tensor], Tensor]
    digest: str
    description: ClassifierDescription


def teacher_from(
    folder: Path, *, input: ClassifierInput, classes: tuple[str, ...], code: Path | None = None
) -> Teacher:
    """A teacher of any architecture from a checkpoint folder.

    Its normalisation may differ from the student's, for it does its own; its input tensor may
    not. Its classes are the student's in any order.

    Args:
        folder: Holds classifier.json, and the weights of a PyTorch network or an ONNX file.
        input: The student's.
        classes: The student's, in the order of its outputs.
        code: The folder of the module of a ``python:`` architecture.

    Raises:
        CheckpointError: When the folder is no checkpoint, its weights do not fit or hold NaN, or
            its input or its classes are others; these are named.

    Example:
        >>> import tempfile
        >>> from edgetl.reference.checkpoint import save_classifier
        >>> from edgetl.reference.network import Mlp
        >>> from edgetl.spec import Head, TensorInput
        >>> spec, head = TensorInput(shape=(4,)), Head(layer="head", classes=("cat", "dog"))
        >>> description = ClassifierDescription(architecture="mlp", input=spec, head=head)
        >>> with tempfile.TemporaryDirectory() as out:
        ...     save_classifier(Path(out), Mlp(features=4, classes=2), description)
        ...     teacher = teacher_from(Path(out), input=spec, classes=("dog", "cat"))
        >>> teacher.answer(torch.zeros(3, 4)).shape
        torch.Size([3, 2])
    """
    description, record = read_description(folder)
    order = class_order(description.head.classes, classes, subject=f"teacher {folder}")
    single = _same_input(description, input, folder)
    made_of = description_to_json(description, record)
    if code is not None:
        made_of |= source_hashes(description.architecture, code)
    digest = sha256_bytes(canonical_json(made_of | {"order": list(order)}))
    if description.architecture == ONNX_ARCHITECTURE:
        model, _ = load_onnx_classifier(folder)
        onnx = OnnxNetwork(
            model, input=single, output=description.output, threads=torch.get_num_threads()
        )
        answer: Callable[[Tensor], Tensor] = _OnnxAnswer(onnx, single, order)
    else:
        network, _ = load_classifier(folder, code=code)
        answer = _NetworkAnswer(network, description, single, order)
    return Teacher(answer=answer, digest=digest, description=description)


def class_order(
    given: tuple[str, ...], wanted: tuple[str, ...], *, subject: str
) -> tuple[int, ...]:
    """Where each wanted class is among the given ones, which must be the same by name.

    Raises:
        CheckpointError: Naming the classes that only one side has.

    Example:
        >>> class_order(("cat", "dog"), ("dog", "cat"), subject="teacher")
        (1, 0)
    """
    if set(given) == set(wanted):
        return tuple(given.index(name) for name in wanted)
    missing = [name for name in wanted if name not in given]
    surplus = [name for name in given if name not in wanted]
    parts = [f"without {listed(missing)}"] * bool(missing)
    parts += [f"with {listed(surplus)}, unknown here"] * bool(surplus)
    raise CheckpointError(
        subject,
        got=f"{len(given)} classes, " + " and ".join(parts),
        expected=f"the same {len(wanted)} classes, in any order",
        fix="take a teacher of these classes, or name the data's classes as the teacher does",
    )


def _same_input(
    description: ClassifierDescription, input: ClassifierInput, folder: Path
) -> SingleInput:
    own = description.input
    if isinstance(own, SeveralInputs) or isinstance(input, SeveralInputs):
        raise ConfigError(
            f"teacher {folder}",
            got="several inputs",
            expected="one input: edgetl trains networks of one",
            fix="distil in your own code",
        )
    if own.tensor != input.tensor:
        raise CheckpointError(
            f"teacher {folder}",
            got=f"an input {own.tensor.dtype} {list(own.tensor.shape[1:])}",
            expected=f"the student's, {input.tensor.dtype} {list(input.tensor.shape[1:])}",
            fix="train the teacher at the student's input size, or set [input] to the teacher's",
        )
    return own


class _NetworkAnswer(nn.Module):
    def __init__(
        self,
        network: nn.Module,
        description: ClassifierDescription,
        input: SingleInput,
        order: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.answer = find_answer(network, input=input, head=description.head)
        self.layer, self.order = description.head.layer, list(order)
        # As training lays a network out: a user's own may call `view`, which takes no other.
        own = description.architecture.startswith(USER_CODE) or not isinstance(input, ImageInput)
        self.preprocess = Preprocess(input, contiguous=own)
        self.network = network if own else network.to(memory_format=torch.channels_last)
        self.eval().requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        raw = raw_logits(self.network, self.layer, self.answer, [self.preprocess(inputs)])
        return raw[:, self.order]


class _OnnxAnswer:
    """ONNX Runtime takes the input's own dtype: a mixed batch, float 0..255, is rounded for it."""

    def __init__(self, network: OnnxNetwork, input: SingleInput, order: tuple[int, ...]) -> None:
        self._network, self._input, self._order = network, input, list(order)

    def __call__(self, inputs: Tensor) -> Tensor:
        spec = self._input.tensor
        values = inputs.detach().cpu()
        if spec.dtype == "uint8":
            values = values.round().to(torch.uint8)
        raw = self._network.raw_logits({spec.name: values.contiguous().numpy()})
        return torch.from_numpy(raw)[:, self._order]
