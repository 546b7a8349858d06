from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from edgetl.errors import WorkerError
from edgetl.pipeline import process
from edgetl.pipeline.config import load_config
from edgetl.pipeline.events import Event, ignore
from edgetl.pipeline.run_folder import RunFolder


def run_with(script: str, tiny_config: Path, tmp_path: Path, monkeypatch, listen=ignore) -> None:
    """Run a stage whose interpreter is a shell script."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\nread job\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(process.sys, "executable", str(program))
    root = tmp_path / "run"
    root.mkdir()
    process.run_in_process("export", "key", load_config(tiny_config), RunFolder(root), listen)


def test_a_death_by_signal_is_told_with_how_to_resume(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WorkerError) as caught:
        run_with("kill -9 $$", tiny_config, tmp_path, monkeypatch)
    assert "SIGKILL" in caught.value.got and "out of memory" in caught.value.got
    assert "again to resume" in caught.value.fix


def test_a_crash_is_told_with_its_last_words_and_the_log(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WorkerError) as caught:
        run_with("echo 'it broke' >&2; exit 7", tiny_config, tmp_path, monkeypatch)
    assert caught.value.got == "exit code 7: it broke"
    assert str(tmp_path / "run" / "logs" / "export.log") in caught.value.fix


def test_events_and_errors_arrive_as_they_were_sent(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Event] = []
    script = (
        """echo '{"event": {"stage": "export", "kind": "note", "text": "hello"}}'\n"""
        """echo '{"error": {"class": "WorkerError", "subject": "s", "got": "g","""
        """ "expected": "e", "fix": "f"}}'"""
    )
    with pytest.raises(WorkerError, match="s: got g; expected e; to fix: f"):
        run_with(script, tiny_config, tmp_path, monkeypatch, heard.append)
    assert [event.text for event in heard] == ["hello"]


def test_an_interrupt_stops_the_stage_and_removes_what_it_left(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    # The stage ignores the interrupt: it is killed, and what it left is removed.
    script = (
        f"trap '' INT; mkdir {tmp_path}/run/.export.abc; echo $$ > {tmp_path}/pid\n"
        """echo '{"event": {"stage": "export", "kind": "note"}}'; while :; do :; done"""
    )
    monkeypatch.setattr(process, "_GRACE_SECONDS", 0.1)
    with pytest.raises(KeyboardInterrupt):
        run_with(script, tiny_config, tmp_path, monkeypatch, interrupt)
    assert not (tmp_path / "run" / ".export.abc").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)


def test_an_end_without_a_result_is_no_success(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As code of the user's own that calls sys.exit(0).
    with pytest.raises(WorkerError, match="exit code 0"):
        run_with("exit 0", tiny_config, tmp_path, monkeypatch)


def test_only_stages_that_do_not_measure_get_settings_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = ("OMP_WAIT_POLICY", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")
    for name in settings:
        monkeypatch.delenv(name, raising=False)
    assert not set(settings) & process.stage_environment("bench").keys()
    assert set(settings) <= process.stage_environment("gate").keys()
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert process.stage_environment("gate")["OMP_WAIT_POLICY"] == "ACTIVE"
