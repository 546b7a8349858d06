"""The recipes run on little and end with what they promise."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgetl import Classifier
from edgetl.bundle import open_bundle, verify_bundle
from edgetl.data.sources import Dataset, open_dataset

FOLDER = Path(__file__).parents[2] / "export" / "recipes"
EXIT_CODES = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 4}


def run(name: str, out: Path, *options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), "--quick", "--out", str(out)]
        + [str(option) for option in options],
        capture_output=True,
        text=True,
        cwd=out.parent,
        env=os.environ | {"EDGETL_CACHE": str(out.parent / "cache")},
        check=False,
    )


@pytest.mark.slow
def test_the_spelt_out_recipe_ends_with_a_bundle_that_reads_digits(tmp_path: Path) -> None:
    done = run("digits_mobilenet", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": PASS, ") == 2
    bundle = tmp_path / "out" / "digits_mobilenet-1.0.0.edgetl"
    assert verify_bundle(bundle) == []
    manifest = open_bundle(bundle).manifest
    backends = {entry.variant.backend for entry in manifest.variants}
    assert backends == {"onnxruntime", "openvino"}
    digits = open_dataset("builtin:digits")
    images = digits.images[:100]
    with Classifier.load(bundle, backend="onnxruntime", threads=1) as classifier:
        found = classifier.predict(list(images))
    right = np.mean([one.index == label for one, label in zip(found, digits.labels, strict=False)])
    assert right > 0.8


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """The digits as IDX files of 28 × 28 pixels, as Fashion-MNIST is given."""
    return idx_of(open_dataset("builtin:digits"), tmp_path / "idx")


def idx_of(digits: Dataset, folder: Path) -> Path:
    images = np.pad(digits.images.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))
    folder.mkdir()
    for part, rows in (("train", slice(0, 1000)), ("t10k", slice(1000, None))):
        for name, code, array in (
            ("images-idx3", 3, images[rows]),
            ("labels-idx1", 1, digits.labels[rows].astype(np.uint8)),
        ):
            head = bytes([0, 0, 8, code]) + np.array(array.shape, ">i4").tobytes()
            data = gzip.compress(head + array.tobytes())
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(data)
    return folder


@pytest.mark.slow
def test_the_recipe_of_one_call_ends_with_a_verdict(tmp_path: Path, idx_folder: Path) -> None:
    done = run("fashion_mnist_resnet18", tmp_path / "out", "--data", f"idx:{idx_folder}")
    verdict = json.loads((tmp_path / "out" / "gate" / "verdict.json").read_bytes())
    assert done.returncode == EXIT_CODES[verdict["verdict"]], done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"{verdict['verdict']}; ")
    assert ("no bundle" in last) == (verdict["verdict"] != "PASS")
    names = [line.split()[0] for line in done.stdout.splitlines()[1:4]]
    assert names[0] == "reference" and set(names[1:]) == {"ort-fp32", "ort-int8"}


def test_its_config_is_the_example_in_python() -> None:
    """What the recipe builds is what examples/fashion_mnist.toml says."""
    import importlib.util

    from edgetl.gate.toml_table import read_toml

    spec = importlib.util.spec_from_file_location("recipe", FOLDER / "fashion_mnist_resnet18.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    example = read_toml(FOLDER.parents[1] / "examples" / "fashion_mnist.toml")
    made = recipe.config(example["data"]["source"]).to_json()

    def inside(wanted, found) -> bool:
        if isinstance(wanted, dict):
            return all(inside(value, found[name]) for name, value in wanted.items())
        return list(wanted) == list(found) if isinstance(wanted, list) else wanted == found

    assert inside(example, made)
