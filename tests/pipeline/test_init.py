from __future__ import annotations

import csv
import gzip
import struct
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from edgetl.data.npz_arrays import read_npz
from edgetl.errors import ConfigError, DataError, ModelError, UsageError
from edgetl.pipeline import init_model
from edgetl.pipeline.config import ReleaseConfig, load_config
from edgetl.pipeline.init import config_name, make_config, name_of_source
from edgetl.pipeline.init_splits import SplitPlan, choose_splits
from edgetl.pipeline.init_survey import survey_source
from edgetl.pipeline.release import plan_release
from edgetl.spec import ImageInput, SeveralInputs, TensorInput

SEED = np.random.default_rng(0)
OWN = "def make(): ...\n"


def pictures(
    root: Path, *, size: int = 20, each: int = 12, level: str = "", channels: int = 3
) -> Path:
    for label in ("cat", "dog", "hen"):
        folder = root / level / label
        folder.mkdir(parents=True)
        for at in range(each):
            pixels = SEED.integers(0, 256, (size, size + at % 3, channels), np.uint8)
            Image.fromarray(pixels.squeeze()).save(folder / f"{at}.png")
    return root


def windows(path: Path, count: int = 90) -> Path:
    x = SEED.normal(size=(count, 6, 16)).astype(np.float32)
    np.savez(path, x=x, labels=np.arange(count) % 3)
    return path


def idx(root: Path) -> Path:
    root.mkdir()
    for part, count in (("train", 120), ("t10k", 60)):
        images = SEED.integers(0, 256, (count, 8, 8), np.uint8)
        labels = (np.arange(count) % 3).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(
                f">{array.ndim}I", *array.shape
            )
            (root / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    return root


def table(root: Path) -> Path:
    folder = pictures(root / "files")
    rows = [
        (str(path.relative_to(root)), path.parent.name) for path in sorted(folder.rglob("*.png"))
    ]
    path = root / "labels.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label"), *rows])
    return path


def made(tmp_path: Path, source: str, **options: str | None) -> ReleaseConfig:
    """The config that is made of a source, written and loaded again."""
    new = make_config(source, base=tmp_path, name="made", **options)
    path = tmp_path / "made.toml"
    path.write_text(new.text)
    config = load_config(path)
    assert plan_release(config, out=tmp_path / "run").problem is None
    return config


def network(text_of_input: str, *, classes: int = 3, last: str = "Softmax") -> bytes:
    text = f"""<ir_version: 10, opset_import: ["": 20]>
    g (float[{text_of_input}] x) => (float[N, {classes}] y) {{
        s = ReduceMax <keepdims = 0, noop_with_empty_axes = 0> (x)
        z = Constant <value = float[1, {classes}] {{{", ".join("1" for _ in range(classes))}}}> ()
        h = Mul (s, z)
        y = {last} (h)
    }}"""
    return onnx.parser.parse_model(text).SerializeToString()


def test_pictures_in_folders(tmp_path: Path) -> None:
    config = made(tmp_path, f"folder:{pictures(tmp_path / 'photos')}")
    assert config.data.source == f"folder:{tmp_path / 'photos'}"
    assert (config.data.val, config.data.calib, config.data.test) == (6, 6, 14)
    assert isinstance(config.input.spec(), ImageInput) and config.input.height == 32


@pytest.mark.parametrize(
    ("size", "channels", "weights"), [(20, 1, "letters"), (20, 3, "imagenet"), (60, 1, "imagenet")]
)
def test_features_of_letters_are_for_pictures_that_are_small_and_grey(
    tmp_path: Path, size: int, channels: int, weights: str
) -> None:
    folder = pictures(tmp_path / "photos", size=size, channels=channels)
    config = made(tmp_path, f"folder:{folder}")
    assert config.finetune is not None and config.finetune.weights == weights
    assert survey_source(f"folder:{folder}").parts[""].grey == (channels == 1)


