from __future__ import annotations

import sys

import pytest

from edgetl.doctor.packages import Installed
from edgetl.doctor.requirements import unmet_requirements

EDGETL = Installed(
    name="edgetl",
    version="1",
    requires=(
        "numpy>=1.26",
        'onnxruntime>=1.23; extra == "cpu"',
        'timm>=1; extra == "train"',
        'ruff>=99; extra == "dev"',
    ),
)


def package(name: str, version: str, *requires: str) -> Installed:
    return Installed(name=name, version=version, requires=requires)


@pytest.mark.parametrize("version", ["1.25.0", "1.26.0rc1"])
def test_numpy_too_old(version: str) -> None:
    (finding,) = unmet_requirements([EDGETL, package("numpy", version)])
    assert finding.got == f"version {version}"
    assert finding.expected == "numpy>=1.26, which edgetl 1 requires"
    assert finding.fix == "pip install 'numpy>=1.26'"


def test_numpy_too_new_for_anyone() -> None:
    old = package("unrelated", "3", "numpy<2")
    (finding,) = unmet_requirements([EDGETL, package("numpy", "2.1.0"), old])
    assert finding.fix == "pip install 'numpy<2'"
    assert "unrelated 3" in finding.expected


def test_protobuf_that_somebody_pins() -> None:
    pins = package("tensorboard", "2", "protobuf!=4.24.0,<6")
    assert unmet_requirements([pins, package("protobuf", "6.31.1")])
    assert unmet_requirements([pins, package("protobuf", "5.29.0")]) == []


def test_an_extra_counts_as_soon_as_its_package_is_here() -> None:
    (finding,) = unmet_requirements([EDGETL, package("onnxruntime", "1.15.1")])
    assert finding.fix == "pip install 'onnxruntime>=1.23'"
    (finding,) = unmet_requirements([EDGETL, package("onnxruntime-gpu", "1.15.1")])
    assert finding.fix == "pip install 'onnxruntime-gpu>=1.23'"


@pytest.mark.parametrize(
    "others",
    [
        [],
        [package("numpy", "2.1.0")],
        [package("ruff", "0.1")],
        [package("elsewhere", "1", "other>=5"), package("other", "1")],
        [package("timm", "1.0", "torch>=9; python_version < '3'"), package("torch", "2.9")],
        [package("timm", "1.0", "torch>=9; extra == 'x'"), package("torch", "2.9")],
        [package("timm", "1.0", "@@ not a requirement"), package("torch", "2.9")],
        [package("timm", "1.0", "torch>=2"), package("torch", "")],
        [package("timm", "1.0", "torch>=2"), package("torch", "2.15.0+cpu")],
    ],
)
def test_what_is_no_finding(others: list[Installed]) -> None:
    assert unmet_requirements([EDGETL, *others]) == []


def test_what_a_used_package_requires_is_compared() -> None:
    (finding,) = unmet_requirements(
        [EDGETL, package("timm", "1.0", "torch (>=2.14)"), package("torch", "2.9.0")]
    )
    assert finding.subject == "torch"


def test_one_finding_for_one_bound() -> None:
    both = [package(name, "1", "numpy<2") for name in ("a", "b")]
    assert len(unmet_requirements([*both, package("numpy", "2.1")])) == 1


def test_without_the_packaging_library_nothing_is_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    assert unmet_requirements([EDGETL, package("numpy", "1.0")]) == []
