from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.errors import ConfigError, DataError, UsageError
from edgetl.pipeline import finetune_config
from edgetl.pipeline.config import load_config
from edgetl.pipeline.finetune_config import FinetunePlan, Wishes, plan_finetune, source_of


def plan(source: str, base: Path, **wishes: object) -> FinetunePlan:
    return plan_finetune(source, wishes=Wishes(**wishes), base=base, name="mine")  # type: ignore[arg-type]


@pytest.fixture
def no_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def pictures(folder: Path, side: int) -> str:
    noise = np.random.default_rng(0)
    for at in range(60):
        place = folder / ("cat" if at % 2 else "dog")
        place.mkdir(parents=True, exist_ok=True)
        pixels = noise.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((side, side), 0).save(place / f"{at}.png")
    return f"folder:{folder}"


@pytest.fixture
def photos(tmp_path: Path) -> str:
    return pictures(tmp_path / "photos", 60)


def test_small_grey_pictures_start_from_letters(tmp_path: Path) -> None:
    made = plan("builtin:digits", tmp_path)
    section = made.new.config.finetune
    assert section is not None
    assert (section.architecture, section.weights, section.recipe) == (
        "resnet18",
        "letters",
        "lp-ft",
    )
    assert made.facts.images == 721 and made.facts.typical == 73 and made.facts.strokes
    assert made.new.config.input.height == 32
    assert not list(tmp_path.iterdir())


def test_the_config_says_why_and_loads(tmp_path: Path) -> None:
    made = plan("builtin:digits", tmp_path, seed=3, epochs=2, settings={"l2_sp": {"weight": 0.1}})
    (tmp_path / "mine.toml").write_text(made.new.text)
    config = load_config(tmp_path / "mine.toml")
    assert config == made.new.config
    assert config.seed == 3 and config.finetune is not None and config.finetune.epochs == 2
    assert config.finetune.l2_sp is not None and config.finetune.l2_sp.weight == 0.1
    assert "arXiv:2202.10054" in made.new.text and "`edgetl finetune`" in made.new.text
    assert (
        max(map(len, made.new.text.split("[finetune]")[1].split("[compile]")[0].splitlines())) < 100
    )


def test_tensors_get_an_mlp(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
    np.savez(tmp_path / "windows.npz", x=samples, labels=np.arange(90) % 3)
    made = plan(f"npz:{tmp_path / 'windows.npz'}", tmp_path)
    section = made.new.config.finetune
    assert section is not None and section.architecture == "mlp" and section.augment == "none"
    assert section.weights == "none" and section.recipe == "full"
    assert made.new.config.input.shape == (4,)


def test_an_mlp_takes_pictures_as_they_are(tmp_path: Path, photos: str) -> None:
    made = plan("builtin:digits", tmp_path, architecture="mlp:10")
    assert made.new.config.input.shape == (8, 8) and made.facts.kind == "tensor"
    with pytest.raises(ConfigError, match="pictures in files"):
        plan(photos, tmp_path, architecture="mlp")
    with pytest.raises(UsageError, match="--size 32"):
        plan("builtin:digits", tmp_path, architecture="mlp", size=32)


def test_photographs_are_not_downloaded_for(
    tmp_path: Path, no_downloads: Path, photos: str
) -> None:
    made = plan(photos, tmp_path)
    assert made.choices["weights"].value == "none"
    assert "--weights imagenet" in made.choices["weights"].why
    asked = plan(photos, tmp_path, weights="imagenet")
    assert asked.choices["weights"].asked and asked.choices["recipe"].value == "lp-ft"


def test_a_download_that_is_there_is_taken(
    tmp_path: Path, no_downloads: Path, photos: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = "import sys; print('resnet18-f37072fd.pth')"
    monkeypatch.setattr(finetune_config, "_WEIGHTS_FILE", named)
    (no_downloads / "resnet18-00000000.pth").write_bytes(b"")
    assert plan(photos, tmp_path).choices["weights"].value == "none"
    (no_downloads / "resnet18-f37072fd.pth").write_bytes(b"")
    made = plan(photos, tmp_path)
    assert made.choices["weights"].value == "imagenet"
    assert made.choices["recipe"].value == "lp-ft"


def test_torchvision_names_the_file_that_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # What the process runs, in this one: torch is loaded here already.
    monkeypatch.setattr("sys.argv", ["-c", "resnet18"])
    exec(finetune_config._WEIGHTS_FILE)
    assert capsys.readouterr().out == "resnet18-f37072fd.pth\n"
    assert not finetune_config.is_cached("no-such-network")


def test_a_size_moves_what_depends_on_it(tmp_path: Path, no_downloads: Path) -> None:
    source = pictures(tmp_path / "large", 300)
    found = plan(source, tmp_path).new.config.input
    assert (found.height, found.resize_shorter) == (224, 256)
    found = plan(source, tmp_path, size=112).new.config.input
    assert (found.height, found.width, found.resize_shorter) == (112, 112, 128)


def test_classes_are_counted_in_the_train_split(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32)
    labels = np.repeat([0, 1, 2], [540, 30, 30])
    np.savez(tmp_path / "uneven.npz", x=samples, labels=labels)
    made = plan(f"npz:{tmp_path / 'uneven.npz'}", tmp_path)
    assert made.facts.commonest == pytest.approx(18 * made.facts.rarest, rel=0.1)
    assert made.facts.commonest + 2 * made.facts.rarest == pytest.approx(made.facts.images, abs=2)
    section = made.new.config.finetune
    assert section is not None and section.loss == "logit-adjusted"


def test_what_a_person_names(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "labels.csv").write_text("")
    (tmp_path / "arrays.NPZ").write_bytes(b"")
    assert source_of(f"{tmp_path}/photos") == f"folder:{tmp_path}/photos"
    assert source_of(f"{tmp_path}/labels.csv") == f"csv:{tmp_path}/labels.csv"
    assert source_of(f"{tmp_path}/arrays.NPZ") == f"npz:{tmp_path}/arrays.NPZ"
    assert source_of("idx:anything") == "idx:anything"
    with pytest.raises(DataError, match="did you mean 'folder:photos'"):
        source_of("foldr:photos")
    for name, words in (("missing", "nothing there"), ("model.onnx", "another kind")):
        (tmp_path / "model.onnx").write_bytes(b"")
        with pytest.raises(UsageError, match=words):
            source_of(f"{tmp_path}/{name}")


def test_a_key_is_decided_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--batch-size"):
        plan("builtin:digits", tmp_path, batch_size=8, settings={"batch_size": 16})


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"settings": {"epochs": 0}}, "epochs"),
        ({"recipe": "fll"}, "recipe"),
        ({"architecture": "resnet19"}, "resnet18"),
        ({"seed": -1}, "seed"),
        ({"weights": "missing.safetensors"}, "no file is"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    tmp_path: Path, wishes: dict[str, object], words: str
) -> None:
    with pytest.raises((ConfigError, UsageError)) as refused:
        plan("builtin:digits", tmp_path, **wishes)
    assert words in str(refused.value) and not list(tmp_path.iterdir())


def test_choices_are_plain_data(tmp_path: Path) -> None:
    made = plan("builtin:digits", tmp_path)
    json.dumps({key: [one.value, one.why] for key, one in made.choices.items()})
