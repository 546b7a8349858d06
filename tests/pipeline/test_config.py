from __future__ import annotations

from pathlib import Path

import pytest

from edgetl.errors import ConfigError
from edgetl.gate.toml_table import build
from edgetl.pipeline.candidates import USUAL
from edgetl.pipeline.config import ReleaseConfig, load_config
from edgetl.spec import ImageInput, SeveralInputs, TensorInput

EXAMPLES = Path(__file__).parents[2] / "examples"

GOOD = """
schema = "edgetl.config/1"
name = "tiny"
version = "1.0.0"
[data]
source = "builtin:digits"
val = 100
calib = 100
test = 720
[input]
kind = "tensor"
shape = [8, 8]
[finetune]
architecture = "mlp"
weights = "none"
"""


def load(tmp_path: Path, text: str) -> ReleaseConfig:
    path = tmp_path / "release.toml"
    path.write_text(text)
    return load_config(path)


def test_paths_are_relative_to_the_config(tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes(b"")
    text = GOOD.replace('"none"', '"mine.safetensors"').replace("builtin:digits", "idx:pictures")
    config = load(tmp_path, text)
    assert config.finetune.weights == str(tmp_path / "mine.safetensors")
    assert config.data.source == f"idx:{tmp_path / 'pictures'}"


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD)
    assert config.input.spec() == TensorInput(shape=(8, 8))
    assert config.compile.variants == USUAL
    assert config.required_backends == ("onnxruntime", "openvino")
    assert config.gate.policy.max_accuracy_drop == 0.01


def test_shots_are_part_of_the_data_and_older_configs_read_as_before(tmp_path: Path) -> None:
    few = load(tmp_path, GOOD.replace("val = 100", "val = 100\nper_class = 5"))
    assert few.data.per_class == 5 and few.to_json()["data"]["per_class"] == 5
    # Without it the data stage's key is what it was: a finished run is not done again.
    assert "per_class" not in load(tmp_path, GOOD).to_json()["data"]


@pytest.mark.parametrize("name", ["digits.toml", "fashion_mnist.toml"])
def test_the_examples_load(name: str) -> None:
    assert isinstance(load_config(EXAMPLES / name).input.spec(), ImageInput)


def test_a_table_builds_the_same_config_and_keeps_which_limits_were_stated(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD + "[gate.policy]\nmax_flip_rate = 0.03\n")
    again = build(ReleaseConfig, config.to_table(), "config")
    assert again == config
    assert again.gate.policy.states("max_flip_rate")
    assert not again.gate.policy.states("max_nll_increase")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('name = "tiny"', 'name = "../up"', "name"),
        ('version = "1.0.0"', 'version = "1.0-beta"', "version"),
        ('version = "1.0.0"', "version = 1.0", "version"),
        ('schema = "edgetl.config/1"', 'schema = "edgetl.config/2"', "schema"),
        ('schema = "edgetl.config/1"\n', "", "schema"),
        ("val = 100", "val = 0", "val"),
        ("val = 100", "val = 100\nper_class = 0", "per_class"),
        ("val = 100", "val = 100\ntrain = 50\nper_class = 5", "one of the two"),
        ('architecture = "mlp"', 'architecture = "mlp:0"', "mlp:10"),
        ("val = 100", 'val = "100"', "val"),
        ("val = 100", "valid = 100\nval = 100", "'val'"),
        ("val = 100", "val = 100\nval = 100", "line 8"),
        ("shape = [8, 8]", "", "shape"),
        ("shape = [8, 8]", "shape = [8", "line"),
        ('kind = "tensor"', 'kind = "image"', "height"),
        ('weights = "none"', 'weights = "foo.pt"', "finetune.weights"),
        ('weights = "none"', 'weights = "gone.safetensors"', "no file is"),
        ('weights = "none"', 'weights = "none"\nlearning_rate = 0.1', "finetune.learning_rate"),
        ('weights = "none"', 'weights = "none"\naugment = "light"', "augment"),
        ('architecture = "mlp"', 'architecture = "mlpp"', "resnet18"),
        ('architecture = "mlp"', 'architecture = "resnet18"', "an image input"),
        ("val = 100", "val = 100\nseed = -1", "seed"),
        ('version = "1.0.0"', 'version = "1.0.0"\nthreads = 100000', "threads"),
        ('weights = "none"', "[export]\nopset = 99", "opset"),
        ('weights = "none"', "learning_rate = nan", "learning_rate"),
        ('weights = "none"', "learning_rate = -1.0", "learning_rate"),
        ('weights = "none"', 'recipe = "two_stage"', "recipe"),
        ('weights = "none"', 'weights = "none"\n[compile]\nvariants = ["ort-int4"]', "ort-int8"),
        ('weights = "none"', 'weights = "none"\n[compile]\nvariants = []', "variants"),
        (
            'weights = "none"',
            'weights = "none"\n[compile]\nvariants = ["ov-fp32", "ov-fp32"]',
            "once",
        ),
        ('weights = "none"', 'weights = "none"\n[gate]\nrequired = ["tensorrt"]', "tensorrt"),
        ('weights = "none"', 'weights = "none"\n[gate]\nrequired = []', "required"),
        ('weights = "none"', "[gate.policy]\nmax_flip_rate = inf", "max_flip_rate"),
        ('weights = "none"', "[gate.policy]\nmax_flips = 0.1", "max_flip"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD.replace(old, new))
    assert named in str(caught.value)


