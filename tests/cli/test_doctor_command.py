from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgetl.cli.main import main
from edgetl.doctor import examine as examine_module
from edgetl.doctor.checks import Check


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    """What the tries of the next `doctor` find."""
    found = [Check(backend="openvino", device="CPU", outcome="works", expected=True)]
    monkeypatch.setattr(examine_module, "run_checks", lambda **_: tuple(found))
    monkeypatch.setattr(examine_module, "conflicts", lambda *_, **__: [])
    return found


def broken() -> Check:
    return Check(
        backend="openvino", device="GPU", outcome="failed", expected=True, note="gone", fix="mend"
    )


def test_all_well_is_exit_0(checked: list[Check], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.endswith("nothing to mend\n")
    assert main(["doctor", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_something_to_mend_is_exit_1(
    checked: list[Check], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checked.append(broken())
    result = tmp_path / "doctor.json"
    assert main(["doctor", "--json", str(result)]) == 1
    assert "PROBLEM  openvino on GPU" in capsys.readouterr().out
    document = json.loads(result.read_bytes())
    assert document["schema"] == "edgetl.doctor/1" and document["ok"] is False
    (finding,) = (one for one in document["findings"] if one["kind"] == "problem")
    assert finding["fix"] == "mend"


@pytest.mark.parametrize("options", [["--quiet"], ["--json", "-"]])
def test_a_problem_is_never_silent(
    checked: list[Check], options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    checked.append(broken())
    assert main(["doctor", *options]) == 1
    shown = capsys.readouterr()
    assert "to fix    mend" in shown.err
    if "--json" in options:
        assert json.loads(shown.out)["ok"] is False
    else:
        assert shown.out == ""


def test_results_are_not_overwritten(checked: list[Check], tmp_path: Path) -> None:
    result = tmp_path / "doctor.json"
    result.write_text("precious")
    assert main(["doctor", "--json", str(result)]) == 2
    assert result.read_text() == "precious"


@pytest.mark.parametrize("timeout", ["0", "-1", "x"])
def test_a_timeout_that_is_none(timeout: str) -> None:
    assert main(["doctor", "--timeout", timeout]) == 2
