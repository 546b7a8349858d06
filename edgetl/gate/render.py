"""A verdict for machines (JSON, JUnit XML) and for people (Markdown)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from edgetl.gate.verdict import (
    EXIT_CODES,
    LATENCY,
    ComparedVariant,
    GateResult,
    JudgedVariant,
    Outcome,
    ReleaseVerdict,
)

SCHEMA = "edgetl.verdict/1"

# XML 1.0 knows no other control characters, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def exit_code(verdict: Outcome) -> int:
    """The exit code of `gate` and `release`.

    Example:
        >>> [exit_code(verdict) for verdict in ("PASS", "FAIL", "INCONCLUSIVE")]
        [0, 1, 4]
    """
    return EXIT_CODES[verdict]


def to_json(release: ReleaseVerdict) -> dict[str, Any]:
    """The document `edgetl.verdict/1`, docs/schemas/verdict-1.json, with every default in it."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "verdict": release.verdict,
        "policy": release.policy.to_json(),
        "required": list(release.required),
        "data": {
            "name": release.data.name,
            "split": release.data.split,
            "n": release.data.n,
            "hash": release.data.hash,
            "predictions": dict(release.data.predictions),
            "samples": dict(release.data.samples),
        },
        "variants": [_variant(variant) for variant in release.variants],
    }
    if release.selection:
        document["selection"] = [asdict(entry) for entry in release.selection]
    return document


def to_junit(release: ReleaseVerdict) -> bytes:
    """JUnit XML in UTF-8: a suite per variant, a case per gate.

    A required backend without a variant to judge is a failed case of the suite ``selection``.
    FAIL is a failure (the harm is shown), INCONCLUSIVE an error (the check could not be
    completed), NOT JUDGED is skipped.
    """
    root = ElementTree.Element("testsuites", name="edgetl gate")
    for variant in release.variants:
        gates = variant.verdict.gates
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_xml(variant.id),
            tests=str(len(gates)),
            failures=_count(gates, "FAIL"),
            errors=_count(gates, "INCONCLUSIVE"),
            skipped=_count(gates, "NOT JUDGED"),
        )
        for gate in gates:
            case = ElementTree.SubElement(
                suite, "testcase", classname=_xml(variant.id), name=gate.name
            )
            tag = {"FAIL": "failure", "INCONCLUSIVE": "error", "NOT JUDGED": "skipped"}
            if gate.verdict in tag:
                ElementTree.SubElement(case, tag[gate.verdict], message=_sentence(gate))
    if missing := release.without_variant:
        count = str(len(missing))
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name="selection",
            tests=count,
            failures=count,
            errors="0",
            skipped="0",
        )
        for backend in missing:
            case = ElementTree.SubElement(
                suite, "testcase", classname="selection", name=_xml(backend)
            )
            message = _xml(_nothing_to_judge(release, backend))
            ElementTree.SubElement(case, "failure", message=message)
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def to_markdown(release: ReleaseVerdict) -> str:
    """A summary for a pull request or a job's page."""
    data = release.data
    lines = [
        f"# {release.verdict}",
        "",
        f"{data.n} inputs of {_cell(data.name)}, split {_cell(data.split)}.",
    ]
    if missing := release.without_variant:
        lines.append("")
        lines += [f"- {_cell(_nothing_to_judge(release, backend))}." for backend in missing]
    for variant in release.variants:
        verdict = variant.verdict
        lines += [
            "",
            f"## {_cell(variant.id)}: {verdict.verdict}",
            "",
            f"Bounds are one-sided at {1 - verdict.alpha:.4g}.",
            "",
            "| gate | harm | lower | upper | limit | n | verdict |",
            "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
            *(_row(gate) for gate in verdict.gates),
            "",
            "| metric (reported only) | reference | candidate |",
            "| --- | ---: | ---: |",
            *(
                f"| {name} | {value:.4f} | {verdict.metrics['candidate'][name]:.4f} |"
                for name, value in verdict.metrics["reference"].items()
            ),
        ]
        remarks = [
            _sentence(gate) for gate in verdict.gates if gate.verdict in ("FAIL", "INCONCLUSIVE")
        ]
        remarks += [f"Note: {_cell(note)}." for note in verdict.notes]
        if remarks:
            lines += ["", *(f"- {remark}" for remark in remarks)]
    return "\n".join([*lines, *_selection(release)]) + "\n"


def _variant(variant: JudgedVariant) -> dict[str, Any]:
    return {
        "id": variant.id,
        "backend": variant.backend,
        "precision": variant.precision,
        "file": variant.file,
        "verdict": variant.verdict.verdict,
        "alpha": variant.verdict.alpha,
        "gates": [asdict(gate) for gate in variant.verdict.gates],
        "metrics": {side: dict(values) for side, values in variant.verdict.metrics.items()},
        "notes": list(variant.verdict.notes),
    }


def _selection(release: ReleaseVerdict) -> list[str]:
    """The table of the candidates; every figure is of the split that they competed on."""
    if not release.selection:
        return []
    split = _cell(release.selection[0].split)
    return [
        "",
        f"## Candidates on {split}",
        "",
        "| candidate | backend | p50 ms | top1 | nll | ece | chosen | reason |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- | --- |",
        *(_compared(entry) for entry in release.selection),
    ]


def _compared(entry: ComparedVariant) -> str:
    figures = " | ".join(f"{entry.metrics[name]:.4f}" for name in ("top1", "nll", "ece"))
    return (
        f"| {_cell(entry.id)} | {_cell(entry.backend)} | {entry.p50_ms:.3f} | {figures} | "
        f"{'yes' if entry.chosen else 'no'} | {_cell(entry.reason)} |"
    )


def _nothing_to_judge(release: ReleaseVerdict, backend: str) -> str:
    reasons = [
        f"{entry.id}: {entry.reason}" for entry in release.selection if entry.backend == backend
    ]
    return f"{backend}: no candidate to judge" + (f" ({'; '.join(reasons)})" if reasons else "")


def _row(gate: GateResult) -> str:
    figures = (gate.estimate, gate.lower, gate.upper)
    shown = " | ".join("" if value is None else f"{value:.4f}" for value in figures)
    return f"| {gate.name} | {shown} | {gate.limit:g} | {gate.n} | {gate.verdict} |"


def _sentence(gate: GateResult) -> str:
    """What a gate that did not pass says."""
    unit = "rounds of measurement" if gate.name == LATENCY else "labelled inputs"
    if gate.estimate is None or gate.lower is None or gate.upper is None:
        return f"{gate.name}: not judged, there is no measurement"
    if gate.verdict == "FAIL":
        return f"{gate.name}: the harm is at least {gate.lower:.4g}, over the limit {gate.limit:g}"
    more = (
        f"no number of further {unit} decides it while the harm lies on the limit"
        if gate.more_samples is None
        else f"{gate.more_samples} more {unit} would decide it with 80 % power"
    )
    return (
        f"{gate.name}: the harm is between {gate.lower:.4g} and {gate.upper:.4g}, "
        f"the limit {gate.limit:g}; {more}"
    )


def _count(gates: Sequence[GateResult], verdict: str) -> str:
    return str(sum(gate.verdict == verdict for gate in gates))


def _xml(text: str) -> str:
    return _NOT_XML.sub("�", text)


def _cell(text: str) -> str:
    """Text that cannot end a table's cell or start a tag."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
