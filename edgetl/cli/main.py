"""The command line: parse, one library call, print, exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from edgetl.cli.messages import fault, print_error
from edgetl.cli.parser import make_parser
from edgetl.errors import EdgetlError, UsageError

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Example:
        >>> main(["predict", "no-such-bundle", "7.png"])
        2
    """
    try:
        options = make_parser().parse_args(arguments)
        command = options.command
        return int(command(options))
    except EdgetlError as error:
        print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("edgetl: interrupted; nothing is half-written", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`edgetl … | head`): nobody is left to tell, and
        # Python's own last flush must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # A full disk, a folder without permission: the system's own words say it best.
        print_error(
            UsageError(
                str(error.filename or "system"),
                got=error.strerror or str(error),
                expected="a file or folder that can be read and written",
                fix="free space, change permissions, or name another place",
            )
        )
        return UsageError.exit_code
    except Exception as error:
        # Raised on, it would make Python exit with 1, which means FAIL.
        if os.environ.get("EDGETL_TRACEBACK") == "1":
            traceback.print_exc()
        print_error(fault(error))
        return EdgetlError.exit_code


if __name__ == "__main__":
    sys.exit(main())