@pytest.mark.parametrize(
    ("size", "seen", "weights"), [(60, 96, "imagenet"), (300, 224, "imagenet")]
)
def test_the_backbones_input_follows_the_pictures_size(
    tmp_path: Path, size: int, seen: int, weights: str
) -> None:
    config = made(tmp_path, f"folder:{pictures(tmp_path / 'photos', size=size, each=8)}")
    assert config.input.height == config.input.width == seen
    assert config.input.resize_shorter == (256 if seen == 224 else None)
    assert config.finetune is not None and config.finetune.weights == weights


def test_given_parts_are_kept(tmp_path: Path) -> None:
    for level, each in (("train", 12), ("val", 8), ("test", 6)):
        pictures(tmp_path / "photos", each=each, level=level)
    config = made(tmp_path, f"folder:{tmp_path / 'photos'}")
    assert config.data.test is None
    assert (config.data.val, config.data.calib) == (12, 12)
    # Switched on, the line gives what the source has.
    text = make_config(f"folder:{tmp_path / 'photos'}", base=tmp_path, name="a").text
    assert "\n# test = 18 " in text


def test_a_csv(tmp_path: Path) -> None:
    assert made(tmp_path, f"csv:{table(tmp_path)}").data.test == 14


def test_idx(tmp_path: Path) -> None:
    config = made(tmp_path, f"idx:{idx(tmp_path / 'idx')}")
    assert config.data.test is None and config.data.val == 12


def test_what_hugging_face_saved(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    files = sorted(pictures(tmp_path / "photos").rglob("*.png"))
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog", "hen"])
    )
    rows = {"image": [str(path) for path in files], "label": [path.parent.name for path in files]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "saved"))
    assert made(tmp_path, f"huggingface:{tmp_path / 'saved'}").data.test == 14


def test_tensors(tmp_path: Path) -> None:
    config = made(tmp_path, f"npz:{windows(tmp_path / 'windows.npz')}")
    assert config.input.spec() == TensorInput(shape=(6, 16))
    assert config.finetune is not None and config.finetune.architecture == "mlp"


def test_the_digits_that_come_with_edgetl(tmp_path: Path) -> None:
    new = make_config("builtin:digits", base=tmp_path, name="digits")
    assert "718 decide a drop of 0.02 or more" in new.text
    assert "1,040 test samples" in new.text
    assert new.check == ()
    assert list(tmp_path.iterdir()) == []


def test_several_inputs_need_a_network_of_ones_own(tmp_path: Path) -> None:
    both = tmp_path / "both.npz"
    arrays = read_npz(windows(tmp_path / "windows.npz"), follow_links=True)
    photo = SEED.integers(0, 256, (90, 20, 20, 3), np.uint8)
    np.savez(both, accel=arrays["x"], photo=photo, labels=arrays["labels"])
    with pytest.raises(ConfigError, match="accel, photo"):
        made(tmp_path, f"npz:{both}")
    (tmp_path / "own.py").write_text(OWN)
    spec = made(tmp_path, f"npz:{both}", model="python:own:make", weights="factory").input.spec()
    assert isinstance(spec, SeveralInputs) and list(spec.parts) == ["accel", "photo"]


def test_a_network_of_ones_own_is_trained_or_trained_already(tmp_path: Path) -> None:
    source = f"npz:{windows(tmp_path / 'windows.npz')}"
    (tmp_path / "own.py").write_text(OWN)
    training = made(tmp_path, source, model="python:own:make")
    assert training.finetune is not None and training.finetune.weights == "none"
    (tmp_path / "w.safetensors").touch()
    weights = str(tmp_path / "w.safetensors")
    trained = made(tmp_path, source, model="python:own:make", weights=weights)
    assert trained.model is not None and trained.model.weights == weights


def test_a_module_that_is_not_there_is_told_before_anything_is_written(tmp_path: Path) -> None:
    source = f"npz:{windows(tmp_path / 'windows.npz')}"
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="'nowhere'"):
        make_config(source, model="python:nowhere:make", base=tmp_path, name="a")
    assert sorted(tmp_path.iterdir()) == before


