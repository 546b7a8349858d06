"""A verdict for machines (JSON, JUnit XML) and for people (Markdown)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from edgetl.gate.text import markdown_text, xml_text
from edgetl.gate.verdict import (
    EXIT_CODES,
    SLICE,
    ComparedVariant,
    GateResult,
    JudgedVariant,
    Outcome,
    ReleaseVerdict,
    counted,
)

SCHEMA = "edgetl.verdict/1"

_TAGS = {"FAIL": "failure", "INCONCLUSIVE": "error", "NOT JUDGED": "skipped"}


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
    if release.data.bench:
        document["data"]["bench"] = release.data.bench
    if release.selection:
        document["selection"] = [asdict(entry) for entry in release.selection]
    return document


def to_junit(release: ReleaseVerdict) -> bytes:
    """JUnit XML in UTF-8: a suite per variant, a case per gate.

    A required backend without a variant to judge is a failed case of the suite ``selection``.
    FAIL is a failure (the harm is shown), INCONCLUSIVE an error (the check could not be
    completed), NOT JUDGED is skipped; a case that passed says its figures as its output.
    """
    root = ElementTree.Element("testsuites", name="edgetl gate")
    for variant in release.variants:
        gates = variant.verdict.gates
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=xml_text(variant.id),
            tests=str(len(gates)),
            failures=_count(gates, "FAIL"),
            errors=_count(gates, "INCONCLUSIVE"),
            skipped=_count(gates, "NOT JUDGED"),
        )
        for gate in gates:
            case = ElementTree.SubElement(
                suite, "testcase", classname=xml_text(variant.id), name=xml_text(gate.name)
            )
            said = xml_text(sentence(gate))
            if gate.verdict == "PASS":
                ElementTree.SubElement(case, "system-out").text = said
            else:
                ElementTree.SubElement(case, _TAGS[gate.verdict], message=said)
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
                suite, "testcase", classname="selection", name=xml_text(backend)
            )
            message = xml_text(_nothing_to_judge(release, backend))
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
        f"{data.n} inputs of {markdown_text(data.name)}, split {markdown_text(data.split)}.",
    ]
    if missing := release.without_variant:
        lines.append("")
        lines += [f"- {markdown_text(_nothing_to_judge(release, backend))}." for backend in missing]
    for variant in release.variants:
        verdict = variant.verdict
        lines += [
            "",
            f"## {markdown_text(variant.id)}: {verdict.verdict}",
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
            markdown_text(sentence(gate))
            for gate in verdict.gates
            if gate.verdict != "PASS" or gate.detail
        ]
        remarks += [f"Note: {markdown_text(note)}." for note in verdict.notes]
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
        "gates": [_gate(gate) for gate in variant.verdict.gates],
        "metrics": {side: dict(values) for side, values in variant.verdict.metrics.items()},
        "notes": list(variant.verdict.notes),
    }


def _gate(gate: GateResult) -> dict[str, Any]:
    document = asdict(gate)
    if not gate.detail:
        del document["detail"]
    return document


def _selection(release: ReleaseVerdict) -> list[str]:
    """The table of the candidates; every figure is of the split that they competed on."""
    if not release.selection:
        return []
    split = markdown_text(release.selection[0].split)
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
    name, backend, reason = (
        markdown_text(text) for text in (entry.id, entry.backend, entry.reason)
    )
    chosen = "yes" if entry.chosen else "no"
    return f"| {name} | {backend} | {entry.p50_ms:.3f} | {figures} | {chosen} | {reason} |"


def _nothing_to_judge(release: ReleaseVerdict, backend: str) -> str:
    reasons = [
        f"{entry.id}: {entry.reason}" for entry in release.selection if entry.backend == backend
    ]
    return f"{backend}: no candidate to judge" + (f" ({'; '.join(reasons)})" if reasons else "")


def _row(gate: GateResult) -> str:
    figures = (gate.estimate, gate.lower, gate.upper)
    # A zero below the last digit has no sign.
    shown = " | ".join("" if one is None else f"{round(one, 4) + 0.0:.4f}" for one in figures)
    name = markdown_text(gate.name) if gate.name.startswith(SLICE) else gate.name
    return f"| {name} | {shown} | {gate.limit:g} | {gate.n} | {gate.verdict} |"


def sentence(gate: GateResult) -> str:
    """A gate in a sentence: its name, the harm seen, the bound that decides, the limit.

    An open gate says in it how much more would decide it.

    Example:
        >>> sentence(GateResult(name="nll", estimate=0.031, lower=0.025, upper=0.037, limit=0.02,
        ...                     n=600, verdict="FAIL", more_samples=0))
        'nll: the harm seen is 0.031, at least 0.025, over the limit 0.02'
    """
    detail = f" ({gate.detail})" if gate.detail else ""
    if gate.verdict == "NOT JUDGED":
        return f"{gate.name}: not judged, the limit is {gate.limit:g}{detail}"
    seen = "unknown" if gate.estimate is None else _figure(gate.estimate)
    return f"{gate.name}: the harm seen is {seen}, {_judged(gate)}{detail}"


def _judged(gate: GateResult) -> str:
    if gate.verdict == "FAIL":
        return f"at least {_figure(gate.lower)}, over the limit {gate.limit:g}"
    if gate.verdict == "PASS":
        return f"at most {_figure(gate.upper)}, within the limit {gate.limit:g}"
    between = f"between {_figure(gate.lower)} and {_figure(gate.upper)}, the limit {gate.limit:g}; "
    unit = counted(gate.name)
    if gate.more_samples is not None:
        return f"{between}{gate.more_samples} more {unit} would decide it with 80 % power"
    if gate.upper is None:
        return f"{between}nothing bounds it"
    return f"{between}no number of further {unit} decides it while the harm lies on the limit"


def _figure(value: float | None) -> str:
    return "anything" if value is None else f"{value:.4g}"


def _count(gates: Sequence[GateResult], verdict: str) -> str:
    return str(sum(gate.verdict == verdict for gate in gates))
