"""What does each metric cost, in time beside log_loss of scikit-learn and in memory?

Every public metric of edgetl.metrics is called with a million images of ten classes, as float32
and as float64. log_loss gets the same arrays, and every round calls it and all metrics once, in
random order; printed is the ratio of times, round by round, with its 95 % interval. Memory is the
peak of what numpy allocates during a call, less the result, over the size of the probabilities
or logits that the call is given. The aims are 3 times log_loss and 2 times the input.

    python benchmarks/bench_metrics.py --out metrics.json
"""

from __future__ import annotations

import argparse
import textwrap
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from outcome import WIDTH, note, parser_of, show, times, write
from sklearn.metrics import log_loss

from edgetl import metrics
from edgetl.bench.compare import Ratio, ratio
from edgetl.bench.machine import activity
from edgetl.bench.measure import Block, WarmUp, in_process, interleave

BASE = "log_loss"
MOST_TIME = 3.0
MOST_MEMORY = 2.0
SCHEMES = ("width", "mass")
BINNED = ("ece", "mce", "debiased_l2", "classwise_ece", "brier_decomposition")
PLAIN = (
    *("correct", "top1", "recall_per_class", "macro_recall"),
    *("per_image_nll", "nll", "per_image_brier", "brier", "aurc", "smooth_ece"),
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a metric: what runs it, and the bytes of probabilities or logits it is given."""

    run: Callable[[], object]
    input_bytes: int


def main() -> None:
    """Measure both types, print the table, write the file."""
    options = _options()
    before = activity()
    rows = []
    for dtype in (np.float32, np.float64):
        note(f"{dtype.__name__}: {options.images:,} images of {options.classes} classes")
        arrays = make_arrays(options.images, options.classes, dtype)
        rows += _measure(options, arrays, dtype.__name__)
    _show(rows, options)
    write(
        options,
        schema="edgetl.metrics-bench/1",
        before=before,
        body={
            "images": options.images,
            "classes": options.classes,
            "rounds": options.rounds,
            "most_time_over_log_loss": MOST_TIME,
            "most_memory_over_input": MOST_MEMORY,
            "rows": rows,
        },
    )


def make_arrays(n: int, classes: int, dtype: type[np.floating[Any]]) -> dict[str, NDArray[Any]]:
    """Seeded logits and probabilities of a reference and of a candidate near it, and labels."""
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, n)
    logits = random.normal(0.0, 1.5, (n, classes))
    logits[np.arange(n), labels] += 2.0
    near = logits + random.normal(0.0, 0.2, logits.shape)
    return {
        "labels": labels,
        "z": logits.astype(dtype),
        "y": near.astype(dtype),
        "p": metrics.softmax(logits).astype(dtype),
        "q": metrics.softmax(near).astype(dtype),
    }


def calls_of(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Call]:
    """Every public metric, binned ones by both schemes, called with these arrays."""
    labelled = arrays["p"], arrays["labels"]
    paired = arrays["p"], arrays["q"]
    given: dict[str, tuple[Any, ...]] = {
        **dict.fromkeys(PLAIN, labelled),
        "topk, k = 5": (*labelled, 5),
        **{f"{name}, {scheme}": labelled for name in BINNED for scheme in SCHEMES},
        **{f"ece_if_calibrated, {scheme}": paired[:1] for scheme in SCHEMES},
        "entropy": paired[:1],
        "softmax": (arrays["z"],),
        **dict.fromkeys(("flips", "kl", "tv", "js"), paired),
        "topk_overlap, k = 1": (*paired, 1),
        "topk_overlap, k = 5": (*paired, 5),
        **dict.fromkeys(("negative_flips", "paired_counts"), (*paired, arrays["labels"])),
        **dict.fromkeys(("logit_sqnr_db", "logit_cosine"), (arrays["z"], arrays["y"])),
    }
    found = {}
    for said, values in given.items():
        name, _, setting = said.partition(", ")
        options = {"scheme": setting} if setting in SCHEMES else {}
        found[said] = Call(
            run=partial(getattr(metrics, name), *values, **options),
            input_bytes=sum(value.nbytes for value in values if np.ndim(value) == 2),
        )
    return found


def extra_memory(call: Call) -> float:
    """Peak of the memory that a call allocates beside its result, over the size of its input."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        result = call.run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (peak - before - getattr(result, "nbytes", 0)) / call.input_bytes


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--classes", type=int, default=10, metavar="K")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=240.0, help="at most, for a type (240)")
    options = parser.parse_args()
    if options.quick:
        options.images, options.rounds, options.seconds = 20_000, 4, 10.0
    return options


def _measure(
    options: argparse.Namespace, arrays: Mapping[str, NDArray[Any]], dtype: str
) -> list[dict[str, Any]]:
    calls = calls_of(arrays)
    classes = range(options.classes)
    sides: dict[str, Block] = {
        BASE: in_process(lambda _: log_loss(arrays["labels"], arrays["p"], labels=classes), {})
    }
    for name, call in calls.items():
        sides[name] = in_process(lambda _, run=call.run: run(), {})
    samples = interleave(
        sides,
        calls=1,
        settle=0,
        min_rounds=options.rounds,
        max_seconds=options.seconds,
        # One call is long enough for clocks to move; one is needed for the first touch.
        warm_up=WarmUp(floor_seconds=0.0, cap_seconds=0.001),
    )
    note(f"{dtype}: {samples.rounds} rounds")
    rows = []
    for name, call in calls.items():
        time_ratio = ratio(samples[name], samples[BASE])
        memory = extra_memory(call)
        rows.append(
            {
                "metric": name,
                "dtype": dtype,
                "time_over_log_loss": asdict(time_ratio),
                "memory_over_input": memory,
                "time_kept": time_ratio.upper <= MOST_TIME,
                "memory_kept": memory <= MOST_MEMORY,
                "rounds": samples.rounds,
            }
        )
    return rows


def _show(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    by_call: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_call.setdefault(row["metric"], {})[row["dtype"]] = row
    show(
        f"{options.images:,} images, {options.classes} classes: time over log_loss's "
        "[95 % interval], memory over the input's",
        ("metric", "float32, time", "memory", "float64, time", "memory"),
        (
            (
                name,
                *(
                    text
                    for dtype in ("float32", "float64")
                    for text in (
                        times(Ratio(**row[dtype]["time_over_log_loss"])),
                        f"{row[dtype]['memory_over_input']:.2f}",
                    )
                ),
            )
            for name, row in by_call.items()
        ),
    )
    for what, most in (("time", MOST_TIME), ("memory", MOST_MEMORY)):
        over = [f"{row['metric']} ({row['dtype']})" for row in rows if not row[f"{what}_kept"]]
        text = f"not shown to be within {most:g} times, {what}: {'; '.join(over) or 'none'}"
        print(textwrap.fill(text, WIDTH, subsequent_indent="  "))


if __name__ == "__main__":
    main()
