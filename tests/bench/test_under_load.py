from __future__ import annotations

from pathlib import Path

import numpy as np

from edgetl.backends.fake import FakeBackend
from edgetl.bench.result import BenchResult
from edgetl.bench.under_load import LoadOptions, measure_under_load
from edgetl.spec import TensorSpec

IMAGE = TensorSpec(name="image", dtype="uint8", shape=(None, 2, 2, 3))
ANSWER = TensorSpec(name="probabilities", dtype="float32", shape=(None, 2))


def _side(name: str, batch: int = 1):
    backend = FakeBackend(
        lambda inputs: {"probabilities": np.full((len(inputs["image"]), 2), 0.5, np.float32)},
        input_spec={"image": IMAGE},
        output_spec={"probabilities": ANSWER},
    )
    return name, backend, {"image": np.zeros((batch, 2, 2, 3), np.uint8)}


def test_sides_are_loaded_one_by_one_and_stored(tmp_path: Path):
    asked = []

    def sides():
        for name in ("a", "b"):
            asked.append(name)
            yield _side(name)

    options = LoadOptions(scenario="server", seconds=0.1, qps=300.0, batch=8)
    found = measure_under_load(sides(), options, threads=2)
    assert asked == ["a", "b"]
    assert [(c.variant, c.batch, c.threads) for c in found.cells] == [("a", 1, 2), ("b", 1, 2)]
    # Thirty queries are too few for LoadGen, which is said of each with what to change.
    warnings = [text for text in found.machine["warnings"] if "LoadGen" in text]
    assert {text.partition(":")[0] for text in warnings} == {"a", "b"}
    assert all("; to fix: " in text for text in found.machine["warnings"])
    found.save(tmp_path / "load.json")
    assert BenchResult.load(tmp_path / "load.json").to_json() == found.to_json()


def test_a_load_is_made_for_the_call():
    options = LoadOptions(scenario="server", seconds=2.0, limit_ms=20.0, seed=5)
    load = options.load(0.01)
    assert (load.target_qps, load.limit_ms, load.seed, load.batch) == (50.0, 20.0, 5, 1)
    assert LoadOptions(scenario="offline", batch=8).load(0.01).batch == 8
