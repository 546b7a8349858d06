"""Code of the user's own, named as ``python:MODULE:NAME`` and imported from one folder only.

Nothing here runs on a checkpoint's or a bundle's word: the caller passes the folder, which is
the release config's. Without torch.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgetl.errors import ConfigError, ModelError
from edgetl.files import sha256_file

USER_CODE = "python:"


def check_reference(key: str, reference: str, code: Path) -> None:
    """Refuse a reference that is not ``python:MODULE:NAME`` of a module in the folder.

    Nothing is imported.

    Args:
        key: Where the reference stands, for the message.
        reference: Such as ``python:my_model:make``.
        code: The folder of the user's modules.

    Raises:
        ConfigError: Saying which of the parts is wrong.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "mine.py").write_text("def make(): ...")
        ...     check_reference("architecture", "python:mine:make", Path(folder))
    """
    module, name = _parts(key, reference)
    if _file_of(module, code) is None:
        found = sorted(path.stem for path in code.glob("*.py"))
        raise ConfigError(
            key,
            got=f"module '{module}', which is not in {code}",
            expected=f"one of {', '.join(found[:10])}" if found else "a Python file there",
            fix="correct the name, or set code = the folder of the module at the top of the config",
        )
    if not name.isidentifier():
        raise ConfigError(
            key,
            got=repr(reference),
            expected="python:MODULE:NAME",
            fix="name a function of the module",
        )


def load_object(reference: str, code: Path) -> Any:
    """Import what a reference names.

    Args:
        reference: ``python:MODULE:NAME``.
        code: The folder that the module, and what it imports beside itself, comes from.

    Raises:
        ConfigError: When there is no such module or name.
        ModelError: When the module raises; the message has the module's own words and line.
    """
    check_reference(reference, reference, code)
    module, name = _parts(reference, reference)
    folder = str(code.resolve())
    # First, so that a module of the same name elsewhere is not taken for it.
    sys.path.insert(0, folder)
    try:
        loaded = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"module '{module}' in {code}",
            got=told(error, code),
            expected="a module that can be imported",
            fix=f"try it: cd {code} && python -c 'import {module}'",
        ) from error
    finally:
        sys.path.remove(folder)
    if folder not in sys.path:
        # Last, for imports inside its functions: nothing of the process is taken for a file there.
        sys.path.append(folder)
    _check_place(loaded, module, code)
    try:
        return getattr(loaded, name)
    except AttributeError as error:
        names = [one for one in vars(loaded) if callable(vars(loaded)[one]) and one[0] != "_"]
        raise ConfigError(
            reference,
            got=f"no '{name}' in module '{module}'",
            expected=f"one of {', '.join(names[:10]) or 'its functions (it has none)'}",
            fix="correct the name after the second colon",
        ) from error


def told(error: BaseException, code: Path) -> str:
    """An exception of the user's code in one line, with the last of their own lines.

    Example:
        >>> told(ValueError("no weights"), Path("."))
        'ValueError: no weights'
    """
    root = code.resolve()
    place = ""
    trace = error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.is_absolute() and file.is_relative_to(root):
            place = f" ({file.relative_to(root)}, line {trace.tb_lineno})"
        trace = trace.tb_next
    words = str(error).strip().split("\n")[0][:300]
    return f"{type(error).__name__}: {words}{place}" if words else f"{type(error).__name__}{place}"


def source_files_of(reference: str, code: Path) -> tuple[Path, ...]:
    """The files in the folder that a reference's module is made of: itself and what it imports.

    Found by reading the import statements, without running anything.

    Args:
        reference: ``python:MODULE:NAME``.
        code: The folder of the user's modules.

    Returns:
        Sorted paths; empty when the module is not there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "a.py").write_text("import b, json")
        ...     _ = (Path(folder) / "b.py").write_text("")
        ...     [path.name for path in source_files_of("python:a:make", Path(folder))]
        ['a.py', 'b.py']
    """
    module, _ = _parts(reference, reference)
    waiting, found = [module], set[Path]()
    while waiting:
        name = waiting.pop()
        file = _file_of(name, code)
        if file is None or file in found:
            continue
        found.add(file)
        waiting += _imported(file, name)
        # A package's modules come with its parents.
        waiting += [name.rpartition(".")[0]] if "." in name else []
    return tuple(sorted(found))


def source_hashes(reference: str | None, code: Path) -> dict[str, str]:
    """What a reference's code is known by: the sha256 of each of `source_files_of`.

    Empty for what is no ``python:MODULE:NAME``: an architecture of edgetl's own, say.

    Example:
        >>> source_hashes("resnet18", Path("."))
        {}
    """
    if reference is None or not reference.startswith(USER_CODE):
        return {}
    files = source_files_of(reference, code)
    return {f"code {file.relative_to(code)}": sha256_file(file) for file in files}


def _parts(key: str, reference: str) -> tuple[str, str]:
    kind, module, name = (*reference.split(":"), "", "", "")[:3]
    if reference.count(":") != 2 or kind != "python" or not module or not name:
        raise ConfigError(
            key,
            got=repr(reference),
            expected="python:MODULE:NAME, such as python:my_model:make_network",
            fix="name a module beside the config and a function in it",
        )
    return module, name


def _file_of(module: str, code: Path) -> Path | None:
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    base = code.joinpath(*parts)
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None


def _imported(file: Path, module: str) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        # Importing it will say what is wrong.
        return
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join(filter(None, [*above, base]))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _check_place(loaded: Any, module: str, code: Path) -> None:
    file = getattr(loaded, "__file__", None)
    if file is None or not Path(file).resolve().is_relative_to(code.resolve()):
        raise ConfigError(
            f"module '{module}'",
            got=f"{file or 'a built-in module'}",
            expected=f"a file in {code}",
            fix="rename the module: an installed one has its name",
        )
