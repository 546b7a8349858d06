"""`edgetl doctor`: what works on this machine, and the line that mends what does not."""

from __future__ import annotations

import argparse
import sys

from edgetl.cli.arguments import check_outputs, write_result


def doctor_command(options: argparse.Namespace) -> int:
    """Examine this machine and this Python; 1 when something is to be mended."""
    from edgetl.doctor.examine import examine
    from edgetl.doctor.render import finding_lines, report_lines

    check_outputs(options, "json")
    if sys.stderr.isatty() and not options.quiet:
        print("edgetl: trying each backend on each device …", file=sys.stderr)
    report = examine(timeout=options.timeout)
    write_result(options, report.to_json())
    if not options.quiet and str(options.json) != "-":
        print("\n".join(report_lines(report)))
    else:
        # What is wrong is never silent.
        problems = [finding for finding in report.findings if finding.kind == "problem"]
        if problems:
            print("\n".join(finding_lines(problems)).rstrip(), file=sys.stderr)
    return report.exit_code
