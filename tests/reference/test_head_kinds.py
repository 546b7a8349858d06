"""What stands at a network's end, for every architecture that edgetl knows and for others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from edgetl.errors import CheckpointError, ConfigError, ModelError
from edgetl.reference.architectures import ARCHITECTURES, HEAD_KINDS, HeadKind
from edgetl.reference.checkpoint import load_classifier, save_classifier
from edgetl.reference.description import ClassifierDescription, read_description
from edgetl.reference.ending import find_answer
from edgetl.reference.head_kinds import SHORTEST, Normalise, block_name, give_head
from edgetl.reference.heads import head_layer, head_of
from edgetl.reference.network import build_network
from edgetl.spec import ClassifierInput, Head, ImageInput, TensorInput

IMAGE = ImageInput(height=32, width=32)
TENSOR = TensorInput(shape=(6,))
OTHERS: tuple[HeadKind, ...] = ("mlp", "cosine", "prototype")
FACTORIES = """
import torch
from torch import nn

def plain(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, classes))

def soft(classes):
    return nn.Sequential(plain(classes), nn.Softmax(1))

class Two(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.left, self.right = nn.Linear(6, classes), nn.Linear(6, classes)

    def forward(self, x):
        return (self.left(x) + self.right(x)) / 2

def scaled(classes):
    return nn.Sequential(nn.Linear(6, classes), nn.Hardtanh(-1e9, 1e9), Half())

class Half(nn.Module):
    def forward(self, x):
        return x / 2
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    (folder / "heads_of_mine.py").write_text(FACTORIES)
    return folder


def place_of(architecture: str) -> str:
    # regnet computes its widths while it is built.
    return "cpu" if architecture.startswith("regnet") else "meta"


@pytest.mark.parametrize("kind", ["mlp", "cosine"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_ends_in_a_plain_linear_layer_whatever_the_kind(
    architecture: str, kind: HeadKind
) -> None:
    spec: ClassifierInput = TENSOR if architecture == "mlp" else IMAGE
    with torch.device(place_of(architecture)):
        network = build_network(architecture, 7, spec, head_kind=kind, head_width=12).eval()
    layer = head_layer(network, architecture, kind)
    last, seen = network.get_submodule(layer), []
    last.register_forward_hook(lambda module, args, output: seen.append(output))
    head = network.get_submodule(block_name(layer, kind))
    head.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    shape = spec.shape if isinstance(spec, TensorInput) else (3, 32, 32)
    with torch.no_grad():
        answer = network(torch.zeros(2, *shape, device=place_of(architecture)))
    assert type(last) is nn.Linear and answer.shape == (2, 7)
    # Nothing comes after it, and the whole head takes a vector of features.
    assert answer is seen[0] and seen[1].shape[0] == 2 and seen[1].ndim == 2


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize(
    ("architecture", "spec"),
    [
        ("mlp:8", TENSOR),
        ("squeezenet1_1", IMAGE),
        ("timm:test_convnext", IMAGE),
        ("timm:test_resnet", IMAGE),
        ("python:heads_of_mine:plain", TENSOR),
        ("python:heads_of_mine:soft", TENSOR),
    ],
)
def test_any_kind_survives_the_disk(
    architecture: str, spec: ClassifierInput, kind: HeadKind, code: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    classes = ("a", "b", "c")
    network = build_network(architecture, 3, spec, code=code, head_kind=kind, head_width=9).eval()
    layer = head_of(network, architecture, input=spec, classes=classes, head_kind=kind)
    head = Head(layer=layer, classes=classes)
    assert find_answer(network, input=spec, head=head).folds
    description = ClassifierDescription(
        architecture=architecture, input=spec, head=head, head_kind=kind, head_width=9
    )
    save_classifier(tmp_path / "saved", network, description, code=code)
    again, described = load_classifier(tmp_path / "saved", code=code)
    assert described.head_kind == kind and described.head == head
    assert described.head_width == (9 if kind == "mlp" else 1024)
    shape = spec.shape if isinstance(spec, TensorInput) else (3, 32, 32)
    x = torch.randn(4, *shape)
    with torch.no_grad():
        want = network(x)
        assert torch.equal(again(x), want)
    assert want.std(0).max() > 1e-4


def test_a_cosine_head_is_the_scaled_cosine_to_each_row() -> None:
    torch.manual_seed(1)
    network = build_network("mlp:5", 3, TENSOR, head_kind="cosine").eval()
    x = torch.randn(7, 6)
    with torch.no_grad():
        features, rows = network.body(x), network.head.linear.weight
        want = 10 * torch.nn.functional.cosine_similarity(
            features[:, None], rows[None], dim=2, eps=1e-12
        )
        torch.testing.assert_close(network(x), want)
        torch.testing.assert_close(rows.norm(dim=1), torch.full((3,), 10.0))


def test_features_of_length_zero_have_no_cosine_and_no_nan() -> None:
    x = torch.zeros(2, 4, requires_grad=True)
    y = Normalise()(x)
    y.sum().backward()
    assert torch.equal(y, torch.zeros(2, 4)) and torch.isfinite(x.grad).all()
    # Also where a device computes in fp16.
    assert torch.equal(
        Normalise()(torch.zeros(2, 4, dtype=torch.float16)), torch.zeros(2, 4).half()
    )
    assert torch.tensor(SHORTEST, dtype=torch.float16) == SHORTEST


def test_a_linear_head_is_described_as_it_was_before_there_were_kinds(tmp_path: Path) -> None:
    network = build_network("mlp", 2, TENSOR)
    head = Head(layer="head", classes=("a", "b"))
    save_classifier(
        tmp_path, network, ClassifierDescription(architecture="mlp", input=TENSOR, head=head)
    )
    stored = json.loads((tmp_path / "classifier.json").read_text())
    assert set(stored["head"]) == {"layer", "classes", "temperature"}
    assert read_description(tmp_path)[0].head_kind == "linear"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "conv"}, "head kind 'conv'"),
        ({"kind": ["mlp"]}, "head kind"),
        ({"width": 0}, "head width 0"),
        ({"width": True}, "head width True"),
        ({"width": 10**12}, "head width"),
        ({"kind": "linear"}, r"head.linear|head\.hidden|no linear layer|missing"),
        ({"kind": "cosine"}, "extra|missing"),
        ({"layer": "head"}, "head"),
        ({"layer": "body.linear"}, "body"),
    ],
)
def test_a_description_of_another_head_is_refused(
    changes: dict[str, object], said: str, tmp_path: Path
) -> None:
    network = build_network("mlp:4", 2, TENSOR, head_kind="mlp", head_width=3)
    description = ClassifierDescription(
        architecture="mlp:4",
        input=TENSOR,
        head=Head(layer="head.linear", classes=("a", "b")),
        head_kind="mlp",
        head_width=3,
    )
    save_classifier(tmp_path, network, description)
    path = tmp_path / "classifier.json"
    stored = json.loads(path.read_text())
    stored["head"] |= changes
    path.write_text(json.dumps(stored))
    with pytest.raises(CheckpointError, match=said):
        load_classifier(tmp_path)


