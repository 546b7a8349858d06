"""The independent check agrees with the gate, and catches what was tampered with."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from edgetl.bench.compare import Pair
from edgetl.bench.npz import write_npz
from edgetl.files import canonical_json
from edgetl.gate import JudgedData, JudgedVariant, Policy, Predictions, ReleaseVerdict, judge
from edgetl.gate.render import to_json
from edgetl.stats import tango

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "check_verdict.py"
N, K = 900, 10


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("check_verdict", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A release of a good, a shuffled and a damaged variant, with all its evidence."""
    folder = tmp_path_factory.mktemp("run")
    random = np.random.default_rng(0)
    labels = random.integers(0, K, N)
    logits = random.normal(0, 1, (N, K)) + 6 * np.eye(K)[labels]
    ids = [f"{index:064x}" for index in range(N)]
    classes = [f"class {index}" for index in range(K)]
    reference = Predictions(labels=labels, logits=logits, ids=ids, classes=classes)
    order, turn = random.permutation(N), random.permutation(K)
    near = softmax(logits + random.normal(0, 0.05, (N, K)), axis=1)
    candidates = {
        "a-good": Predictions(labels=labels, probabilities=near, ids=ids, classes=classes),
        "b-shuffled": Predictions(
            labels=np.argsort(turn)[labels[order]],
            probabilities=near[order][:, turn],
            ids=[ids[row] for row in order],
            classes=[classes[index] for index in turn],
        ),
        "c-damaged": Predictions(
            labels=labels, logits=logits + random.normal(0, 3, (N, K)), ids=ids, classes=classes
        ),
    }
    reference.save(folder / "reference.npz")
    base = 0.002 * np.exp(random.normal(0, 0.02, (24, 40)))
    sides = {"reference": base, "a-good": 0.5 * base[::-1], "c-damaged": 1.0 * base[:, ::-1]}
    write_npz(folder / "samples-b1-t2.npz", sides)
    variants = []
    for name, candidate in candidates.items():
        candidate.save(folder / f"{name}.npz")
        bench = None
        if name in sides:
            bench = Pair(
                name=name,
                against="reference",
                seconds=sides[name],
                against_seconds=base,
                batch=1,
                threads=2,
            )
        verdict = judge(reference, candidate, Policy(), bench=bench, alpha=0.025)
        variants.append(
            JudgedVariant(
                id=name, backend=name[0], precision="int8", file=f"{name}.onnx", verdict=verdict
            )
        )
    release = ReleaseVerdict(
        policy=Policy(),
        data=JudgedData(
            name="made",
            split="test",
            n=N,
            hash=reference.data_hash(),
            predictions={
                "reference": "reference.npz",
                **{name: f"{name}.npz" for name in candidates},
            },
            samples=dict.fromkeys(("a-good", "c-damaged"), "samples-b1-t2.npz"),
        ),
        variants=tuple(variants),
        required=("a",),
    )
    (folder / "verdict.json").write_bytes(canonical_json(to_json(release)))
    return folder


def _document(folder: Path):
    return json.loads((folder / "verdict.json").read_bytes())


def test_an_honest_verdict_is_confirmed(script, made, capsys):
    document = _document(made)
    assert [variant["verdict"] for variant in document["variants"]] == ["PASS", "PASS", "FAIL"]
    assert script.main([str(made / "verdict.json")]) == 0
    assert "PASS: 14 gates recomputed" in capsys.readouterr().out


def _gate(document, variant: int, name: str):
    return next(gate for gate in document["variants"][variant]["gates"] if gate["name"] == name)


TAMPERINGS = {
    "an upper bound": lambda d: _gate(d, 0, "nll").update(upper=_gate(d, 0, "nll")["upper"] - 1e-5),
    "a lower bound": lambda d: _gate(d, 0, "latency").update(lower=0.1),
    "an estimate": lambda d: _gate(d, 2, "top1_drop").update(estimate=0.0),
    "a bound that is NaN": lambda d: _gate(d, 0, "brier").update(upper=float("nan")),
    "a gate's outcome": lambda d: _gate(d, 2, "flips").update(verdict="PASS"),
    "a variant's outcome": lambda d: d["variants"][2].update(verdict="PASS"),
    "the release's outcome": lambda d: d.update(verdict="FAIL"),
    "a limit": lambda d: _gate(d, 0, "flips").update(limit=0.5),
    "alpha": lambda d: d["variants"][0].update(alpha=0.2),
    "a gate that is gone": lambda d: d["variants"][2]["gates"].pop(0),
    "a gate said not to be judged": lambda d: _gate(d, 0, "latency").update(verdict="NOT JUDGED"),
    "other predictions": lambda d: d["data"]["predictions"].update({"a-good": "c-damaged.npz"}),
    "the number of images": lambda d: _gate(d, 0, "flips").update(n=9000),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_a_tampered_verdict_is_caught(script, made, tmp_path, capsys, what):
    document = _document(made)
    TAMPERINGS[what](document)
    path = tmp_path / "verdict.json"
    path.write_text(json.dumps(document))
    assert script.main([str(path), str(made)]) == 1
    assert capsys.readouterr().out


def test_files_that_cannot_be_read_are_said(script, made, tmp_path, capsys):
    assert script.main([str(tmp_path / "verdict.json")]) == 2
    (tmp_path / "verdict.json").write_text("{}")
    assert script.main([str(tmp_path / "verdict.json")]) == 2
    (tmp_path / "verdict.json").write_bytes((made / "verdict.json").read_bytes())
    assert script.main([str(tmp_path / "verdict.json")]) == 2
    assert "cannot check" in capsys.readouterr().err


@pytest.mark.parametrize("alpha", [0.05, 0.025, 0.01])
def test_both_ways_to_tango_agree(script, alpha):
    counts = [
        (b, c, n) for n in (5, 40, 720) for b in (0, 1, 3, 5) for c in (0, 2, 5) if b + c <= n
    ]
    for b, c, n in [*counts, (7, 12, 10_000), (720, 0, 720), (0, 720, 720)]:
        assert script.tango(b, c, n, alpha) == pytest.approx(
            tango(b, c, n, confidence=1 - 2 * alpha), abs=1e-9
        )


def test_the_script_shares_no_code_with_edgetl():
    assert "import edgetl" not in SCRIPT.read_text()
    assert "from edgetl" not in SCRIPT.read_text()
