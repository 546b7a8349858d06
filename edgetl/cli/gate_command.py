"""`edgetl gate`: a release's winners on the test split, two bundles, or stored predictions."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.cli.arguments import check_file, check_one_source, check_outputs, write_result
from edgetl.cli.release_commands import plan_command, run_until
from edgetl.errors import UsageError
from edgetl.extras import extra
from edgetl.files import parse_json, write_atomic

if TYPE_CHECKING:
    from edgetl.bench.result import BenchResult
    from edgetl.cli.console import Console
    from edgetl.gate import Policy, Predictions, ReleaseVerdict
    from edgetl.pipeline.compare import Tell


def gate_command(options: argparse.Namespace) -> int:
    """Judge; 0 PASS, 1 FAIL, 4 INCONCLUSIVE."""
    _check_source(options)
    if options.dry_run:
        check_outputs(options, "json", inputs=[options.config])
        return plan_command(options, "gate")
    inputs = [
        options.config,
        *(options.predictions or ()),
        *(options.bundles or ()),
        options.policy,
        options.bench,
    ]
    results = ("json", "junit", "markdown")
    check_outputs(options, *results, inputs=inputs)
    for path in options.bundles or ():
        _check_bundle(path)
        check_outputs(options, *results, inputs=inputs, inside=path)
    if (judged := _judged_folder(options)) is not None:
        check_outputs(options, *results, inputs=inputs, inside=judged)
    if options.unlabelled is not None:
        from edgetl.cli.gate_unlabelled import gate_unlabelled

        return gate_unlabelled(options)
    if options.config is not None:
        return _gate_release(options)
    return _gate_predictions(options) if options.predictions else _gate_bundles(options)


def _judged_folder(options: argparse.Namespace) -> Path | None:
    """The folder whose inputs are judged: a result in it would be one more input next time."""
    if options.data is not None:
        kind, _, place = options.data.partition(":")
        return Path(place) if kind == "folder" else None
    from edgetl.cli.gate_parser import WITHOUT_FOLDER

    return None if options.unlabelled is WITHOUT_FOLDER else options.unlabelled


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a gate has to show: the document, for machines and for people, and the exit code."""

    document: Mapping[str, Any]
    junit: bytes
    markdown: str
    exit_code: int


def show(options: argparse.Namespace, judgement: Judgement, *, shown: bool = False) -> int:
    """Write the results that the options name, print what they ask for, and give the exit code.

    Args:
        options: The parsed options.
        judgement: What to show.
        shown: Whether a person has been shown the verdict already.
    """
    write_result(options, judgement.document)
    _write(options.junit, judgement.junit)
    _write(options.markdown, judgement.markdown.encode())
    if not shown and not options.quiet and str(options.json) != "-":
        print(judgement.markdown, end="")
    if options.annotations == "github":
        from edgetl.gate.annotations import github_annotations

        for line in github_annotations(judgement.document):
            print(line)
    return judgement.exit_code


def load_policy_of(options: argparse.Namespace) -> Policy:
    """The policy that ``--policy`` names, or the default one."""
    from edgetl.gate import Policy, load_policy

    if options.policy is None:
        return Policy()
    check_file(options.policy, "a policy (TOML)")
    return load_policy(options.policy)


def load_predictions(options: argparse.Namespace) -> tuple[Predictions, Predictions]:
    """The two that ``--predictions`` names."""
    from edgetl.gate import Predictions

    for path in options.predictions:
        check_file(path, "a file to read")
    reference, candidate = (Predictions.load(path) for path in options.predictions)
    return reference, candidate


def _check_source(options: argparse.Namespace) -> None:
    if options.bundles is None:
        check_one_source(options, "gate")
        if options.dry_run and options.unlabelled is not None:
            raise _misplaced("dry-run", "beside --unlabelled", "the stages of a release to plan")
        for name in ("data", "backend"):
            if getattr(options, name) is not None:
                raise _misplaced(name, "without --bundles", "--bundles OLD NEW beside it")
    elif options.config is not None or options.predictions is not None:
        raise UsageError(
            "command line",
            got="--bundles beside CONFIG or --predictions",
            expected="one of the three",
            fix="edgetl gate --bundles OLD NEW --data SOURCE",
        )
    elif (options.data is None) == (options.unlabelled is None):
        raise UsageError(
            "edgetl gate --bundles",
            got="neither or both of --data and --unlabelled",
            expected="one of the two",
            fix="--data folder:DIR for labelled inputs, --unlabelled DIR for others",
        )
    elif options.dry_run or options.bench is not None or options.out is not None:
        raise UsageError(
            "edgetl gate --bundles",
            got="--dry-run, --bench or --out beside it",
            expected="none of them: a policy that states a limit on latency has it measured",
            fix="leave it out",
        )
    if str(options.json) == "-" and options.annotations != "none":
        raise UsageError(
            "edgetl gate --json -",
            got="--annotations beside it",
            expected="one of the two on standard output",
            fix="--json FILE",
        )


