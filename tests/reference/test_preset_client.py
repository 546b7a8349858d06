from __future__ import annotations

import subprocess
import sys

import pytest

from edgetl.errors import ConfigError, MissingExtraError, WorkerError
from edgetl.reference.preset_client import read_preset
from edgetl.spec import ImageInput


def test_a_preset_is_read_in_another_process_without_torch_here() -> None:
    code = (
        "import sys; from edgetl.reference.preset_client import read_preset; "
        "print(read_preset('torchvision', 'ResNet18_Weights.IMAGENET1K_V1')); "
        "sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == repr(ImageInput(height=224, width=224, resize_shorter=256))


def test_an_error_comes_back_as_itself() -> None:
    with pytest.raises(ConfigError, match="resnet50") as caught:
        read_preset("timm", "--resnet5O")
    assert caught.value.subject == "timm model '--resnet5O'"


class Done:
    returncode = 1

    def __init__(self, stdout: bytes) -> None:
        self.stdout = stdout
        self.stderr = b"Killed\n"


@pytest.mark.parametrize("stdout", [b"", b"warning\n", b"[1]\n", b"\xff\n", b'{"input'])
def test_a_process_that_says_nothing_is_an_error(monkeypatch, stdout) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: Done(stdout))
    with pytest.raises(WorkerError, match="exit status 1, saying: Killed"):
        read_preset("timm", "resnet50")


def test_a_missing_library_is_said_as_missing(monkeypatch) -> None:
    said = (
        b'{"error": "MissingExtraError", "subject": "s", "got": "g", "expected": "e", "fix": "f"}'
    )
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: Done(b"noise\n" + said))
    with pytest.raises(MissingExtraError):
        read_preset("timm", "resnet50")


def test_a_name_that_no_process_can_take_is_an_error() -> None:
    with pytest.raises(WorkerError, match="null"):
        read_preset("timm", "resnet\0")
