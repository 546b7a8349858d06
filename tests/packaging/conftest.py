"""A wheel of the tracked files, bare environments to install it into, and files to try it on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgetl.bundle import BundleContent, GoldenSet, ManifestVariant, write_bundle
from edgetl.compile.openvino_from_onnx import openvino_from_onnx
from edgetl.gate import Predictions
from edgetl.spec import Precision, TensorInput, Variant

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
NET = """
<ir_version: 10, opset_import: ["": 20]>
net (float[n, 3] features) => (float[n, 3] probabilities) {
    probabilities = Softmax <axis = -1> (features)
}
"""

Finished = subprocess.CompletedProcess[str]


class Environment:
    """A virtual environment with the wheel and at most one extra."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def edgetl(self, *arguments: object) -> Finished:
        """Run the installed command, away from the working tree."""
        return self._run(self.folder / "bin" / "edgetl", *arguments)

    def python(self, code: str) -> Finished:
        """Run a program with what is installed."""
        return self._run(self.folder / "bin" / "python", "-c", code)

    def _run(self, program: Path, *arguments: object) -> Finished:
        clean = {
            name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ
        }
        # A width that no message is wrapped at; one thread, because tests share the cores.
        settings = {"COLUMNS": "200", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
        return subprocess.run(
            [str(program), *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=clean | settings,
            check=False,
        )


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """edgetl's wheel, built from a copy of the tracked files as they are in the working tree."""
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        # A file that is deleted but not committed is still listed.
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    _uv("build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable, source)
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="session")
def contents(wheel: Path) -> dict[str, bytes]:
    """The wheel's files by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="session")
def constraints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The versions of requirements.lock, as constraints: no hashes."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = re.findall(r"^(\S+==.*?) *\\?$", lock, re.MULTILINE)
    path = tmp_path_factory.mktemp("constraints") / "constraints.txt"
    path.write_text("\n".join(pins), encoding="utf-8")
    return path


@pytest.fixture
def install(
    wheel: Path, constraints: Path, tmp_path: Path
) -> Iterator[Callable[[str | None], Environment]]:
    """Makes an environment with the wheel and an extra; it is gone after the test."""
    folder = tmp_path / "environment"

    def make(extra: str | None) -> Environment:
        _uv("venv", "--quiet", "--python", sys.executable, folder)
        what = f"edgetl[{extra}] @ {wheel.as_uri()}" if extra else str(wheel)
        install = ("pip", "install", "--quiet", "--python", folder / "bin" / "python")
        _uv(*install, "--constraint", constraints, what)
        return Environment(folder)

    yield make
    shutil.rmtree(folder, ignore_errors=True)


def _uv(*arguments: object) -> None:
    """Run uv on what its cache holds already, and only then with the package index."""
    if UV is None:
        pytest.skip("uv is not here; `make env` installs it")
    command = [UV, *map(str, arguments)]
    done = subprocess.run([*command, "--offline"], capture_output=True, text=True, check=False)
    if done.returncode:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a softmax of three features, for both backends, with a golden set."""
    model = onnx.parser.parse_model(NET).SerializeToString()
    xml, weights = openvino_from_onnx(model)
    rows = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    answers = np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)
    ir = ("models/net.xml", "models/net.bin")
    variants = tuple(
        ManifestVariant(
            variant=Variant(id=name, backend=backend, precision=Precision.FP32, files=files),
            verdict="PASS",
        )
        for name, backend, files in (
            ("ort-fp32", "onnxruntime", ("models/net.onnx",)),
            ("ov-fp32", "openvino", ir),
        )
    )
    content = BundleContent(
        name="features",
        version="1.0",
        classes=("low", "middle", "high"),
        input=TensorInput(shape=(3,)),
        variants=variants,
        models={"models/net.onnx": model, ir[0]: xml, ir[1]: weights},
        golden=GoldenSet(
            kind="synthetic",
            inputs=rows,
            reference=answers,
            answers={one.variant.id: answers for one in variants},
        ),
    )
    return write_bundle(tmp_path_factory.mktemp("bundle"), content)


@pytest.fixture(scope="session")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An input whose third class is the most probable."""
    path = tmp_path_factory.mktemp("features") / "features.npy"
    np.save(path, np.array([0, 1, 5], np.float32))
    return path


@pytest.fixture(scope="session")
def predictions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A reference's stored predictions, and a candidate's that gives every fifth one wrong."""
    folder = tmp_path_factory.mktemp("predictions")
    labels = np.random.default_rng(0).integers(0, 3, 1000)
    right = np.full((1000, 3), 0.05) + 0.85 * np.eye(3)[labels]
    wrong = right.copy()
    wrong[::5] = np.roll(wrong[::5], 1, axis=1)
    paths = folder / "right.npz", folder / "wrong.npz"
    for path, probabilities in zip(paths, (right, wrong), strict=True):
        Predictions(labels=labels, probabilities=probabilities).save(path)
    return paths
