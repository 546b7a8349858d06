from __future__ import annotations

import numpy as np

from edgetl.bench.baseline import Compared, Comparison
from edgetl.bench.compare import Ratio
from edgetl.bench.footprint import Footprint
from edgetl.bench.measure import Samples
from edgetl.bench.result import Run, result_of
from edgetl.cli.bench_view import show_bench, show_comparison


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith(("warning", "note"))]


def test_the_widest_table_fits_and_loses_nothing(capsys):
    random = np.random.default_rng(0)
    names = ("reference", "a-variant-of-a-long-name-indeed", "ov-int8")
    seconds = {name: 1.2345 * np.exp(random.normal(0, 0.01, (24, 20))) for name in names}
    seconds["ov-int8"] *= 12.34
    samples = Samples(
        seconds=seconds,
        settled=dict.fromkeys(seconds, True),
        asked_rounds=24,
        asked_calls=20,
        elapsed_seconds=1.0,
    )
    cost = Footprint(load_ms=12345.6, first_call_ms=1234.5, peak_rss_mb=2345.6, size_mb=123.4)
    show_bench(
        result_of(
            [Run(samples=samples, batch=64, threads=16)],
            machine={"warnings": ["the CPU governor is 'powersave'; to fix: set it"]},
            footprints={"ov-int8": cost},
        )
    )
    shown = capsys.readouterr().out
    assert max(map(len, _lines(shown))) <= 100
    assert "batch 64, 16 threads" in shown
    assert "12,345" in shown or "12,346" in shown
    assert "12.3" in shown  # how many times the reference
    assert "warning  the CPU governor" in shown
    assert "\x1b" not in shown


def test_a_comparison_says_its_verdict_and_every_note(capsys):
    compared = Compared(
        variant="ov-fp32 -> ov-int8",
        batch=1,
        threads=None,
        old_p50_ms=1.5,
        new_p50_ms=1.8,
        ratio=Ratio(estimate=1.2, lower=1.15, upper=1.25),
        outcome="FAIL",
    )
    show_comparison(
        Comparison(margin=0.05, method="interleaved", compared=(compared,), notes=("[bold]",))
    )
    shown = capsys.readouterr().out
    assert max(map(len, _lines(shown))) <= 100
    assert "1.200 [1.150, 1.250]" in shown
    assert "verdict  FAIL at a margin of 0.05 (interleaved" in shown
    assert "note     [bold]" in shown