@pytest.mark.parametrize(
    ("kind", "width", "said"),
    [("rbf", 8, "one of linear, mlp, cosine, prototype"), ("mlp", 0, "head_width")],
)
def test_no_such_head_is_told(kind: HeadKind, width: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build_network("mlp", 2, TENSOR, head_kind=kind, head_width=width)


def test_a_network_of_two_heads_names_them(code: Path) -> None:
    with pytest.raises(ModelError, match=r"'left' \(3 outputs\), 'right' \(3 outputs\)"):
        build_network("python:heads_of_mine:Two", 3, TENSOR, code=code, head_kind="cosine")


def test_a_layer_whose_output_is_changed_afterwards_is_not_replaced(code: Path) -> None:
    with pytest.raises(ConfigError, match="made after its layer '0'"):
        build_network("python:heads_of_mine:scaled", 3, TENSOR, code=code, head_kind="mlp")
    with pytest.raises(ConfigError, match="names no layer"):
        build_network(
            "python:heads_of_mine:plain", 3, TENSOR, code=code, head_kind="mlp", head="output"
        )


def test_the_users_head_is_replaced_where_there_are_several(code: Path) -> None:
    network = build_network(
        "python:heads_of_mine:plain", 3, TENSOR, code=code, head_kind="mlp", head="3"
    )
    found = head_of(
        network,
        "python:heads_of_mine:plain",
        input=TENSOR,
        classes=("a", "b", "c"),
        head="3",
        head_kind="mlp",
    )
    assert found == "3.linear"


def test_another_layer_than_the_known_head_is_not_replaced() -> None:
    with pytest.raises(ConfigError, match="'head', the last linear layer of mlp"):
        build_network("mlp", 3, TENSOR, head_kind="mlp", head="body.1")
    assert type(build_network("mlp", 3, TENSOR, head_kind="mlp", head="head").head) is not nn.Linear


def test_a_network_that_is_its_head_has_none_to_replace() -> None:
    with pytest.raises(ConfigError, match="no linear layer ''"):
        give_head(nn.Linear(3, 2), "", "mlp", width=4)


def test_the_kinds_are_told_apart_by_their_layers() -> None:
    names = {
        kind: [type(part).__name__ for part in build_network("mlp", 2, TENSOR, head_kind=kind).head]
        for kind in HEAD_KINDS
        if kind != "linear"
    }
    assert names["mlp"] == ["Linear", "ReLU", "Linear"]
    assert names["cosine"] == names["prototype"] == ["Normalise", "Linear"]
