"""`edgetl gate`: a release's winners on the test split, or any two stored predictions."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgetl.cli.arguments import check_file, check_outputs, write_result
from edgetl.cli.release_commands import run_until
from edgetl.errors import UsageError
from edgetl.extras import extra
from edgetl.files import write_atomic


def gate_command(options: argparse.Namespace) -> int:
    """Judge; 0 PASS, 1 FAIL, 4 INCONCLUSIVE."""
    if (options.config is None) == (options.predictions is None):
        raise UsageError(
            "edgetl gate",
            got="neither or both of CONFIG and --predictions",
            expected="one of the two",
            fix="edgetl gate CONFIG, or edgetl gate --predictions REF.npz CAND.npz",
        )
    check_outputs(options, "json", "junit", "markdown")
    if options.config is not None:
        return _gate_release(options)
    return _gate_predictions(options)


def _gate_release(options: argparse.Namespace) -> int:
    for name in ("policy", "bench", "variant"):
        if getattr(options, name) is not None:
            raise UsageError(
                f"edgetl gate --{name}",
                got="given beside CONFIG",
                expected="the config's own",
                fix="write [gate.policy] in the config, or judge with --predictions",
            )
    code = run_until(options, "gate")
    return code


def _gate_predictions(options: argparse.Namespace) -> int:
    for path in (*options.predictions, options.policy, options.bench):
        if path is not None:
            check_file(path, "a file to read")
    with extra("gate"):
        from edgetl.bench.result import load_bench
        from edgetl.gate import Policy, Predictions, judge, load_policy
        from edgetl.gate.render import exit_code, to_json, to_junit, to_markdown
    reference, candidate = (Predictions.load(path) for path in options.predictions)
    policy = Policy() if options.policy is None else load_policy(options.policy)
    bench = None if options.bench is None else load_bench(options.bench)
    verdict = judge(reference, candidate, policy, bench=bench, variant=options.variant)
    write_result(options, to_json(verdict))
    _write(options.junit, to_junit(verdict))
    _write(options.markdown, to_markdown(verdict))
    if not options.quiet and str(options.json) != "-":
        print(to_markdown(verdict))
    return exit_code(verdict)


def _write(path: Path | None, text: str) -> None:
    if path is not None:
        write_atomic(path, text.encode())