def test_published_preprocessing_is_read(tmp_path: Path) -> None:
    source = f"folder:{pictures(tmp_path / 'photos')}"
    config = made(tmp_path, source, model="torchvision:resnet18")
    assert config.finetune is not None and config.finetune.weights == "imagenet"
    spec = config.input.spec()
    assert isinstance(spec, ImageInput)
    assert (spec.height, spec.resize_shorter, spec.mean[0]) == (224, 256, 0.485)


def test_a_torchvision_name_needs_no_kind_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init_model, "read_preset", lambda kind, name: ImageInput(height=9, width=9))
    config = made(tmp_path, "builtin:digits", model="mobilenet_v2")
    assert config.finetune is not None and config.finetune.architecture == "mobilenet_v2"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("torchvision:mobilnet_v3_small", "'torchvision:mobilenet_v3_small'"),
        ("mobilnet_v3_small", "'mobilenet_v3_small'"),
        ("torchvision:zzz", "choose one"),
        ("torchvision:mlp", "choose one"),
        ("zzz", "torchvision:resnet18"),
    ],
)
def test_a_misspelt_network_is_answered_in_the_form_that_was_typed(
    tmp_path: Path, typed: str, meant: str
) -> None:
    with pytest.raises(UsageError) as caught:
        make_config("builtin:digits", model=typed, base=tmp_path, name="a")
    assert meant in caught.value.fix


def test_where_samples_are_plenty_the_test_split_decides_with_more_power(tmp_path: Path) -> None:
    def plan(count: int) -> SplitPlan:
        samples = np.arange(count, dtype=np.float32).reshape(count, 1)
        np.savez(tmp_path / f"{count}.npz", x=samples, labels=np.arange(count) % 2)
        return choose_splits(survey_source(f"npz:{tmp_path / f'{count}.npz'}").drawn)

    few, some, many = (plan(count) for count in (4000, 8000, 20_000))
    assert (few.test, some.test, many.test) == (1040, 1600, 2080)
    assert few.decides[-1].endswith("0.01 or more.")
    assert "1,600 decide the default limits with at least 90% power" in some.decides[-1]
    assert "2,080 decide the default limits with at least 9" in many.decides[-1]
    assert "twice" in many.why["test"] and "20%" in some.why["test"]


def test_a_timm_network_starts_from_its_own_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def read(kind: str, name: str) -> ImageInput:
        asked.append((kind, name))
        return ImageInput(height=224, width=224)

    monkeypatch.setattr(init_model, "read_preset", read)
    config = made(tmp_path, "builtin:digits", model="timm:resnet18.a1_in1k")
    assert asked == [("timm", "resnet18.a1_in1k")]
    assert config.finetune is not None and config.finetune.weights == "pretrained"
    assert config.finetune.architecture == "timm:resnet18.a1_in1k"


def test_every_part_of_a_preset_reaches_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = ImageInput(
        height=40,
        width=48,
        resize_to=(50, 60),
        interpolation="bicubic",
        antialias=False,
        channels="bgr",
        pixel_range="0-255",
        mean=(1.0, 2.0, 3.0),
        std=(4.0, 5.0, 6.0),
    )
    monkeypatch.setattr(init_model, "read_preset", lambda kind, name: preset)
    (tmp_path / "w.pt").touch()
    source = f"folder:{pictures(tmp_path / 'photos')}"
    config = made(tmp_path, source, model="timm:any", weights=str(tmp_path / "w.pt"))
    assert config.input.spec() == preset
    assert config.model is not None and config.model.architecture == "timm:any"


def test_published_networks_take_pictures_only(tmp_path: Path) -> None:
    source = f"npz:{windows(tmp_path / 'windows.npz')}"
    with pytest.raises(ConfigError, match="tensors of"):
        made(tmp_path, source, model="torchvision:resnet18")


