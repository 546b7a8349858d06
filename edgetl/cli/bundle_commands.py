"""The commands that a device needs: predict, verify, selftest, inspect. No torch, no rich."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgetl.cli.arguments import check_file, check_outputs, write_result
from edgetl.cli.messages import print_error, print_problem
from edgetl.errors import BundleError, UsageError

if TYPE_CHECKING:
    from edgetl.runtime.prediction import Prediction
    from edgetl.runtime.selftest import SelftestReport


def predict_command(options: argparse.Namespace) -> int:
    """Classify each input and print its likeliest classes."""
    from edgetl.runtime.classifier import Classifier

    _check_bundle(options, inputs=options.inputs)
    _check_alone(options, "keep", needs="threshold_of_reference")
    _check_alone(options, "method", needs="coverage")
    for path in options.inputs:
        check_file(
            path, "an image, a .npy file for a tensor classifier, or a .npz file for several inputs"
        )
    inputs = [_read_input(path) for path in options.inputs]
    with Classifier.load(
        options.bundle,
        backend=options.backend,
        variant=options.variant,
        threads=options.threads,
        device=options.device,
    ) as classifier:
        predictions = classifier.predict(
            inputs,
            top_k=options.top_k,
            threshold_of_reference=options.threshold_of_reference,
            keep=options.keep or "acceptance",
        )
        variant = classifier.variant.id
    sets = [_label_set(options, one) for one in predictions]
    write_result(
        options,
        {
            "schema": "edgetl.predict/1",
            "variant": variant,
            "predictions": [
                {
                    "input": str(path),
                    "label": one.label,
                    "index": one.index,
                    "confidence": one.confidence,
                    "entropy": one.entropy,
                    "top": [[label, p] for label, p in one.top],
                    "threshold": one.threshold,
                    "accepted": one.accepted,
                    "set": labels,
                }
                for path, one, labels in zip(options.inputs, predictions, sets, strict=True)
            ],
        },
    )
    if _prints_results(options):
        for path, one, labels in zip(options.inputs, predictions, sets, strict=True):
            others = "  ".join(f"{label} {p:.4f}" for label, p in one.top)
            print(f"{path}: {one.label}  ({others}; entropy {one.entropy:.3f} nats; {variant})")
            if one.threshold is not None:
                word, sign = ("accepted", "≥") if one.accepted else ("not accepted", "<")
                print(f"  {word}: {one.confidence:.4f} {sign} {one.threshold:.4f}")
            if labels is not None:
                shown = ", ".join(labels) or "no label is probable enough"
                print(f"  set at coverage {options.coverage:g} ({_method(options)}): {shown}")
    return 0


def _label_set(options: argparse.Namespace, one: Prediction) -> tuple[str, ...] | None:
    return None if options.coverage is None else one.set(options.coverage, _method(options))


def _method(options: argparse.Namespace) -> Literal["lac", "aps"]:
    return options.method or "lac"


def _check_alone(options: argparse.Namespace, name: str, *, needs: str) -> None:
    """Refuse an option that says how, without the one that says what."""
    if getattr(options, name) is not None and getattr(options, needs) is None:
        other = needs.replace("_", "-")
        raise UsageError(
            f"edgetl predict --{name}",
            got=f"no --{other}",
            expected="the two together",
            fix=f"add --{other}, or leave --{name} out",
        )


def _read_input(path: Path) -> Any:
    if path.suffix.lower() == ".npy":
        from edgetl.cli.tensor_file import read_tensor

        return read_tensor(path)
    if path.suffix.lower() == ".npz":
        from edgetl.data.npz_arrays import read_npz

        return read_npz(path, follow_links=True)
    return path


def verify_command(options: argparse.Namespace) -> int:
    """Print every file that is not what the manifest says; 1 when there is one."""
    from edgetl.bundle import verify_bundle

    _check_bundle(options)
    problems = verify_bundle(options.bundle)
    write_result(
        options,
        {
            "schema": "edgetl.verify/1",
            "bundle": str(options.bundle),
            "ok": not problems,
            "problems": [str(problem) for problem in problems],
        },
    )
    for problem in problems:
        print_problem(f"not right: {problem}", as_error=not _prints_results(options))
    if not problems and _prints_results(options):
        print(f"{options.bundle}: every byte is what the manifest says")
    return 1 if problems else 0


def selftest_command(options: argparse.Namespace) -> int:
    """Answer the golden set on this device; 1 when an answer is not the bundle's."""
    from edgetl.runtime.selftest import selftest

    _check_bundle(options)
    try:
        report = selftest(
            options.bundle,
            backend=options.backend,
            variant=options.variant,
            threads=options.threads,
            device=options.device,
        )
    except BundleError as error:
        # For this command a bundle that is not right is an answer, not bad usage.
        print_error(error)
        write_result(options, _broken(options.bundle, error))
        return 1
    write_result(options, report.to_json() | {"ok": report.ok, "problems": _wrong(report)})
    if _prints_results(options):
        for line in report.lines():
            print(line)
    else:
        for problem in _wrong(report):
            print_problem(f"not right: {problem}", as_error=True)
    return report.exit_code


