"""A teacher's softened answers as a second target, whatever the teacher's architecture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax
from torch import Tensor, nn

from edgetl.errors import CheckpointError, ConfigError
from edgetl.reference.checkpoint import save_classifier
from edgetl.reference.description import ClassifierDescription
from edgetl.reference.network import build_network
from edgetl.spec import Head, ImageInput, TensorInput
from edgetl.train.terms.distillation import Distillation, teacher_from
from tests.train.helpers.started import CLASSES, SPEC, start_of, step_of


def _save(folder: Path, classes: tuple[str, ...] = CLASSES, spec: TensorInput = SPEC) -> nn.Module:
    torch.manual_seed(7)
    network = build_network("mlp", len(classes), spec)
    description = ClassifierDescription(
        architecture="mlp", input=spec, head=Head(layer="head", classes=classes)
    )
    save_classifier(folder, network, description)
    return network.eval()


def test_it_is_hintons_formula_with_the_factor_t_squared(
    network: nn.Sequential, inputs: Tensor
) -> None:
    start = start_of(network)
    torch.manual_seed(2)
    teacher = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5)).train()
    term = Distillation(teacher=teacher, teacher_digest="t", weight=0.4, temperature=4.0).build(
        start
    )
    step = step_of(start, inputs)
    value = term(step)
    own = softmax(step.raw_logits.detach().double().numpy() / 4, axis=1)
    target = softmax(teacher[0](inputs).detach().double().numpy() / 4, axis=1)
    want = 0.4 * 16 * float(rel_entr(target, own).sum(axis=1).mean())
    assert float(value.detach()) == pytest.approx(want, rel=1e-4)
    value.backward()
    assert bool(network[0].weight.grad.any())  # type: ignore[operator, union-attr]
    assert all(p.grad is None for p in teacher.parameters())
    assert not list(term.parameters()) and not term.state_dict()


def test_at_a_high_temperature_it_matches_logits(network: nn.Sequential, inputs: Tensor) -> None:
    """Hinton's equation 4: the gradient tends to (z - v) / N for logits of mean zero a row."""
    start = start_of(network)
    target = torch.randn(4, 3, generator=torch.Generator().manual_seed(9))
    target -= target.mean(1, keepdim=True)
    term = Distillation(
        teacher=lambda x: target, teacher_digest="t", weight=1.0, temperature=1000.0
    ).build(start)
    step = step_of(start, inputs)
    (gradient,) = torch.autograd.grad(term(step), step.raw_logits)
    z = step.raw_logits.detach() - step.raw_logits.detach().mean(1, keepdim=True)
    # The mean over the batch of 4, and N = 3 classes. 1e-3: logits over T = 1000.
    assert torch.allclose(gradient * 4, (z - target) / 3, atol=1e-3)


def test_a_checkpoint_teaches_in_the_students_order_of_classes(
    tmp_path: Path, inputs: Tensor
) -> None:
    network = _save(tmp_path)
    teacher = teacher_from(tmp_path, input=SPEC, classes=("c", "a", "b"))
    with torch.no_grad():
        assert torch.allclose(teacher.answer(inputs), network(inputs)[:, [2, 0, 1]])
    same = teacher_from(tmp_path, input=SPEC, classes=CLASSES)
    assert same.digest != teacher.digest
    assert same.description.head.classes == CLASSES


def test_a_teacher_of_another_architecture_and_normalisation_teaches(tmp_path: Path) -> None:
    """From a torchvision network to another, each with its own preprocessing in the graph."""
    own = ImageInput(height=32, width=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    torch.manual_seed(0)
    network = build_network("squeezenet1_1", 2, own)
    description = ClassifierDescription(
        architecture="squeezenet1_1", input=own, head=Head(layer="classifier.1", classes=("a", "b"))
    )
    save_classifier(tmp_path, network, description)
    teacher = teacher_from(tmp_path, input=ImageInput(height=32, width=32), classes=("b", "a"))
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8))
    pixels = images.permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        want = network.eval()((pixels - 0.5) / 0.5).flip(1)
        assert torch.allclose(teacher.answer(images), want, atol=1e-5)
        # A mixed batch comes as float, 0 to 255.
        assert torch.allclose(teacher.answer(images.float()), want, atol=1e-5)


