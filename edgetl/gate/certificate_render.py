"""Certificates for machines (JSON, JUnit XML) and for people (Markdown)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from xml.etree import ElementTree

from edgetl.gate.certificate import Certificate, CertifiedGate, not_certified
from edgetl.gate.policy import Policy
from edgetl.gate.text import markdown_text, xml_text
from edgetl.gate.verdict import EXIT_CODES, Outcome

SCHEMA = "edgetl.certificate/1"

_ORDER: tuple[Outcome, ...] = ("FAIL", "INCONCLUSIVE", "PASS")
_MEANINGS = {
    "flips": "flip rate",
    "accuracy_change": "change of accuracy, either way",
    "calibration_distance": "added distance from calibration",
}


@dataclass(frozen=True, kw_only=True)
class CertifiedVariant:
    """A variant with its certificate."""

    id: str
    backend: str
    precision: str
    file: str
    certificate: Certificate


@dataclass(frozen=True, kw_only=True)
class CertificateDocument:
    """What `edgetl.certificate/1` holds.

    Attributes:
        reference: What the variants were compared with.
        data: What to call the unlabelled images.
        data_hash: `Predictions.data_hash` of the reference's answers.
        variants: At least one.
    """

    policy: Policy
    reference: str
    data: str
    data_hash: str
    variants: tuple[CertifiedVariant, ...]

    @property
    def verdict(self) -> Outcome:
        """The worst of the variants'."""
        outcomes = (variant.certificate.verdict for variant in self.variants)
        return min(outcomes, key=_ORDER.index, default="INCONCLUSIVE")

    @property
    def exit_code(self) -> int:
        """0 PASS, 1 FAIL, 4 INCONCLUSIVE."""
        return EXIT_CODES[self.verdict]


def certificate_json(document: CertificateDocument) -> dict[str, Any]:
    """The document `edgetl.certificate/1`, docs/schemas/certificate-1.json."""
    return {
        "schema": SCHEMA,
        "verdict": document.verdict,
        "policy": document.policy.to_json(),
        "reference": document.reference,
        "data": {
            "name": document.data,
            "n": document.variants[0].certificate.n,
            "hash": document.data_hash,
        },
        "variants": [_variant(variant) for variant in document.variants],
        "not_judged": list(not_certified(document.policy)),
    }


def certificate_junit(document: CertificateDocument) -> bytes:
    """JUnit XML in UTF-8: a suite per variant, a case per certified gate.

    FAIL is a failure, INCONCLUSIVE an error, and what nothing certifies is skipped.
    """
    others = not_certified(document.policy)
    root = ElementTree.Element("testsuites", name="edgetl gate, unlabelled")
    for variant in document.variants:
        gates = variant.certificate.gates
        name = xml_text(variant.id)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=name,
            tests=str(len(gates) + len(others)),
            failures=str(sum(gate.verdict == "FAIL" for gate in gates)),
            errors=str(sum(gate.verdict == "INCONCLUSIVE" for gate in gates)),
            skipped=str(len(others)),
        )
        for gate in gates:
            case = ElementTree.SubElement(suite, "testcase", classname=name, name=gate.name)
            if gate.verdict != "PASS":
                tag = "failure" if gate.verdict == "FAIL" else "error"
                ElementTree.SubElement(case, tag, message=certified_sentence(gate))
        for other in others:
            case = ElementTree.SubElement(suite, "testcase", classname=name, name=other)
            ElementTree.SubElement(case, "skipped", message=f"{other}: not judged without labels")
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def certificate_markdown(document: CertificateDocument) -> str:
    """A summary for a pull request or a job's page."""
    n = document.variants[0].certificate.n
    lines = [
        f"# {document.verdict} (without labels)",
        "",
        f"{n} unlabelled inputs of {markdown_text(document.data)}; the reference is "
        f"{markdown_text(document.reference)}.",
    ]
    for variant in document.variants:
        lines += _section(variant)
    others = ", ".join(not_certified(document.policy))
    lines += ["", f"Not certified without labels, and so not judged: {others}."]
    return "\n".join(lines) + "\n"


def certified_sentence(gate: CertifiedGate) -> str:
    """What a gate that did not pass says.

    Example:
        >>> print(certified_sentence(CertifiedGate(name="flips", estimate=0.02, lower=0.01,
        ...     upper=0.04, limit=0.03, verdict="INCONCLUSIVE", more_samples=655)))
        flips: at most 0.04, the limit 0.03; 655 more unlabelled inputs would decide it with 80 % \
power
    """
    if gate.verdict == "FAIL":
        return f"{gate.name}: at least {gate.lower:.4g}, over the limit {gate.limit:g}"
    more = (
        "no number of further unlabelled inputs would decide it: judge with labels"
        if gate.more_samples is None
        else f"{gate.more_samples} more unlabelled inputs would decide it with 80 % power"
    )
    return f"{gate.name}: at most {gate.upper:.4g}, the limit {gate.limit:g}; {more}"


def _section(variant: CertifiedVariant) -> list[str]:
    found = variant.certificate
    remarks = [certified_sentence(gate) for gate in found.gates if gate.verdict != "PASS"]
    remarks += [f"Note: {markdown_text(note)}." for note in found.notes]
    return [
        "",
        f"## {markdown_text(variant.id)}: {found.verdict}",
        "",
        f"Bounds are one-sided at {1 - found.alpha:.4g}. {found.flips} of {found.n} answers "
        f"differ; a confidence moves by {found.confidence_change:.4f} in the mean, at most "
        f"{found.confidence_change_upper:.4f}.",
        "",
        "| certified | seen | lower | upper | limit | verdict |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
        *(_row(gate) for gate in found.gates),
        *(["", *(f"- {remark}" for remark in remarks)] if remarks else []),
    ]


def _row(gate: CertifiedGate) -> str:
    figures = f"{gate.estimate:.4f} | {gate.lower:.4f} | {gate.upper:.4f} | {gate.limit:g}"
    return f"| {_MEANINGS[gate.name]} (`{gate.name}`) | {figures} | {gate.verdict} |"


def _variant(variant: CertifiedVariant) -> dict[str, Any]:
    found = variant.certificate
    gates: Sequence[CertifiedGate] = found.gates
    return {
        "id": variant.id,
        "backend": variant.backend,
        "precision": variant.precision,
        "file": variant.file,
        "verdict": found.verdict,
        "alpha": found.alpha,
        "flips": found.flips,
        "confidence_change": {
            "estimate": found.confidence_change,
            "upper": found.confidence_change_upper,
        },
        "gates": [asdict(gate) for gate in gates],
        "more_samples": found.more_samples,
        "notes": list(found.notes),
    }
