"""Networks of timm and of the user's own: built as they are asked for, or refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edgetl.errors import ConfigError, EdgetlError, ModelError
from edgetl.reference.architectures import check_architecture
from edgetl.reference.network import build_network
from edgetl.spec import ClassifierInput, ImageInput, SeveralInputs, TensorInput

IMAGE = ImageInput(height=32, width=32)
GREY = ImageInput(height=32, width=32, channels="grey", mean=(0.5,), std=(0.5,))
TENSOR = TensorInput(shape=(4,))
PAIR = SeveralInputs(parts={"a": TENSOR, "b": TENSOR})

MODULE = """
import torch
from torch import nn

def with_classes(classes, width=8):
    return nn.Sequential(nn.Linear(4, width), nn.Linear(width, classes))

def with_num_classes(*, num_classes):
    return nn.Linear(4, num_classes)

def alone():
    return nn.Linear(4, 3)

def anything(*arguments, **options):
    assert not arguments and not options
    return nn.Linear(4, 3)

class Net(nn.Module):
    def __init__(self, num_classes=7):
        super().__init__()
        self.fc = nn.Linear(4, num_classes)

def needs_more(classes, width):
    return nn.Linear(width, classes)

def positional(classes, /):
    return nn.Linear(4, classes)

def half():
    return nn.Linear(4, 3).half()

def parallel():
    return nn.DataParallel(nn.Linear(4, 3))

def compiled():
    return torch.compile(nn.Linear(4, 3))

def broken():
    raise RuntimeError("no weights here\\nand more")

def leaves():
    raise SystemExit(0)

def nothing():
    return None

def state():
    return nn.Linear(4, 3).state_dict()

def scripted():
    return torch.jit.script(nn.Linear(4, 3))

def lazy():
    return nn.LazyLinear(3)

instance = nn.Linear(4, 3)
number = 3
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    # A name of its own for each test: an imported module stays.
    (tmp_path / "their_model.py").write_text(MODULE)
    return tmp_path


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "their_model", raising=False)


def _outputs(network: nn.Module) -> int:
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1].out_features


@pytest.mark.parametrize(
    ("factory", "outputs"),
    [
        ("with_classes", 5),
        ("with_num_classes", 5),
        ("alone", 3),
        ("anything", 3),
        ("Net", 5),
        ("half", 3),
        ("parallel", 3),
        ("compiled", 3),
    ],
)
def test_a_factory_is_called_with_the_classes_it_asks_for(
    code: Path, factory: str, outputs: int
) -> None:
    network = build_network(f"python:their_model:{factory}", 5, TENSOR, code=code)
    assert _outputs(network) == outputs and network.training
    assert not isinstance(network, nn.DataParallel)
    assert all(name.count("module") == 0 for name in network.state_dict())
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("factory", "error", "match"),
    [
        ("needs_more", ConfigError, r"the signature \(classes, width\)"),
        ("positional", ConfigError, r"the signature \(classes, /\)"),
        ("broken", ModelError, r"RuntimeError: no weights here \(their_model\.py, line \d+\)"),
        (
            "leaves",
            ModelError,
            r"python:their_model:leaves: got SystemExit: 0 \(their_model\.py, l",
        ),
        ("nothing", ModelError, "got NoneType"),
        ("state", ModelError, "got OrderedDict"),
        ("lazy", ModelError, "lazy layers"),
        ("instance", ConfigError, "got a Linear"),
        ("number", ConfigError, "got a int"),
        ("with_clases", ConfigError, "no 'with_clases'"),
    ],
)
def test_other_factories_are_refused(
    code: Path, factory: str, error: type[EdgetlError], match: str
) -> None:
    with pytest.raises(error, match=match) as caught:
        build_network(f"python:their_model:{factory}", 5, TENSOR, code=code)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_torchscript_is_refused(code: Path) -> None:
    with pytest.raises(ModelError, match="a TorchScript module"):
        build_network("python:their_model:scripted", 5, TENSOR, code=code)


def test_nothing_is_imported_without_a_folder(code: Path) -> None:
    with pytest.raises(ConfigError, match="no folder of code"):
        build_network("python:their_model:alone", 3, TENSOR)


@pytest.mark.parametrize(
    ("architecture", "input", "match"),
    [
        ("resnet19", IMAGE, "did you mean 'resnet18'"),
        ("squeezenet", IMAGE, "did you mean 'squeezenet1_1'"),
        ("timm:", IMAGE, "timm:NAME"),
        ("timm:hf-hub:someone/model", IMAGE, "timm:NAME"),
        ("timm:../resnet18", IMAGE, "timm:NAME"),
        ("python:model", IMAGE, "python:MODULE:FACTORY"),
        ("python:../model:make", IMAGE, "python:MODULE:FACTORY"),
        ("python:model:make()", IMAGE, "python:MODULE:FACTORY"),
        ("resnet18", GREY, "3 channels"),
        ("resnet18", PAIR, "the inputs a, b"),
        ("mlp", PAIR, "a tensor input"),
        ("timm:resnet18", TENSOR, "an image input"),
    ],
)
def test_names_and_inputs_are_checked_without_torch(
    architecture: str, input: ClassifierInput, match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        check_architecture(architecture, input)


def test_a_users_network_may_take_anything() -> None:
    for input in (IMAGE, GREY, TENSOR, PAIR):
        check_architecture("python:package.model:make", input)


def test_timm_is_built_for_the_inputs_channels_and_size() -> None:
    network = build_network("timm:resnet18", 3, GREY)
    assert network.conv1.in_channels == 1 and network.fc.out_features == 3
    wide = ImageInput(height=32, width=48, channels="grey", mean=(0.5,), std=(0.5,))
    vit = build_network("timm:vit_tiny_patch16_224", 3, wide).eval()
    with torch.no_grad():
        assert vit(torch.zeros(2, 1, 32, 48)).shape == (2, 3)


def test_what_timm_does_not_know_or_cannot_build_is_said() -> None:
    with pytest.raises(ConfigError, match=r"did you mean .*resnet18"):
        build_network("timm:resnet18x", 3, IMAGE)
    odd = ImageInput(height=33, width=33)
    with pytest.raises(ConfigError, match=r"patch_size.*3 x 33 x 33"):
        build_network("timm:xcit_nano_12_p8_224", 3, odd)