def test_what_the_weights_mean_is_part_of_a_teachers_digest(tmp_path: Path) -> None:
    """The same weights behind another normalisation, or other code, answer otherwise."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "teacher_of_digest.py").write_text(
        "from torch import nn\n\n\ndef make():\n    return nn.Sequential("
        "nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))\n"
    )
    digests = []
    for mean in (0.5, 0.4):
        own = ImageInput(height=8, width=8, mean=(mean,) * 3)
        description = ClassifierDescription(
            architecture="python:teacher_of_digest:make",
            input=own,
            head=Head(layer="2", classes=("a", "b")),
        )
        torch.manual_seed(0)
        network = build_network(description.architecture, 2, own, code=code)
        save_classifier(tmp_path / str(mean), network, description, code=code)
        made = teacher_from(tmp_path / str(mean), input=own, classes=("a", "b"), code=code)
        digests.append(made.digest)
    (code / "teacher_of_digest.py").write_text(
        (code / "teacher_of_digest.py").read_text() + "\n# changed\n"
    )
    changed = teacher_from(tmp_path / "0.4", input=own, classes=("a", "b"), code=code)
    assert len({*digests, changed.digest}) == 3


def test_a_student_learns_from_the_teacher_alone(tmp_path: Path) -> None:
    _save(tmp_path)
    teacher = teacher_from(tmp_path, input=SPEC, classes=CLASSES)
    inputs = torch.randn(64, 6, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    start = start_of(student, "2")
    term = Distillation(
        teacher=teacher.answer, teacher_digest=teacher.digest, weight=1.0, temperature=2.0
    ).build(start)
    with torch.no_grad():
        want = teacher.answer(inputs).argmax(1)
    before = float((student(inputs).argmax(1) == want).float().mean())
    optimizer = torch.optim.Adam(student.parameters(), lr=0.05)
    for _ in range(60):
        loss = term(step_of(start, inputs))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = float((student(inputs).argmax(1) == want).float().mean())
    assert after > 0.9 > before


def test_an_onnx_file_teaches(tmp_path: Path) -> None:
    from edgetl.reference.onnx_checkpoint import save_onnx_classifier

    torch.manual_seed(0)
    network = nn.Linear(6, 3).eval()
    program = torch.onnx.export(network, (torch.zeros(2, 6),), dynamo=True, verbose=False)
    assert program is not None
    program.save(tmp_path / "m.onnx")
    description = ClassifierDescription(
        architecture="onnx",
        input=SPEC,
        head=Head(layer="output", classes=CLASSES),
        output="logits",
    )
    save_onnx_classifier(tmp_path / "c", (tmp_path / "m.onnx").read_bytes(), description)
    teacher = teacher_from(tmp_path / "c", input=SPEC, classes=("b", "a", "c"))
    inputs = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(teacher.answer(inputs), network(inputs)[:, [1, 0, 2]], atol=1e-5)


def test_a_teacher_of_other_classes_or_another_input_is_refused(tmp_path: Path) -> None:
    _save(tmp_path)
    with pytest.raises(CheckpointError, match="without 'cow' and with 'c', unknown here"):
        teacher_from(tmp_path, input=SPEC, classes=("a", "b", "cow"))
    with pytest.raises(CheckpointError, match=r"float32 \[6\]; expected the student's.*\[7\]"):
        teacher_from(tmp_path, input=TensorInput(shape=(7,)), classes=CLASSES)
    with pytest.raises(CheckpointError, match="no such folder"):
        teacher_from(tmp_path / "none", input=SPEC, classes=CLASSES)


def test_a_teacher_that_answers_otherwise_is_refused(
    network: nn.Sequential, inputs: Tensor
) -> None:
    start = start_of(network)
    step = step_of(start, inputs)
    for answer, words in (
        (torch.zeros(4, 5), r"shape \(4, 5\)"),
        (torch.full((4, 3), math.nan), "NaN"),
    ):
        term = Distillation(
            teacher=lambda x, answer=answer: answer,
            teacher_digest="t",
            weight=1.0,  # type: ignore[misc]
        ).build(start)
        with pytest.raises(CheckpointError, match=words):
            term(step)


@pytest.mark.parametrize(
    "options", [{"weight": -1.0}, {"weight": math.nan}, {"weight": 1.0, "temperature": -2.0}]
)
def test_numbers_that_mean_nothing_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"distillation\."):
        Distillation(teacher=nn.Identity(), teacher_digest="t", **options)
