from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

from edgetl.doctor.packages import (
    Installed,
    Need,
    _folder,
    installed_packages,
    needs,
    normalized,
    pip_line,
)

EDGETL = Installed(
    name="edgetl",
    version="1",
    requires=(
        "numpy>=1.26",
        'onnxruntime>=1.23; extra == "cpu"',
        'edgetl[cpu]; extra == "all"',
        'ruff>=0.8; extra == "dev"',
    ),
)


def test_what_each_extra_needs_and_has() -> None:
    here = (EDGETL, Installed(name="numpy", version="2.1"))
    assert needs(here) == (
        Need(extra="", name="numpy", bounds=">=1.26", version="2.1"),
        Need(extra="cpu", name="onnxruntime", bounds=">=1.23", version=None),
    )


def test_a_package_in_place_of_another_is_named() -> None:
    (_, need) = needs((EDGETL, Installed(name="onnxruntime-gpu", version="1.24")))
    assert (need.version, need.instead) == ("1.24", "onnxruntime-gpu")


def test_nothing_is_known_of_an_edgetl_that_was_not_installed() -> None:
    assert needs((Installed(name="numpy", version="2.1"),)) == ()


def test_the_first_of_two_installs_is_the_one_that_is_imported() -> None:
    here = (EDGETL, *(Installed(name="numpy", version=v) for v in ("2.1", "1.0")))
    assert needs(here)[0].version == "2.1"


def test_this_environment_is_read() -> None:
    found = {one.name: one for one in installed_packages()}
    assert found["numpy"].version == metadata.version("numpy")
    assert (Path(found["edgetl"].folder) / "edgetl" / "doctor").is_dir()
    assert {need.extra for need in needs(installed_packages())} >= {"cpu", "openvino", "train"}


@pytest.mark.parametrize(
    ("written", "code"),
    [
        (None, "site"),
        ('{"url": "file:///else/where", "dir_info": {"editable": true}}', "/else/where"),
        ('{"url": "file:///else/where", "dir_info": {}}', "site"),
        ("not json", "site"),
    ],
)
def test_where_the_code_of_a_package_is(tmp_path: Path, written: str | None, code: str) -> None:
    info = tmp_path / "a-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: a\nVersion: 1\n")
    if written is not None:
        (info / "direct_url.json").write_text(written)
    expected = str(tmp_path) if code == "site" else code
    assert _folder(metadata.Distribution.at(info)) == expected


def test_names_are_compared_as_packages_are() -> None:
    assert normalized("Scikit_Learn.x") == "scikit-learn-x"
    assert json.dumps(pip_line("train")) == "\"pip install 'edgetl[train]'\""
