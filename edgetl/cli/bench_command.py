"""`edgetl bench`: a release's latencies, alone or under load, stored, and compared."""

from __future__ import annotations

import argparse
import glob
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.cli.arguments import check_file, check_outputs, write_result
from edgetl.cli.release_commands import plan_command, run_until
from edgetl.errors import UsageError
from edgetl.extras import extra

if TYPE_CHECKING:
    from edgetl.bench.baseline import Comparison
    from edgetl.bench.result import BenchResult
    from edgetl.bench.under_load import LoadOptions

MARGIN = 0.05
_LOAD_SECONDS, _BUNDLE_SECONDS = 10.0, 120.0

# Which options belong to which way of calling it; the others are refused, not ignored.
_CONFIG = ("out", "dry_run", "scenario", "save")
_OWN = {
    "CONFIG": _CONFIG,
    "CONFIG --scenario": (*_CONFIG, "seconds"),
    "CONFIG --scenario server": (*_CONFIG, "seconds", "qps", "latency_ms"),
    "--null": ("null", "save", "scenario"),
    "--null --scenario": ("null", "save", "scenario", "seconds"),
    "--null --scenario server": ("null", "save", "scenario", "seconds", "qps", "latency_ms"),
    "--compare of stored results": ("compare", "margin"),
    "--compare of bundles": ("compare", "margin", "variant", "threads", "seconds"),
}
_ALL = tuple(dict.fromkeys(name for names in _OWN.values() for name in names))


def bench_command(options: argparse.Namespace) -> int:
    """Measure or compare; 0, or for --compare 0 PASS, 1 FAIL, 4 INCONCLUSIVE."""
    way = _way(options)
    _check_options(options, way)
    inputs = [options.config, *(options.compare or ())]
    check_outputs(options, "json", "save", inputs=inputs)
    _check_samples(options)
    if options.dry_run:
        return plan_command(options, "bench" if options.scenario is None else "compile")
    with extra("bench"):
        import psutil  # noqa: F401
        import rich  # noqa: F401
        import scipy  # noqa: F401
    if options.compare:
        return _compare(options, bundles=way == "--compare of bundles")
    result = _measure(options)
    if options.save is not None:
        result.beside(options.save.stem).save(options.save)
    write_result(options, result.to_json())
    if _shows(options):
        with extra("gate"):
            from edgetl.cli.bench_view import show_bench
        show_bench(result)
    return 0


def _way(options: argparse.Namespace) -> str:
    chosen = [options.config is not None, options.null, options.compare is not None]
    if sum(chosen) != 1:
        raise UsageError(
            "command line",
            got="none, or more than one, of CONFIG, --null and --compare",
            expected="one of the three",
            fix="edgetl bench CONFIG, edgetl bench --null, or edgetl bench --compare OLD NEW",
        )
    if options.compare:
        bundles = {_is_bundle(path) for path in options.compare}
        if len(bundles) == 2:
            raise UsageError(
                "edgetl bench --compare",
                got="a stored result and a bundle",
                expected="two results that --save stored, or two bundles",
                fix="name two of a kind",
            )
        return "--compare of bundles" if bundles == {True} else "--compare of stored results"
    way = "--null" if options.null else "CONFIG"
    if options.scenario is None:
        return way
    return f"{way} --scenario" + (" server" if options.scenario == "server" else "")


def _is_bundle(path: Path) -> bool:
    return path.is_dir() or path.suffix in (".edgetl", ".zip")


def _check_options(options: argparse.Namespace, way: str) -> None:
    for name in _ALL:
        if name not in _OWN[way] and getattr(options, name) not in (None, False):
            takes = [other for other, names in _OWN.items() if name in names]
            raise UsageError(
                f"edgetl bench --{name.replace('_', '-')}",
                got=f"given with {way}",
                expected="it with " + " or ".join(takes),
                fix="leave it out",
            )


def _check_samples(options: argparse.Namespace) -> None:
    """Samples lie beside the result that they are of, and may outlive it."""
    if options.save is None or options.force:
        return
    left = sorted(options.save.parent.glob(f"{glob.escape(options.save.stem)}.*.npz"))
    if left:
        raise UsageError(
            f"--save {options.save}",
            got=f"the samples of another result, {left[0]}",
            expected="a name that no samples begin with",
            fix="name another file, or add --force to overwrite them",
        )


def _shows(options: argparse.Namespace) -> bool:
    return not options.quiet and str(options.json) != "-"


def _measure(options: argparse.Namespace) -> BenchResult:
    if options.null:
        return _null(options)
    check_file(options.config, "a release config (TOML)")
    if options.scenario is not None:
        return _load(options)
    from edgetl.bench.result import BenchResult

    folder = run_until(options, "bench").folder
    return BenchResult.load(folder / "bench" / "bench.json")


def _null(options: argparse.Namespace) -> BenchResult:
    from edgetl.bench.null import load_null, measure_null

    return measure_null() if options.scenario is None else load_null(_wanted(options))


def _load(options: argparse.Namespace) -> BenchResult:
    with extra("gate"):
        from edgetl.cli.console import Console
        from edgetl.cli.release_commands import terminable
        from edgetl.pipeline.load import measure_load
    console = Console(quiet=not _shows(options))
    with terminable(), console.progress() as listen:
        return measure_load(options.config, _wanted(options), out=options.out, listen=listen)


def _wanted(options: argparse.Namespace) -> LoadOptions:
    from edgetl.bench.under_load import LoadOptions

    return LoadOptions(
        scenario=options.scenario,
        seconds=options.seconds or _LOAD_SECONDS,
        qps=options.qps,
        limit_ms=options.latency_ms,
    )


def _compare(options: argparse.Namespace, *, bundles: bool) -> int:
    old, new = options.compare
    margin = MARGIN if options.margin is None else options.margin
    comparison = _bundles(options, old, new, margin) if bundles else _stored(old, new, margin)
    write_result(options, comparison.to_json())
    if _shows(options):
        with extra("gate"):
            from edgetl.cli.bench_view import show_comparison
        show_comparison(comparison)
    return comparison.exit_code


def _stored(old: Path, new: Path, margin: float) -> Comparison:
    from edgetl.bench.baseline import compare_results
    from edgetl.bench.result import BenchResult

    for path in (old, new):
        check_file(path, "a result that `edgetl bench --save` stored")
    return compare_results(BenchResult.load(old), BenchResult.load(new), margin=margin)


def _bundles(options: argparse.Namespace, old: Path, new: Path, margin: float) -> Comparison:
    with extra("gate"):
        from edgetl.bench.bundles import compare_bundles
        from edgetl.cli.bench_view import rounds_shown
    with rounds_shown(quiet=not _shows(options)) as progress:
        shown: Callable[[int], None] = progress
        return compare_bundles(
            old,
            new,
            margin=margin,
            variant=options.variant,
            threads=options.threads,
            max_seconds=options.seconds or _BUNDLE_SECONDS,
            progress=shown,
        )
