"""What a gate must not be talked into: bad arguments, bad folders, and names that are commands."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from edgetl.cli.main import main
from edgetl.gate import Predictions
from tests.pipeline.helpers.colours import write_pictures, write_release

HURT = (
    "a\n::error::b",
    "50 %0A::stop-commands::x",
    "<script>alert(1)</script>&",
    "| cell | ]]> `code` \x07\x1b[31m",
    "##[error]c\r\u2028d",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    write_release(folder, "1.0")
    write_release(folder, "2.0", classes=("red", "green", "violet"))
    write_pictures(folder / "photos", 6)
    (folder / "empty").mkdir()
    (folder / "text.txt").write_text("text")
    (folder / "nan.toml").write_text("max_nll_increase = nan")
    (folder / "typo.toml").write_text("max_acuracy_drop = 0.01")
    (folder / "measured.toml").write_text("max_p50_ratio = 1.0")
    answers = np.tile([0.6, 0.4], (4, 1))
    Predictions(probabilities=answers, labels=[0, 0, 1, 1]).save(folder / "labelled.npz")
    Predictions(probabilities=answers, ids=list("abcd")).save(folder / "plain.npz")
    Predictions(probabilities=answers).save(folder / "nothing.npz")
    np.savez(folder / "one.npz", probabilities=np.ones((4, 1)), labels=np.zeros(4, int))
    return folder


BOTH = "--bundles colours-1.0.edgetl colours-1.0.edgetl"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (f"{BOTH}", "neither or both of --data and --unlabelled"),
        (f"{BOTH} --data folder:photos --unlabelled photos", "neither or both"),
        (f"{BOTH} --data folder:photos x.toml", "--bundles beside"),
        (f"{BOTH} --data folder:nowhere", "no such folder"),
        (f"{BOTH} --data folder:photos --json photos/r.json", "a result inside the input"),
        (f"{BOTH} --unlabelled photos --junit photos/r.xml", "a result inside the input"),
        (f"{BOTH} --data foldr:photos", "did you mean 'folder:photos'?"),
        (f"{BOTH} --data folder:photos --policy nan.toml", "finite"),
        (f"{BOTH} --data folder:photos --policy typo.toml", "did you mean 'max_accuracy_drop'?"),
        (f"{BOTH} --data folder:photos --bench b.json", "--bench"),
        (f"{BOTH} --data folder:photos --dry-run", "--dry-run"),
        (f"{BOTH} --data folder:photos --variant ov-int8", "'ov-int8'"),
        (f"{BOTH} --data folder:photos --backend tensorrt", "'tensorrt'"),
        (f"{BOTH} --unlabelled", "no folder"),
        ("x.toml --unlabelled photos --dry-run", "beside --unlabelled"),
        (f"{BOTH} --unlabelled nowhere", "no such folder"),
        (f"{BOTH} --unlabelled empty", "no input among 0 files"),
        (f"{BOTH} --unlabelled text.txt", "a file"),
        (f"{BOTH} --unlabelled photos --json - --annotations github", "--annotations beside it"),
        ("--bundles colours-1.0.edgetl nothing.edgetl --data folder:photos", "nothing there"),
        ("--bundles colours-1.0.edgetl photos --data folder:photos", "manifest"),
        ("--bundles colours-1.0.edgetl colours-2.0.edgetl --data folder:photos", "'blue'"),
        ("--bundles colours-1.0.edgetl colours-2.0.edgetl --unlabelled photos", "'blue'"),
        ("--predictions labelled.npz labelled.npz --data folder:photos", "--bundles"),
        ("--predictions labelled.npz labelled.npz --backend auto", "--bundles"),
        ("--predictions labelled.npz labelled.npz --policy measured.toml", "max_p50_ratio"),
        ("--predictions plain.npz plain.npz", "--unlabelled"),
        ("--predictions plain.npz plain.npz --unlabelled photos", "a folder beside"),
        ("--predictions nothing.npz nothing.npz --unlabelled", "store ids"),
        ("--predictions one.npz one.npz", "two classes"),
        ("--predictions one.npz one.npz --unlabelled", "two classes"),
        ("--predictions plain.npz labelled.npz --annotations gitlab", "one of github, none"),
        ("--unlabelled photos", "neither or both"),
        ("nowhere.toml --unlabelled photos", "nothing there"),
        ("text.txt --unlabelled photos --policy nan.toml", "--policy"),
    ],
)
def test_each_is_one_message_and_exit_2(place, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(place)
    assert main(["gate", *arguments.split()]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and said in shown.err, shown.err
    assert "Traceback" not in shown.err and "fault of edgetl" not in shown.err
    assert [line.split()[0] for line in shown.err.splitlines()] == [
        *("edgetl:", "got", "expected", "to")
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_one_message(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(place)
    (tmp_path / "closed").mkdir(mode=0)
    assert main(["gate", *BOTH.split(), "--unlabelled", str(tmp_path / "closed")]) == 2
    assert "permission denied" in capsys.readouterr().err


def test_names_cannot_begin_a_command_a_tag_or_a_line(tmp_path, capsys):
    """Classes and slices are others' text, and a log is read line by line for commands."""
    n = 1000
    labels = np.arange(n) % len(HURT)
    right = np.full((n, len(HURT)), 0.02) + 0.9 * np.eye(len(HURT))[labels]
    wrong = right.copy()
    wrong[::4] = np.roll(wrong[::4], 1, axis=1)
    slices = {"place": np.array(HURT)[labels]}
    for name, answers in (("ref", right), ("cand", wrong)):
        Predictions(
            labels=labels,
            probabilities=answers,
            classes=HURT,
            slices=slices,
            ids=[str(index) for index in range(n)],
        ).save(tmp_path / f"{name}.npz")
    (tmp_path / "policy.toml").write_text("max_slice_drop = 0.01\nmax_worst_class_drop = 0.01\n")
    command = ["gate", "--predictions", str(tmp_path / "ref.npz"), str(tmp_path / "cand.npz")]
    command += ["--policy", str(tmp_path / "policy.toml"), "--annotations", "github"]
    command += ["--junit", str(tmp_path / "v.xml"), "--markdown", str(tmp_path / "v.md")]
    assert main([*command, "--variant", HURT[0]]) == 1
    lines = capsys.readouterr().out.splitlines()
    commands = [line for line in lines if line.lstrip().startswith("::")]
    assert len(commands) >= len(HURT)
    for line in commands:
        assert re.fullmatch(r"::error title=[^:,\r\n]*::[^\r\n]*", line)
    assert not any("##[" in line for line in lines)
    page = (tmp_path / "v.md").read_text()
    assert "<script" not in page and "\x1b" not in page
    root = ElementTree.parse(tmp_path / "v.xml").getroot()
    assert {suite.tag for suite in root} == {"testsuite"}
    assert not root.findall(".//script")
