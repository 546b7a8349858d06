"""`edgetl gate`: a release's winners on the test split, or any two stored predictions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.cli.arguments import check_file, check_one_source, check_outputs, write_result
from edgetl.cli.release_commands import plan_command, run_until
from edgetl.errors import UsageError
from edgetl.extras import extra
from edgetl.files import parse_json, write_atomic

if TYPE_CHECKING:
    from edgetl.bench.compare import Pair
    from edgetl.gate import Policy, ReleaseVerdict


def gate_command(options: argparse.Namespace) -> int:
    """Judge; 0 PASS, 1 FAIL, 4 INCONCLUSIVE."""
    check_one_source(options, "gate")
    if options.dry_run:
        check_outputs(options, "json", inputs=[options.config])
        return plan_command(options, "gate")
    inputs = [options.config, *(options.predictions or ()), options.policy, options.bench]
    check_outputs(options, "json", "junit", "markdown", inputs=inputs)
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
    result = run_until(options, "gate")
    gate = result.folder / "gate"
    write_result(options, parse_json((gate / "verdict.json").read_bytes(), "verdict.json"))
    for target, name in ((options.junit, "verdict.xml"), (options.markdown, "verdict.md")):
        _write(target, (gate / name).read_bytes())
    return result.exit_code


def _gate_predictions(options: argparse.Namespace) -> int:
    for path in (*options.predictions, options.policy, options.bench):
        if path is not None:
            check_file(path, "a file to read")
    with extra("gate"):
        from edgetl.gate.render import to_json, to_junit, to_markdown
    release = judge_files(options)
    write_result(options, to_json(release))
    _write(options.junit, to_junit(release))
    _write(options.markdown, to_markdown(release).encode())
    if not options.quiet and str(options.json) != "-":
        print(to_markdown(release), end="")
    return release.exit_code


def judge_files(options: argparse.Namespace) -> ReleaseVerdict:
    """Judge the stored predictions that the options name."""
    from edgetl.gate import (
        JudgedData,
        JudgedVariant,
        Policy,
        Predictions,
        ReleaseVerdict,
        judge,
        load_policy,
    )

    reference, candidate = (Predictions.load(path) for path in options.predictions)
    policy = Policy() if options.policy is None else load_policy(options.policy)
    name = options.variant or options.predictions[1].stem
    return ReleaseVerdict(
        policy=policy,
        data=JudgedData(
            name=str(options.predictions[0]),
            split="stored",
            n=reference.n,
            hash=reference.data_hash(),
            predictions={
                "reference": str(options.predictions[0]),
                name: str(options.predictions[1]),
            },
        ),
        variants=(
            JudgedVariant(
                id=name,
                backend="stored",
                precision="unknown",
                file=str(options.predictions[1]),
                verdict=judge(reference, candidate, policy, bench=_latency(options, policy)),
            ),
        ),
    )


def _latency(options: argparse.Namespace, policy: Policy) -> Pair | None:
    if options.bench is None:
        return None
    if options.variant is None:
        raise UsageError(
            "edgetl gate --bench",
            got="no --variant",
            expected="the candidate's id in the bench file",
            fix="add --variant ID",
        )
    from edgetl.bench.result import BenchResult

    objective = policy.objective
    return BenchResult.load(options.bench).pair(
        options.variant, batch=objective.batch, threads=objective.threads
    )


def _write(path: Path | None, data: bytes) -> None:
    if path is not None:
        write_atomic(path, data)