MODEL = (
    GOOD[: GOOD.index("[finetune]")]
    + """
[model]
architecture = "python:mine:make"
weights = "mine.safetensors"
"""
)


def own(tmp_path: Path, text: str = MODEL) -> ReleaseConfig:
    (tmp_path / "mine.py").write_text("def make(): ...")
    for name in ("mine.safetensors", "mine.pt", "mine.onnx"):
        (tmp_path / name).write_bytes(b"")
    return load(tmp_path, text)


def test_a_trained_model_is_named_with_paths_relative_to_the_config(tmp_path: Path) -> None:
    config = own(tmp_path)
    assert config.model is not None and config.finetune is None
    assert config.model.weights == str(tmp_path / "mine.safetensors")
    assert config.code == str(tmp_path)
    onnx = MODEL[: MODEL.index("architecture")] + 'onnx = "mine.onnx"\noutput = "logits"\n'
    assert own(tmp_path, onnx).model.onnx == str(tmp_path / "mine.onnx")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("[model]", '[finetune]\narchitecture = "mlp"\n[model]', "both"),
        (MODEL[MODEL.index("[model]") :], "", "neither"),
        ('architecture = "python:mine:make"', "", "neither architecture nor onnx"),
        ('weights = "mine.safetensors"', 'weights = "gone.pt"', "no file is"),
        ('weights = "mine.safetensors"', 'weights = "mine.pickle"', ".safetensors"),
        ('weights = "mine.safetensors"', "", "model.weights"),
        ('weights = "mine.safetensors"', 'onnx = "mine.onnx"', "both architecture and onnx"),
        ("python:mine:make", "python:yours:make", "mine"),
        ("python:mine:make", "python:mine", "python:MODULE:FACTORY"),
        ("python:mine:make", "python:mine:make it", "python:MODULE:FACTORY"),
        ("[model]", "[model]\noutput = 'logits'", "does not belong"),
        ("[model]", "[model]\ntransform = 'python:gone:prepare'", "model.transform"),
        ("[model]", "[modle]", "'model'"),
        ('kind = "tensor"\nshape = [8, 8]', "height = 8\nwidth = 8", "mean, std"),
        ("[model]", '[compile]\nopenvino_device = "../x"\n[model]', "OpenVINO"),
        ("[model]", "[model]\nhaed = 'fc'", "'head'"),
    ],
)
def test_what_is_wrong_with_a_trained_model_is_named(
    tmp_path: Path, old: str, new: str, named: str
) -> None:
    assert old in MODEL
    with pytest.raises(ConfigError) as caught:
        own(tmp_path, MODEL.replace(old, new, 1))
    assert named in str(caught.value)


