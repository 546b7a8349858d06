from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgetl.errors import ConfigError, EdgetlError, ModelError
from edgetl.reference.user_code import check_reference, load_object, source_files_of


@pytest.fixture
def code(tmp_path: Path):
    (tmp_path / "uc_net.py").write_text(
        "import json\nimport uc_help\nfrom uc_pack import parts\n\n"
        "def make():\n    return uc_help.WORD\n"
    )
    (tmp_path / "uc_help.py").write_text("WORD = 'made'\n")
    (tmp_path / "uc_pack").mkdir()
    (tmp_path / "uc_pack" / "__init__.py").write_text("")
    (tmp_path / "uc_pack" / "parts.py").write_text("from . import more\n")
    (tmp_path / "uc_pack" / "more.py").write_text("")
    (tmp_path / "uc_alone.py").write_text("")
    yield tmp_path
    if str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))
    for name in [name for name in sys.modules if name.split(".")[0].startswith("uc_")]:
        del sys.modules[name]


def test_a_name_is_imported_with_what_lies_beside_it(code: Path) -> None:
    assert load_object("python:uc_net:make", code)() == "made"
    assert str(code) not in sys.path[:-1]


def test_an_import_inside_a_function_works_later(code: Path) -> None:
    (code / "uc_net.py").write_text("def make():\n    import uc_help\n    return uc_help.WORD\n")
    assert load_object("python:uc_net:make", code)() == "made"


def test_its_files_are_found_without_running_them(code: Path) -> None:
    (code / "uc_help.py").write_text("raise SystemExit('run')\n")
    found = source_files_of("python:uc_net:make", code)
    assert [str(path.relative_to(code)) for path in found] == [
        "uc_help.py",
        "uc_net.py",
        "uc_pack/__init__.py",
        "uc_pack/more.py",
        "uc_pack/parts.py",
    ]
    assert source_files_of("python:uc_gone:make", code) == ()


def test_a_file_that_cannot_be_parsed_still_counts(code: Path) -> None:
    (code / "uc_net.py").write_text("def make(:")
    assert source_files_of("python:uc_net:make", code) == (code / "uc_net.py",)
    with pytest.raises(ModelError, match="SyntaxError"):
        load_object("python:uc_net:make", code)


@pytest.mark.parametrize(
    ("reference", "named"),
    [
        ("python:uc_net", "MODULE:NAME"),
        ("python::make", "MODULE:NAME"),
        ("python:uc_net:", "MODULE:NAME"),
        ("python:uc_net:make:more", "MODULE:NAME"),
        ("python:uc_gone:make", "uc_alone, uc_help, uc_net"),
        ("python:../uc_net:make", "is not in"),
        ("python:uc_net:no such", "MODULE:NAME"),
    ],
)
def test_what_is_wrong_with_a_reference_is_named(code: Path, reference: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_reference("model.transform", reference, code)
    assert named in str(caught.value)


def test_a_name_that_is_not_there_is_told_with_those_that_are(code: Path) -> None:
    with pytest.raises(ConfigError, match="one of make"):
        load_object("python:uc_net:mak", code)


def test_a_module_that_fails_is_told_with_its_own_line(code: Path) -> None:
    (code / "uc_net.py").write_text("import json\n\nraise ValueError('no weights here')\n")
    with pytest.raises(ModelError, match=r"ValueError: no weights here \(uc_net.py, line 3\)"):
        load_object("python:uc_net:make", code)


def test_an_installed_module_of_the_same_name_is_not_taken_for_it(code: Path) -> None:
    (code / "json.py").write_text("def make(): ...")
    with pytest.raises(ConfigError, match="an installed one has its name"):
        load_object("python:json:make", code)


def test_a_module_that_ends_the_process_is_an_error(code: Path) -> None:
    (code / "uc_net.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(EdgetlError, match="SystemExit"):
        load_object("python:uc_net:make", code)
