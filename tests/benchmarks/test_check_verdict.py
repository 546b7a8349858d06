"""The independent check agrees with the gate, and catches what was tampered with."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from edgetl.bench.cells import Cell
from edgetl.bench.compare import Pair
from edgetl.bench.npz import write_npz
from edgetl.bench.result import BenchResult
from edgetl.files import canonical_json
from edgetl.gate import JudgedData, JudgedVariant, Policy, Predictions, ReleaseVerdict, judge
from edgetl.gate.render import to_json
from edgetl.stats import tango

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "check_verdict.py"
N, K = 900, 10


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        yield importlib.import_module("check_verdict")


POLICY = Policy(
    max_worst_class_drop=0.06,
    max_slice_drop=0.05,
    slices=("camera", "class=class 3"),
    max_p90_ratio=0.75,
    max_p99_ms=5.0,
    max_size_mb=4.0,
    max_memory_mb=100.0,
)


def _cell(name: str, size_mb: float) -> Cell:
    return Cell(
        variant=name,
        batch=1,
        threads=2,
        p50_ms=2.0,
        p90_ms=2.1,
        p99_ms=2.2,
        throughput=500.0,
        peak_rss_mb=90.0,
        size_mb=size_mb,
        rounds=24,
        calls=40,
        settled=True,
        samples="samples-b1-t2.npz",
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A release of a good, a shuffled and a damaged variant, with all its evidence."""
    folder = tmp_path_factory.mktemp("run")
    random = np.random.default_rng(0)
    labels = random.integers(0, K, N)
    logits = random.normal(0, 1, (N, K)) + 4 * np.eye(K)[labels]
    ids = [f"{index:064x}" for index in range(N)]
    classes = [f"class {index}" for index in range(K)]
    camera = np.where(np.arange(N) % 3, "front", "rear")
    named = {"labels": labels, "ids": ids, "classes": classes}
    reference = Predictions(logits=logits, slices={"camera": camera}, **named)
    order, turn = random.permutation(N), random.permutation(K)
    near = softmax(logits + random.normal(0, 0.02, (N, K)), axis=1)
    candidates = {
        "a-good": Predictions(probabilities=near, **named),
        "b-shuffled": Predictions(
            labels=np.argsort(turn)[labels[order]],
            probabilities=near[order][:, turn],
            ids=[ids[row] for row in order],
            classes=[classes[index] for index in turn],
            slices={"camera": camera[order]},
        ),
        "c-damaged": Predictions(logits=logits + random.normal(0, 3, (N, K)), **named),
    }
    reference.save(folder / "reference.npz")
    base = 0.002 * np.exp(random.normal(0, 0.02, (24, 40)))
    sides = {
        "reference": base,
        "a-good": 0.5 * base[::-1],
        "b-shuffled": 0.7 * base * np.exp(random.normal(0, 0.3, (24, 1))),
        "c-damaged": 1.0 * base[:, ::-1],
    }
    write_npz(folder / "samples-b1-t2.npz", sides)
    cells = {"a-good": _cell("a-good", 4.0), "b-shuffled": _cell("b-shuffled", 3.0)}
    cells["c-damaged"] = _cell("c-damaged", 4.5)
    result = BenchResult(
        machine={}, cells=tuple(cells.values()), control=None, samples={"samples-b1-t2.npz": sides}
    )
    result.save(folder / "bench.json")
    variants = []
    for name, candidate in candidates.items():
        candidate.save(folder / f"{name}.npz")
        bench = Pair(
            name=name,
            against="reference",
            seconds=sides[name],
            against_seconds=base,
            batch=1,
            threads=2,
        )
        verdict = judge(reference, candidate, POLICY, bench=bench, cell=cells[name], alpha=0.025)
        variants.append(
            JudgedVariant(
                id=name, backend=name[0], precision="int8", file=f"{name}.onnx", verdict=verdict
            )
        )
    release = ReleaseVerdict(
        policy=POLICY,
        data=JudgedData(
            name="made",
            split="test",
            n=N,
            hash=reference.data_hash(),
            predictions={
                "reference": "reference.npz",
                **{name: f"{name}.npz" for name in candidates},
            },
            samples=dict.fromkeys(candidates, "samples-b1-t2.npz"),
            bench="bench.json",
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
    outcomes = [variant["verdict"] for variant in document["variants"]]
    assert outcomes == ["PASS", "INCONCLUSIVE", "FAIL"]
    assert script.main([str(made / "verdict.json")]) == 0
    assert "PASS: 45 gates recomputed" in capsys.readouterr().out
    judged = {gate["verdict"] for variant in document["variants"] for gate in variant["gates"]}
    assert judged == {"PASS", "FAIL", "INCONCLUSIVE"}


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
    "the temperature": lambda d: _gate(d, 0, "log_temperature_ratio").update(lower=-1e-5),
    "the confidence gap": lambda d: _gate(d, 2, "confidence_gap").update(estimate=0.0),
    "the worst class": lambda d: _gate(d, 1, "worst_class").update(lower=0.0),
    "a slice": lambda d: _gate(d, 0, "slice:camera=rear").update(upper=0.001),
    "a slice that is gone": lambda d: d["variants"][1]["gates"].remove(
        _gate(d, 1, "slice:camera=rear")
    ),
    "a slice said not to be judged": lambda d: _gate(d, 2, "slice:class=class 3").update(
        verdict="NOT JUDGED"
    ),
    "p90": lambda d: _gate(d, 1, "p90_ratio").update(upper=0.7),
    "p99": lambda d: _gate(d, 0, "p99_ms").update(upper=1.0),
    "the size": lambda d: _gate(d, 2, "size_mb").update(estimate=3.0, lower=3.0, upper=3.0),
    "the memory": lambda d: _gate(d, 0, "memory_mb").update(estimate=9.0),
    "a temperature said not to be judged": lambda d: _gate(d, 2, "log_temperature_ratio").update(
        verdict="NOT JUDGED"
    ),
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


def test_a_temperature_that_nobody_has_is_confirmed_unjudged(script, tmp_path, capsys):
    labels = np.arange(400) % 2
    answers = Predictions(labels=labels, probabilities=np.eye(2)[labels] * 0.8 + 0.1)
    answers.save(tmp_path / "a.npz")
    release = ReleaseVerdict(
        policy=Policy(),
        data=JudgedData(
            name="made",
            split="test",
            n=400,
            hash=answers.data_hash(),
            predictions={"reference": "a.npz", "a": "a.npz"},
        ),
        variants=(
            JudgedVariant(
                id="a",
                backend="a",
                precision="fp32",
                file="a",
                verdict=judge(answers, answers, Policy()),
            ),
        ),
    )
    (tmp_path / "verdict.json").write_bytes(canonical_json(to_json(release)))
    assert script.main([str(tmp_path / "verdict.json")]) == 0
    assert "PASS: 6 gates recomputed" in capsys.readouterr().out


def test_files_that_cannot_be_read_are_said(script, made, tmp_path, capsys):
    assert script.main([str(tmp_path / "verdict.json")]) == 2
    (tmp_path / "verdict.json").write_text("{}")
    assert script.main([str(tmp_path / "verdict.json")]) == 2
    (tmp_path / "verdict.json").write_bytes((made / "verdict.json").read_bytes())
    assert script.main([str(tmp_path / "verdict.json")]) == 2
    assert "cannot check" in capsys.readouterr().err


@pytest.mark.parametrize("alpha", [0.05, 0.025, 0.01])
def test_both_ways_to_tango_agree(script, alpha):
    independent_bounds = importlib.import_module("independent_bounds")
    counts = [
        (b, c, n) for n in (5, 40, 720) for b in (0, 1, 3, 5) for c in (0, 2, 5) if b + c <= n
    ]
    for b, c, n in [*counts, (7, 12, 10_000), (720, 0, 720), (0, 720, 720)]:
        assert independent_bounds.tango(b, c, n, alpha) == pytest.approx(
            tango(b, c, n, confidence=1 - 2 * alpha), abs=1e-9
        )


def test_the_script_shares_no_code_with_edgetl():
    for name in ("check_verdict.py", "independent_bounds.py"):
        text = (SCRIPT.parent / name).read_text()
        assert "import edgetl" not in text and "from edgetl" not in text
