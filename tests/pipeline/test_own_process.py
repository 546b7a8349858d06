from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgetl.errors import DataError, WorkerError
from edgetl.pipeline.events import Event, Reporter, ignore
from edgetl.pipeline.own_process import in_own_process

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def found_by_the_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def add(reporter: Reporter, a: int, b: int) -> tuple[int, int, str | None]:
    reporter.note(f"{a} and {b}")
    print("to the log")
    return a + b, os.getpid(), os.environ.get("OMP_WAIT_POLICY")


def refuse(_reporter: Reporter) -> None:
    raise DataError("the data", got="nothing", expected="something", fix="add some")


def die(_reporter: Reporter) -> None:
    print("last words", file=sys.stderr, flush=True)
    os._exit(7)


def break_down(_reporter: Reporter) -> None:
    raise RuntimeError("a fault")


def test_a_result_comes_back_and_events_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    heard: list[Event] = []
    before = dict(os.environ)
    log = tmp_path / "log"
    total, process, policy = in_own_process(add, 2, 3, stage="sum", log=log, listen=heard.append)
    assert total == 5 and process != os.getpid()
    assert policy == "PASSIVE" and dict(os.environ) == before
    assert [(one.stage, one.text) for one in heard] == [("sum", "2 and 3")]
    assert log.read_text() == "to the log\n"


def test_an_error_keeps_its_class_and_parts(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        in_own_process(refuse, stage="sum", log=tmp_path / "log", listen=ignore)
    assert refused.value.fix == "add some"


@pytest.mark.parametrize(("function", "words"), [(die, "last words"), (break_down, "a fault")])
def test_a_process_that_dies_is_told_with_its_last_words(
    tmp_path: Path, function: object, words: str
) -> None:
    with pytest.raises(WorkerError, match=words):
        in_own_process(function, stage="sum", log=tmp_path / "log", listen=ignore)  # type: ignore[arg-type]


_INTERRUPTED = """
import os, signal, sys, threading, time
from pathlib import Path
from edgetl.pipeline.own_process import in_own_process

def wait(reporter, left):
    reporter.note("ready")
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        Path(left).write_text("cleaned up")
        raise

def hear(event):
    threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        in_own_process(wait, "left", stage="sum", log=Path("log"), listen=hear)
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_an_interrupt_lets_the_process_clean_up(tmp_path: Path) -> None:
    # In a program of its own: the interrupt is for whoever asked, not for the tests.
    (tmp_path / "program.py").write_text(_INTERRUPTED)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
    assert (tmp_path / "left").read_text() == "cleaned up"