def _gate_release(options: argparse.Namespace) -> int:
    for name in ("policy", "bench", "variant"):
        if getattr(options, name) is not None:
            raise _misplaced(
                name,
                "given beside CONFIG",
                "the config's own",
                "write [gate.policy] in the config, or judge with --predictions",
            )
    result = run_until(options, "gate")
    gate = result.folder / "gate"
    judgement = Judgement(
        document=parse_json((gate / "verdict.json").read_bytes(), "verdict.json"),
        junit=(gate / "verdict.xml").read_bytes(),
        markdown=(gate / "verdict.md").read_text(encoding="utf-8"),
        exit_code=result.exit_code,
    )
    return show(options, judgement, shown=True)


def _gate_predictions(options: argparse.Namespace) -> int:
    for path in (*options.predictions, options.policy, options.bench):
        if path is not None:
            check_file(path, "a file to read")
    with extra("gate"):
        import edgetl.gate  # noqa: F401
    return show(options, _judged(judge_files(options)))


def _gate_bundles(options: argparse.Namespace) -> int:
    with extra("gate"):
        from edgetl.pipeline.compare import compare_bundles
    old, new = options.bundles
    policy = load_policy_of(options)
    with progress(options) as tell:
        release = compare_bundles(
            old, new, options.data, policy, loading=loading_of(options), tell=tell
        )
    return show(options, _judged(release))


@contextmanager
def progress(options: argparse.Namespace) -> Iterator[Tell]:
    """Shows on standard error how far a comparison is, unless the options ask for quiet."""
    from edgetl.pipeline.events import Reporter

    with console_of(options).progress() as listen:
        yield Reporter("gate", listen).progress


def console_of(options: argparse.Namespace) -> Console:
    """What shows the progress of a command."""
    from edgetl.cli.console import Console

    return Console(quiet=options.quiet or str(options.json) == "-")


def loading_of(options: argparse.Namespace) -> Any:
    """Which variants of both bundles the options ask for."""
    from edgetl.pipeline.compare import Loading

    return Loading(backend=options.backend or "auto", variant=options.variant)


def _judged(release: ReleaseVerdict) -> Judgement:
    from edgetl.gate.render import to_json, to_junit, to_markdown

    return Judgement(
        document=to_json(release),
        junit=to_junit(release),
        markdown=to_markdown(release),
        exit_code=release.exit_code,
    )


def judge_files(options: argparse.Namespace) -> ReleaseVerdict:
    """Judge the stored predictions that the options name."""
    from edgetl.gate import JudgedData, JudgedVariant, ReleaseVerdict, judge

    reference, candidate = load_predictions(options)
    if reference.labels is None and candidate.labels is None:
        raise UsageError(
            f"{options.predictions[0]}, {options.predictions[1]}",
            got="no labels on either side",
            expected="labels: top-1, NLL and Brier cannot be judged without",
            fix="add an array 'labels', or certify without: edgetl gate --unlabelled "
            "--predictions REF.npz CAND.npz",
        )
    policy = load_policy_of(options)
    name = options.variant or options.predictions[1].stem
    bench = _bench(options)
    batch, threads = policy.objective.batch, policy.objective.threads
    pair = cell = None
    doubts: tuple[str, ...] = ()
    if bench is not None:
        doubts = bench.doubts
        pair = bench.pair(options.variant, batch=batch, threads=threads)
        cell = bench.cell(options.variant, batch=batch, threads=threads)
    verdict = judge(reference, candidate, policy, bench=pair, cell=cell, notes=doubts)
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
            samples={} if cell is None else {name: str(options.bench.parent / cell.samples)},
            bench="" if cell is None else str(options.bench),
        ),
        variants=(
            JudgedVariant(
                id=name,
                backend="stored",
                precision="unknown",
                file=str(options.predictions[1]),
                verdict=verdict,
            ),
        ),
    )


def _bench(options: argparse.Namespace) -> BenchResult | None:
    if options.bench is None:
        return None
    if options.variant is None:
        raise _misplaced(
            "bench", "no --variant", "the candidate's id in the bench file", "add --variant ID"
        )
    from edgetl.bench.result import BenchResult

    return BenchResult.load(options.bench)


def _check_bundle(path: Path) -> None:
    if not path.exists():
        raise UsageError(
            str(path),
            got="nothing there",
            expected="a bundle: a .edgetl folder or zip",
            fix="correct the path, or make one with `edgetl release CONFIG`",
        )


def _misplaced(name: str, got: str, expected: str, fix: str = "") -> UsageError:
    return UsageError(
        f"edgetl gate --{name}", got=got, expected=expected, fix=fix or f"leave --{name} out"
    )


def _write(path: Path | None, data: bytes) -> None:
    if path is not None:
        write_atomic(path, data)
