from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgetl.cli.main import main
from tests.data.helpers.pictures import make_folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos", {"cat": 3, "dog": 2})


def test_inspect_prints_the_card(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", f"folder:{photos}"]) == 0
    out, err = capsys.readouterr()
    assert "5 pictures, 2 classes" in out
    assert err == ""


def test_files_that_cannot_be_used_are_listed_and_no_failure(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "cat" / "empty.png").write_bytes(b"")
    assert main(["inspect", f"folder:{photos}"]) == 0
    out = capsys.readouterr().out
    assert "1 file cannot be used" in out
    assert "cat/empty.png: 0 bytes" in out
    assert main(["inspect", f"folder:{photos}", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["unusable"] == [{"file": "cat/empty.png", "why": "0 bytes"}]
    assert "cat/empty.png" in err


def test_the_json_goes_to_a_file_outside_the_data(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "card.json"
    assert main(["inspect", f"folder:{photos}", "--json", str(target), "--quiet"]) == 0
    assert json.loads(target.read_text())["schema"] == "edgetl.dataset-card/1"
    inside = photos / "card.json"
    assert main(["inspect", f"folder:{photos}", "--json", str(inside)]) == 2
    assert not inside.exists()


@pytest.mark.parametrize("source", ["folder:absent", "builtin:cats", "csv:", "npz:absent.npz"])
def test_data_that_cannot_be_opened(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", source]) == 2
    assert "to fix" in capsys.readouterr().err


def test_data_that_a_release_would_refuse(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "owl").mkdir()
    assert main(["inspect", f"folder:{photos}"]) == 2
    assert "no sample of 'owl'" in capsys.readouterr().out
    assert main(["inspect", f"folder:{photos}", "--quiet"]) == 2
    assert "no sample of 'owl'" in capsys.readouterr().err


def test_a_bundle_is_still_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / "absent.edgetl")]) == 2
    assert "a bundle" in capsys.readouterr().err