def _broken(bundle: Path, error: BundleError) -> dict[str, Any]:
    from edgetl.bundle import verify_bundle

    # The error is about the first problem; a machine is told all of them.
    problems = [str(problem) for problem in verify_bundle(bundle)] or [str(error)]
    return {
        "schema": "edgetl.selftest/1",
        "bundle": str(bundle),
        "outcome": "not ok",
        "variants": [],
        "ok": False,
        "problems": problems,
    }


def _wrong(report: SelftestReport) -> list[str]:
    return [
        f"{check.variant}: {check.note}" for check in report.variants if check.outcome == "not ok"
    ]


def inspect_command(options: argparse.Namespace) -> int:
    """Print what the bundle says of itself, or the card of a dataset."""
    from edgetl.bundle import describe_bundle, open_bundle
    from edgetl.cli.data_commands import inspect_data
    from edgetl.data.sources import is_source

    if is_source(str(options.bundle)):
        return inspect_data(options)
    _check_bundle(options)
    facts = describe_bundle(open_bundle(options.bundle))
    write_result(options, facts)
    if _prints_results(options):
        _print_facts(_shortened(facts), indent="")
    return 0


def _shortened(facts: dict[str, Any]) -> dict[str, Any]:
    """For a person: layers counted by type and precision, files and golden inputs counted;
    ``--json`` has every one of them, with its hash."""
    files, golden = facts["files"], facts["golden"]
    variants = [dict(variant) for variant in facts["variants"]]
    for variant in variants:
        layers = variant["execution"].get("layers", ())
        counts = Counter(f"{layer['type']} {layer['precision']}" for layer in layers)
        variant["execution"] = variant["execution"] | {
            "layers": [f"{count} × {kind}" for kind, count in sorted(counts.items())]
        }
        for table in ("thresholds", "conformal"):
            if table in variant:
                variant[table] = f"fitted on {variant[table]['n']} inputs"
        variant["files"] = [f"{name} ({files[name]['size']:,} bytes)" for name in variant["files"]]
    return facts | {
        "variants": variants,
        "golden": golden | {"inputs": _counted(len(golden["inputs"]))},
        "files": f"{_counted(len(files))}; --json - has their names and hashes",
        "size_bytes": f"{facts['size_bytes']:,}",
    }


def _counted(files: int) -> str:
    return f"{files} file" if files == 1 else f"{files} files"


def _print_facts(facts: dict[str, Any], indent: str) -> None:
    for key, value in facts.items():
        # Nothing, or a table or list of nothing; 0 and False do say something.
        if value is None or value in ({}, [], ""):
            continue
        if isinstance(value, dict):
            print(f"{indent}{key}")
            _print_facts(value, indent + "  ")
        elif isinstance(value, list) and isinstance(value[0], dict):
            print(f"{indent}{key}")
            for item in value:
                _print_facts(item, indent + "  ")
                print()
        else:
            shown = ", ".join(map(_text, value)) if isinstance(value, list) else _text(value)
            print(f"{indent}{key:<14} {shown}")


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _prints_results(options: argparse.Namespace) -> bool:
    return not options.quiet and str(options.json) != "-"


def _check_bundle(options: argparse.Namespace, inputs: Sequence[Path] = ()) -> None:
    if not options.bundle.exists():
        raise UsageError(
            str(options.bundle),
            got="nothing there",
            expected="a bundle: a .edgetl folder or zip",
            fix="correct the path, or make one with `edgetl release CONFIG`",
        )
    check_outputs(options, "json", inputs=[options.bundle, *inputs], inside=options.bundle)
