from __future__ import annotations

from collections.abc import Sequence

import pytest

from edgetl.doctor.conflicts import conflicts
from edgetl.doctor.finding import Finding
from edgetl.doctor.packages import Installed

CUDA = ('nvidia-cudnn-cu12==9.1; platform_system == "Linux"',)


def package(
    name: str, version: str = "1.0", *, requires: Sequence[str] = (), folder: str = ""
) -> Installed:
    return Installed(name=name, version=version, requires=tuple(requires), folder=folder)


def found(*installed: Installed, platform: str = "linux", running: str = "") -> list[Finding]:
    return conflicts(installed, platform=platform, running=running)


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["onnxruntime", "onnxruntime-gpu"], "onnxruntime-gpu"),
        (["onnxruntime", "onnxruntime-openvino"], "onnxruntime-openvino"),
        (["opencv-python", "opencv-python-headless"], "opencv-python-headless"),
        (["openvino", "openvino-nightly"], "openvino-nightly"),
        (["openvino", "openvino-dev"], "openvino"),
        (["pillow", "pillow-simd"], "pillow-simd"),
    ],
)
def test_packages_that_write_over_each_other(names: list[str], kept: str) -> None:
    (finding,) = found(*map(package, names))
    assert finding.kind == "problem"
    assert all(name in finding.subject for name in names)
    assert finding.fix == f"pip uninstall -y {' '.join(names)} && pip install {kept}"
    for name in names:
        assert found(package(name)) == []


@pytest.mark.parametrize(
    ("torch", "requires", "vision"),
    [
        ("2.9.0+cpu", (), "0.24.0+cu128"),
        ("2.9.0+cpu", (), "0.24.0"),
        ("2.9.0+cu128", (), "0.24.0+cpu"),
        ("2.9.0", CUDA, "0.24.0+cpu"),
        ("2.9.0+cu126", (), "0.24.0+cu128"),
        ("2.9.0+rocm6.4", (), "0.24.0+cu128"),
    ],
)
def test_torch_and_torchvision_of_two_builds(
    torch: str, requires: tuple[str, ...], vision: str
) -> None:
    (finding,) = found(package("torch", torch, requires=requires), package("torchvision", vision))
    assert finding.kind == "problem"
    assert torch in finding.got and vision in finding.got
    assert finding.fix.startswith("pip install --force-reinstall torch torchvision")


@pytest.mark.parametrize(
    ("torch", "requires", "vision", "platform"),
    [
        ("2.9.0", CUDA, "0.24.0", "linux"),
        ("2.9.0", CUDA, "0.24.0+cu128", "linux"),
        ("2.9.0+cu128", CUDA, "0.24.0", "linux"),
        ("2.9.0+cpu", (), "0.24.0+cpu", "linux"),
        ("2.9.0+cpu", (), "0.24.0", "darwin"),
        ("2.9.0", (), "0.24.0+cpu", "linux"),
        ("2.9.0+ours", (), "0.24.0+cpu", "linux"),
    ],
)
def test_torch_and_torchvision_that_go_together(
    torch: str, requires: tuple[str, ...], vision: str, platform: str
) -> None:
    both = package("torch", torch, requires=requires), package("torchvision", vision)
    assert found(*both, platform=platform) == []


def test_torch_of_another_version_than_torchvision_wants() -> None:
    edgetl = package("edgetl", requires=('torchvision>=0.24; extra == "train"',))
    vision = package("torchvision", "0.24.0+cpu", requires=("torch==2.9.0",))
    (finding,) = found(edgetl, package("torch", "2.8.0+cpu"), vision)
    assert finding.kind == "problem"
    assert finding.fix == "pip install 'torch==2.9.0'"
    assert found(edgetl, package("torch", "2.9.0+cpu"), vision) == []


def test_two_versions_in_one_folder() -> None:
    two = [package("protobuf", version, folder="/site") for version in ("5.0", "6.0")]
    (finding,) = found(*two)
    assert "5.0 and 6.0 in one folder, /site" in finding.got
    # Another environment below this one is hidden, as it should be.
    assert found(two[0], package("protobuf", "6.0", folder="/below")) == []


def test_two_edgetls() -> None:
    one, other = (package("edgetl", folder=folder) for folder in ("/a", "/b"))
    (finding,) = found(one, other)
    assert finding.subject == "edgetl" and "/a and in /b" in finding.got
    (finding,) = found(one, running="/checkout")
    assert "/checkout" in finding.got
    assert found(one, one, running="/a") == []
    assert found(running="/checkout") == []


def test_protobuf_in_python_is_slow_and_no_problem() -> None:
    variables = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    (finding,) = conflicts([package("protobuf")], environment=variables)
    assert finding.kind == "note" and finding.fix.startswith("unset ")
    assert conflicts([], environment=variables) == []
    assert conflicts([package("protobuf")], environment={}) == []


def test_a_clean_environment_has_none() -> None:
    assert found() == []
    assert found(package("edgetl", folder="/a"), package("numpy", "2.0"), running="/a") == []
