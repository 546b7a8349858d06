"""A verdict as workflow commands: what a code host shows beside a change.

The format is that of GitHub Actions. A line end, a percent sign and, in a title, a colon and a
comma mean something else there, so that they are escaped as its own toolkit does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgetl.gate.text import one_line
from edgetl.gate.verdict import counted


def github_annotations(document: Mapping[str, Any]) -> list[str]:
    """A line for each gate that did not pass: the gate, the figure, the bound, the limit.

    Args:
        document: Of the schema ``edgetl.verdict/1`` or ``edgetl.certificate/1``, parsed.

    Returns:
        Lines to print: what failed first, for a host shows no more than ten of a step. A required
        backend without a variant to judge is a line too.

    Example:
        >>> gate = {"name": "nll", "estimate": 0.031, "lower": 0.025, "upper": 0.037,
        ...         "limit": 0.02, "n": 600, "verdict": "FAIL", "more_samples": 0}
        >>> verdict = {"schema": "edgetl.verdict/1", "verdict": "FAIL",
        ...            "variants": [{"id": "ort-int8", "backend": "onnxruntime", "gates": [gate]}]}
        >>> print(github_annotations(verdict)[0])
        ::error title=edgetl FAIL%3A ort-int8 nll::nll 0.031, at least 0.025, limit 0.02; n 600
    """
    lines = [
        *_without_variant(document),
        *_of_gates(document, "FAIL"),
        *_of_gates(document, "INCONCLUSIVE"),
    ]
    if not lines and document["verdict"] != "PASS":
        lines.append(_command(f"edgetl {document['verdict']}", "nothing was judged"))
    return lines


def _of_gates(document: Mapping[str, Any], verdict: str) -> Iterator[str]:
    labelled = document["schema"].startswith("edgetl.verdict/")
    for variant in document["variants"]:
        for gate in variant["gates"]:
            if gate["verdict"] == verdict:
                title = f"edgetl {verdict}: {variant['id']} {gate['name']}"
                unit = counted(gate["name"]) if labelled else "unlabelled inputs"
                yield _command(title, _message(gate, unit))


def _message(gate: Mapping[str, Any], unit: str) -> str:
    known = gate["estimate"] is not None
    seen = f"{gate['name']} {gate['estimate']:.4g}" if known else f"{gate['name']} not known"
    rest = f"; n {gate['n']}" if "n" in gate else ""
    rest += f"; {gate['detail']}" if gate.get("detail") else ""
    if gate["verdict"] == "FAIL":
        return f"{seen}{_bound(', at least', gate['lower'])}, limit {gate['limit']:g}{rest}"
    more = gate["more_samples"]
    if more is None:
        what = "no number of further samples would decide it"
    else:
        what = f"{more} more {unit} would decide it"
    return f"{seen}{_bound(', at most', gate['upper'])}, limit {gate['limit']:g}{rest}; {what}"


def _bound(words: str, value: float | None) -> str:
    return "" if value is None else f"{words} {value:.4g}"


def _without_variant(document: Mapping[str, Any]) -> Iterator[str]:
    judged = {variant["backend"] for variant in document["variants"]}
    for backend in document.get("required", ()):
        if backend not in judged:
            yield _command(f"edgetl FAIL: {backend}", "no candidate of this backend to judge")


def _command(title: str, message: str) -> str:
    for sign, code in (("%", "%25"), (":", "%3A"), (",", "%2C")):
        title = title.replace(sign, code)
    escaped = _plain(message).replace("%", "%25")
    return f"::error title={_plain(title)}::{escaped}"


def _plain(text: str) -> str:
    # A runner reads the older form of a command, ##[name], anywhere in a line.
    return one_line(text).replace("##[", "## [")