def test_a_missing_onnx_file_is_told_in_a_whole_sentence(tmp_path: Path) -> None:
    onnx = MODEL[: MODEL.index("architecture")] + 'onnx = "gone.onnx"\noutput = "logits"\n'
    with pytest.raises(ConfigError) as caught:
        own(tmp_path, onnx)
    assert caught.value.expected == "a .onnx file"


def test_several_inputs_are_tables_by_name(tmp_path: Path) -> None:
    parts = """kind = "several"
[input.parts.photo]
height = 32
width = 24
channels = "bgr"
pixel_range = "0-255"
mean = [103.9, 116.8, 123.7]
std = [1, 1, 1]
[input.parts.reading]
kind = "tensor"
shape = [7]
"""
    config = own(tmp_path, MODEL.replace('kind = "tensor"\nshape = [8, 8]\n', parts))
    spec = config.input.spec()
    assert isinstance(spec, SeveralInputs) and list(spec.parts) == ["photo", "reading"]
    assert [tensor.shape for tensor in spec.tensors] == [(None, 32, 24, 3), (None, 7)]
    assert build(ReleaseConfig, config.to_table(), "config") == config


IMAGE = "height = 32\nwidth = 32"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("height = 32\nwidth = 32\nresize_shorter = 36\nletterbox = 0", "at most one way"),
        (f"{IMAGE}\nletterbox = 256", "letterbox"),
        (f"{IMAGE}\nchannels = 'grey'", "mean, std"),
        (f"{IMAGE}\nchannels = 'grey'\nmean = [0.5, 0.5]\nstd = [0.5]", "1 finite"),
        (f"{IMAGE}\npixel_range = '0-255'", "mean, std"),
        (f"{IMAGE}\nmean = [0, 0, 0]\nstd = [1, 0, 1]", "above 0"),
        (f"{IMAGE}\nmean = [nan, 0, 0]", "mean"),
        (f"{IMAGE}\ninterpolation = 'cubic'", "interpolation"),
        ("kind = 'several'", "parts"),
        ("kind = 'several'\n[input.parts.a]\nkind = 'tensor'\nshape = [2]", "at least two"),
        (
            "kind='several'\n[input.parts.a-b]\nkind='tensor'\nshape=[2]\n"
            "[input.parts.c]\nkind='tensor'\nshape=[2]",
            "a-b",
        ),
        (f"{IMAGE}\n[input.parts.a]\nkind = 'tensor'\nshape = [2]", "parts"),
    ],
)
def test_what_is_wrong_with_an_input_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        own(tmp_path, MODEL.replace('kind = "tensor"\nshape = [8, 8]', text))
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("right", "wrong", "nearest"),
    [
        ("[finetune]", "[finetun]", "finetune"),
        ("val = 100", "vall = 100", "val"),
        ('architecture = "mlp"', 'architecture = "mpl"', "mlp"),
        ('weights = "none"', 'recipe = "two-stag"\nweights = "none"', "two-stage"),
        ('weights = "none"', 'weights = "none"\n[compile]\nvariants = ["ov-in8"]', "ov-int8"),
        ('weights = "none"', 'weights = "none"\n[gate]\nrequired = ["openvno"]', "openvino"),
        ('weights = "none"', 'weights = "none"\n[gate.polcy]', "policy"),
        ('weights = "none"', 'weights = "none"\n[gate.policy.objective]\nbach = 1', "batch"),
        ('weights = "none"', 'weights = "none"\n[finetune.pretran]', "pretrain"),
    ],
)
def test_a_misspelt_name_is_told_the_nearest(
    tmp_path: Path, right: str, wrong: str, nearest: str
) -> None:
    assert right in GOOD
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD.replace(right, wrong))
    assert caught.value.fix == f"did you mean '{nearest}'?"


def test_misspelt_weights_are_told_the_nearest(tmp_path: Path) -> None:
    text = GOOD.replace('kind = "tensor"\nshape = [8, 8]', "height = 32\nwidth = 32")
    text = text.replace('"mlp"', '"resnet18"').replace('"none"', '"imagnet"')
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert caught.value.fix == "did you mean 'imagenet'?"
