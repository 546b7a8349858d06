"""edgetl as others get it: its wheel, in a bare environment, with each extra in turn."""

from __future__ import annotations

import json
import re
import tomllib
from email.parser import Parser
from pathlib import Path

import pytest

from edgetl.version import __version__

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

TINY = """
schema = "edgetl.config/1"
name = "tiny"
version = "1.0.0"
[data]
source = "builtin:digits"
train = 500
val = 300
calib = 200
test = 797
[input]
kind = "tensor"
shape = [8, 8]
[finetune]
architecture = "mlp"
weights = "none"
recipe = "full"
epochs = 12
learning_rate = 3e-3
[bench]
rounds = 4
max_seconds = 10.0
[gate.policy]
max_p50_ratio = 5.0
"""


def missing(finished, extra: str) -> None:
    """The message of a missing extra, with its own exit code and no traceback."""
    assert finished.returncode == 3, finished.stderr
    assert f"pip install 'edgetl[{extra}]'" in finished.stderr
    assert "Traceback" not in finished.stderr


def right(finished) -> str:
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_it_holds_the_package_and_its_data_and_nothing_else(contents) -> None:
    tops = {name.split("/")[0] for name in contents}
    assert tops == {"edgetl", f"edgetl-{__version__}.dist-info"}
    assert "edgetl/py.typed" in contents
    modules = {name for name in contents if name.endswith(".py")}
    tracked = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "edgetl").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    # A file that is not committed yet is not in the wheel; everything in it is in the tree.
    assert modules <= tracked
    data = {name for name in tracked if not name.endswith((".py", ".pyc"))}
    assert not (data & _tracked()) - set(contents), "package data is missing from the wheel"


def _tracked() -> set[str]:
    import subprocess

    listed = subprocess.run(
        ["git", "ls-files", "edgetl"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(listed.stdout.split())


def test_its_metadata_says_what_it_needs(contents) -> None:
    metadata = Parser().parsestr(contents[f"edgetl-{__version__}.dist-info/METADATA"].decode())
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("Provides-Extra")) == set(EXTRAS)
    core = [one for one in metadata.get_all("Requires-Dist") if "extra ==" not in one]
    assert {re.match(r"[A-Za-z]+", one)[0].lower() for one in core} == {"numpy", "pillow"}
    names = contents[f"edgetl-{__version__}.dist-info/entry_points.txt"].decode()
    assert "edgetl = edgetl.cli.main:main" in names


def test_every_extra_is_tried_here() -> None:
    tried = {"cpu", "openvino", "gate", "bench", "export", "train", "report", "huggingface"}
    # Their own rooms' tests show what is said without these.
    elsewhere = {"lora", "search", "ray"}
    assert set(EXTRAS) == tried | elsewhere | {"completion", "all", "dev"}


def test_without_an_extra(install, bundle, features, predictions, tmp_path) -> None:
    bare = install(None)
    assert right(bare.edgetl("--version")) == f"edgetl {__version__}\n"
    assert "exit codes:" in right(bare.edgetl("--help"))
    assert "features" in right(bare.edgetl("inspect", bundle))
    right(bare.edgetl("verify", bundle))
    missing(bare.edgetl("predict", bundle, features, "--backend", "onnxruntime"), "cpu")
    missing(bare.edgetl("predict", bundle, features, "--backend", "openvino"), "openvino")
    missing(bare.edgetl("gate", "--predictions", *predictions), "gate")
    missing(bare.edgetl("completion", "bash"), "completion")
    assert "pip install 'edgetl[cpu]'" in right(bare.edgetl("doctor"))
    config = tmp_path / "tiny.toml"
    config.write_text(TINY)
    missing(bare.edgetl("release", config), "gate")
    assert not (bare.folder / "runs").exists()


@pytest.mark.parametrize(("extra", "backend"), [("cpu", "onnxruntime"), ("openvino", "openvino")])
def test_with_a_backend_it_predicts_and_tests_itself(
    install, bundle, features, extra: str, backend: str
) -> None:
    environment = install(extra)
    answer = json.loads(right(environment.edgetl("predict", bundle, features, "--json", "-")))
    assert "high" in json.dumps(answer)
    # "auto" took the one that is here, and the other is not replaced by it.
    other, needs = {
        "cpu": ("openvino", "openvino"),
        "openvino": ("onnxruntime", "cpu"),
    }[extra]
    missing(environment.edgetl("predict", bundle, features, "--backend", other), needs)
    right(environment.edgetl("selftest", bundle, "--backend", backend))
    # A real inference on what is here; what is not is told with the line that brings it.
    report = environment.folder / "doctor.json"
    assert f"pip install 'edgetl[{needs}]'" in right(environment.edgetl("doctor", "--json", report))
    checks = json.loads(report.read_bytes())["checks"]
    works = {check["backend"] for check in checks if check["outcome"] == "works"}
    assert works == {backend}


def test_with_gate_it_judges_stored_predictions(install, predictions) -> None:
    gate = install("gate")
    reference, wrong = predictions
    assert "PASS" in right(gate.edgetl("gate", "--predictions", reference, reference))
    judged = gate.edgetl("gate", "--predictions", reference, wrong)
    assert judged.returncode == 1 and "FAIL" in judged.stdout


def test_with_bench_it_tells_the_machine(install) -> None:
    code = "from edgetl.bench.machine import activity, machine_facts; activity()"
    assert int(right(install("bench").python(f"{code}; print(machine_facts()['cores'])"))) >= 1


def test_with_export_it_makes_onnx(install) -> None:
    code = """
import torch
from edgetl.export.onnx_from_torch import onnx_from_torch
from edgetl.spec import Head, TensorInput
head = Head(layer="", classes=("a", "b"))
model = onnx_from_torch(torch.nn.Linear(4, 2), input=TensorInput(shape=(4,)), head=head)
print(len(model))
"""
    assert int(right(install("export").python(code))) > 100


def test_with_train_it_finetunes(install) -> None:
    code = """
import tempfile
from pathlib import Path
from edgetl.data.sources import open_dataset
from edgetl.data.store import SplitPart
from edgetl.spec import TensorInput
from edgetl.train.loop import FinetuneConfig, finetune
digits = open_dataset("builtin:digits")
part = SplitPart(ids=digits.ids[:200], labels=digits.labels[:200], images=digits.images[:200])
config = FinetuneConfig(architecture="mlp", weights="none", recipe="full", epochs=1, device="cpu")
with tempfile.TemporaryDirectory() as out:
    spec = TensorInput(shape=(8, 8))
    made = finetune(config, part, part, input=spec, classes=digits.classes, out=Path(out))
    print((made.folder / "model.safetensors").stat().st_size)
"""
    assert int(right(install("train").python(code))) > 1000


def test_with_report_it_writes_the_page(install, predictions, tmp_path) -> None:
    page = tmp_path / "page.html"
    right(install("report").edgetl("report", "--predictions", *predictions, "--page", page))
    assert page.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")


def test_with_huggingface_it_has_datasets(install) -> None:
    right(install("huggingface").python("import edgetl, datasets"))


def test_with_completion_it_writes_a_script(install) -> None:
    assert "edgetl" in right(install("completion").edgetl("completion", "bash"))


@pytest.mark.slow
def test_with_all_it_releases(install, tmp_path) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(TINY)
    environment = install("all")
    assert "PASS" in right(environment.edgetl("release", config))
    assert (environment.folder / "runs/tiny/bundle/tiny-1.0.0.edgetl/manifest.json").is_file()
