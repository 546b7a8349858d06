"""`edgetl init`: look at the data and the model, write a commented config, say what comes next."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.cli.arguments import check_outputs
from edgetl.errors import UsageError
from edgetl.extras import extra
from edgetl.files import write_atomic

if TYPE_CHECKING:
    from edgetl.pipeline.init import NewConfig


def init_command(options: argparse.Namespace) -> int:
    """Write a config, or print it; 0."""
    with extra("gate"):
        from edgetl.pipeline.init import SCHEMA_FILE, config_name, make_config, name_of_source
    printed = str(options.out) == "-"
    if printed and options.schema:
        raise UsageError(
            "edgetl init --schema",
            got="--out -, which has no place beside it",
            expected="a file",
            fix="name one with --out FILE, or leave --schema out",
        )
    name = name_of_source(options.data) if _unnamed(options) else config_name(options.out.stem)
    path: Path = Path(f"{name}.toml") if options.out is None else options.out
    if not printed:
        _check_places(options, path)
    new = make_config(
        options.data,
        model=options.model,
        weights=options.weights,
        base=Path() if printed else path.parent,
        name=name,
        schema_file=SCHEMA_FILE if options.schema else None,
    )
    if printed:
        sys.stdout.write(new.text)
    else:
        _write(path, new, schema=options.schema)
    _say(new, path, file=sys.stderr if printed else sys.stdout)
    return 0


def _unnamed(options: argparse.Namespace) -> bool:
    return options.out is None or str(options.out) == "-"


def _check_places(options: argparse.Namespace, path: Path) -> None:
    """Refuse early what must not be written over."""
    from edgetl.pipeline.init import SCHEMA_FILE, schema_bytes

    places = argparse.Namespace(force=options.force, out=path, schema=None)
    beside = path.with_name(SCHEMA_FILE)
    # Another config's schema, which is the same, is in nobody's way.
    if options.schema and not (beside.is_file() and beside.read_bytes() == schema_bytes()):
        places.schema = beside
    check_outputs(places, "out", "schema")


def _write(path: Path, new: NewConfig, *, schema: bool) -> None:
    from edgetl.pipeline.init import SCHEMA_FILE, schema_bytes

    if schema:
        write_atomic(path.with_name(SCHEMA_FILE), schema_bytes())
    write_atomic(path, new.text.encode())


def _say(new: NewConfig, path: Path, *, file: object) -> None:
    lines = [f"data     {new.summary}"]
    lines += [f"check    {doubt}" for doubt in new.check]
    if str(path) == "-":
        lines.append("next     save it as a file, and: edgetl release FILE --dry-run")
    else:
        lines += [f"wrote    {path}", f"next     edgetl release {shlex.quote(str(path))} --dry-run"]
    print("\n".join(lines), file=file)  # type: ignore[call-overload]
