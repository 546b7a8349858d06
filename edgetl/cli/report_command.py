"""`edgetl report`: a release's page, or one of any two stored predictions."""

from __future__ import annotations

import argparse

from edgetl.cli.arguments import check_file, check_one_source, check_outputs, write_result
from edgetl.cli.gate_command import judge_files
from edgetl.cli.release_commands import plan_command, run_until
from edgetl.errors import UsageError
from edgetl.extras import extra


def report_command(options: argparse.Namespace) -> int:
    """Write the page; 0 when it is there, whatever the verdict on it."""
    check_one_source(options, "report", extra=" --page FILE")
    if options.predictions is not None:
        return _report_predictions(options)
    for name in ("page", "policy", "bench", "variant"):
        if getattr(options, name) is not None:
            raise UsageError(
                f"edgetl report --{name}",
                got="given beside CONFIG",
                expected="the config's own; the page is in the run's folder",
                fix=f"leave --{name} out, or report on --predictions",
            )
    check_outputs(options, "json", inputs=[options.config])
    if options.dry_run:
        return plan_command(options, "report")
    result = run_until(options, "report")
    write_result(options, {"report": str(result.report), "verdict": result.verdict})
    return 0


def _report_predictions(options: argparse.Namespace) -> int:
    if options.page is None:
        raise UsageError(
            "edgetl report --predictions",
            got="no --page",
            expected="the file to write",
            fix="--page report.html",
        )
    for path in (*options.predictions, options.policy, options.bench):
        if path is not None:
            check_file(path, "a file to read")
    check_outputs(options, "json", "page", inputs=[*options.predictions, options.policy])
    with extra("report"):
        from edgetl.gate import Predictions
        from edgetl.gate.render import to_json
        from edgetl.report import report_from_predictions, write_report
    verdict = judge_files(options)
    reference, candidate = (Predictions.load(path) for path in options.predictions)
    write_report(options.page, report_from_predictions(reference, candidate, to_json(verdict)))
    write_result(options, {"report": str(options.page), "verdict": str(verdict.verdict)})
    if not options.quiet and str(options.json) != "-":
        print(f"report   {options.page}")
    return 0
