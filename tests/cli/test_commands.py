from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from edgetl.cli.main import main
from edgetl.data.sources import open_dataset
from edgetl.gate import Predictions


@pytest.fixture
def digit(tmp_path: Path) -> Path:
    path = tmp_path / "digit.npy"
    np.save(path, open_dataset("builtin:digits").images[3].astype(np.float32) / 255)
    return path


def test_predict_prints_the_label_and_writes_json(
    tiny_release, digit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "result.json"
    bundle = str(tiny_release.result.bundle)
    assert main(["predict", bundle, str(digit), str(digit), "--json", str(result)]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith(f"{digit}: 3 ")
    document = json.loads(result.read_bytes())
    assert [one["label"] for one in document["predictions"]] == ["3", "3"]
    assert len(document["predictions"][0]["top"]) == 5


def test_predict_with_a_backend_that_is_not_there_is_refused(
    tiny_release, digit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(tiny_release.result.bundle)
    assert main(["predict", bundle, str(digit), "--backend", "tensorrt"]) in (2, 3)
    assert "tensorrt" in capsys.readouterr().err


def test_predict_refuses_an_array_with_nan(
    tiny_release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nan.npy"
    np.save(path, np.full((8, 8), np.nan, np.float32))
    assert main(["predict", str(tiny_release.result.bundle), str(path)]) == 2
    assert "NaN" in capsys.readouterr().err


def test_predict_refuses_a_pickled_array(
    tiny_release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "object.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert main(["predict", str(tiny_release.result.bundle), str(path)]) == 2
    assert "objects" in capsys.readouterr().err


def test_verify_names_the_damaged_file_and_exits_1(
    tiny_release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "damaged.edgetl"
    shutil.copytree(tiny_release.result.bundle, bundle)
    assert main(["verify", str(bundle)]) == 0
    model = next((bundle / "models").iterdir())
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    capsys.readouterr()
    assert main(["verify", str(bundle)]) == 1
    assert f"models/{model.name}" in capsys.readouterr().out
    assert main(["selftest", str(bundle)]) == 1
    assert main(["inspect", str(bundle)]) == 2


def test_selftest_compares_with_the_golden_answers(
    tiny_release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["selftest", str(tiny_release.result.bundle), "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert len(report["variants"]) == 2


def test_inspect_counts_layers_for_people_and_lists_them_for_machines(
    tiny_release, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(tiny_release.result.bundle)
    assert main(["inspect", bundle]) == 0
    shown = capsys.readouterr().out
    assert " × " in shown
    assert "sha256" not in shown and "None" not in shown and " files; --json" in shown
    assert all(line.split()[1:] for line in shown.splitlines() if "p50_ms" in line)
    figures = re.findall(r"\b(?:p50_ms|temperature|nll) +(\S+)", shown)
    assert figures and all(f"{float(one):.4g}" == one for one in figures)
    assert "settings\n  verdict" not in shown
    assert main(["inspect", bundle, "--json", "-"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["variants"][0]["execution"]["layers"][0]["precision"]


def test_a_stage_command_takes_what_is_there(
    tiny_release, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", str(tiny_release.config), "--out", str(tiny_release.folder)]
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "done" in shown.out
    assert shown.err.count("unchanged") == 4


def test_release_shows_a_table_that_fits_100_columns(
    tiny_release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "release.json"
    command = ["release", str(tiny_release.config), "--out", str(tiny_release.folder)]
    assert main([*command, "--json", str(result)]) == 0
    table = capsys.readouterr().out
    assert "verdict  PASS" in table
    assert max(map(len, table.split("verdict  PASS")[0].splitlines())) <= 100
    assert json.loads(result.read_bytes())["verdict"] == "PASS"
    assert main([*command, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_gate_writes_the_release_verdict(tiny_release, tmp_path: Path) -> None:
    names = {name: tmp_path / f"verdict.{name}" for name in ("json", "junit", "markdown")}
    options = [text for name, path in names.items() for text in (f"--{name}", str(path))]
    config, folder = str(tiny_release.config), str(tiny_release.folder)
    assert main(["gate", config, "--out", folder, "--quiet", *options]) == 0
    assert json.loads(names["json"].read_bytes())["schema"] == "edgetl.verdict/1"
    assert ElementTree.parse(names["junit"]).getroot().tag == "testsuites"
    assert names["markdown"].read_text().startswith("# PASS")


def test_a_candidate_damaged_on_purpose_fails(
    tiny_release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = tiny_release.folder / "gate" / "predictions" / "test-reference.npz"
    good = Predictions.load(reference)
    probabilities = good.probabilities.copy()
    probabilities[::5] = probabilities[::5, ::-1]
    damaged = tmp_path / "damaged.npz"
    Predictions(
        labels=good.labels, probabilities=probabilities, ids=good.ids, classes=good.classes
    ).save(damaged)
    files = ["gate", "--predictions", str(reference)]
    assert main([*files, str(damaged)]) == 1
    assert "FAIL" in capsys.readouterr().out
    assert main([*files, str(reference)]) == 0


def test_gate_takes_latency_from_a_stored_bench(
    tiny_release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_release.folder
    reference = str(folder / "gate" / "predictions" / "test-reference.npz")
    bench = ["--bench", str(folder / "bench" / "bench.json")]
    policy = tmp_path / "policy.toml"
    policy.write_text("max_p50_ratio = 0.000001\n")
    files = ["gate", "--predictions", reference, reference, "--policy", str(policy)]
    assert main(files) == 2
    assert main([*files, *bench]) == 2
    assert "--variant" in capsys.readouterr().err
    assert main([*files, *bench, "--variant", "ort-fp32"]) == 1