@pytest.mark.parametrize(
    ("shape", "height", "channels"),
    [("N, 3, 40, 48", 40, "rgb"), ("1, 1, 40, 48", 40, "grey"), ("N, 40, 48, 3", 40, "rgb")],
)
def test_an_onnx_file_says_its_size(tmp_path: Path, shape: str, height: int, channels: str) -> None:
    (tmp_path / "m.onnx").write_bytes(network(shape))
    source = f"folder:{pictures(tmp_path / 'photos')}"
    model = str(tmp_path / "m.onnx")
    new = make_config(source, model=model, base=tmp_path, name="a")
    assert any("mean" in doubt for doubt in new.check)
    written = [line for line in new.text.splitlines() if line.startswith(("mean =", "std ="))]
    assert len(written) == 2 and all("# CHECK: your network's own" in line for line in written)
    spec = made(tmp_path, source, model=model).input.spec()
    assert isinstance(spec, ImageInput)
    assert (spec.height, spec.width, spec.channels) == (height, 48, channels)


def test_an_onnx_file_of_free_size_takes_the_datas(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(network("N, 3, H, W"))
    config = made(
        tmp_path, f"folder:{pictures(tmp_path / 'photos')}", model=str(tmp_path / "m.onnx")
    )
    assert config.input.height == 32
    assert config.model is not None and config.model.onnx == str(tmp_path / "m.onnx")


def test_an_ending_that_is_not_clear_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(network("N, 6, 16", last="Sigmoid"))
    source = f"npz:{windows(tmp_path / 'windows.npz')}"
    new = make_config(source, model=str(tmp_path / "m.onnx"), base=tmp_path, name="a")
    assert any("output" in doubt for doubt in new.check)
    assert '# output = "logits"' in new.text


@pytest.mark.parametrize(
    ("content", "said"),
    [(network("N, 6, 16", classes=7), "7 classes"), (b"no model", "m.onnx|ONNX")],
)
def test_an_onnx_file_that_is_not_for_the_data(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    source = f"npz:{windows(tmp_path / 'windows.npz')}"
    with pytest.raises((ConfigError, ModelError), match=said):
        made(tmp_path, source, model=str(tmp_path / "m.onnx"))


@pytest.mark.parametrize(
    ("model", "weights"),
    [(None, "w.pt"), ("resent", None), ("timm:", None), ("m.onnx", "w.pt"), ("zip:m", None)],
)
def test_models_that_are_none(tmp_path: Path, model: str | None, weights: str | None) -> None:
    with pytest.raises(UsageError):
        make_config("builtin:digits", model=model, weights=weights, base=tmp_path, name="a")


@pytest.mark.parametrize("source", ["folder:nowhere", "npz:nowhere.npz", "zip:a", "digits", ""])
def test_data_that_is_none(tmp_path: Path, source: str) -> None:
    with pytest.raises(DataError):
        make_config(source, base=tmp_path, name="a")


def test_too_few_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="every class"):
        made(tmp_path, f"npz:{windows(tmp_path / 'few.npz', count=9)}")


def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "photos")
    (folder / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    new = make_config(f"folder:{folder}", base=tmp_path, name="a")
    assert any("broken.png" in doubt for doubt in new.check)
    assert "# CHECK" in new.text


def test_a_command_to_copy_is_quoted(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "my photos")
    (folder / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    new = make_config(f"folder:{folder}", base=tmp_path, name="a")
    assert any(doubt.endswith(f"edgetl inspect 'folder:{folder}'") for doubt in new.check)
    for path in folder.rglob("*.png"):
        path.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError) as caught:
        make_config(f"folder:{folder}", base=tmp_path, name="a")
    assert f"edgetl inspect 'folder:{folder}'" in caught.value.fix


def test_names_that_would_end_a_comment_do_not(tmp_path: Path) -> None:
    folder = pictures(tmp_path / 'odd "name"')
    (folder / "cat").rename(folder / 'ca"t = [')
    text = make_config(f"folder:{folder}", base=tmp_path, name="a").text
    assert tomllib.loads(text)["data"]["source"] == f"folder:{folder}"


def test_names() -> None:
    assert config_name("...") == "classifier"
    assert config_name("x" * 100) == "x" * 64
    assert name_of_source("builtin:digits") == "digits"
    assert name_of_source("npz:/data/my windows.npz") == "my-windows"
