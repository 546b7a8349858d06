"""Where a search keeps its trials, so that it resumes and several processes share it."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.errors import UsageError
from edgetl.extras import extra

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_BUSY_SECONDS = 60
# The first epochs say little: a low learning rate is behind there, and may end ahead.
_WARM_UP_EPOCHS = 3
_SQLITE = "sqlite:///"
_HOST, _PROCESS = "host", "process"


def open_study(storage: str, name: str) -> Study:
    """The study of that name, new or as far as it is.

    Args:
        storage: A file, which becomes an Optuna journal, or the URL of a database that
            SQLAlchemy knows, such as ``sqlite:///trials.db``.
        name: The study's: two searches of other data, values or ranges have other names.

    Raises:
        UsageError: When the storage cannot be opened.
        MissingExtraError: Without Optuna.
    """
    with extra("search"):
        import optuna
        from optuna.pruners import MedianPruner
    # Its own lines would repeat ours, on a stream that is a log.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(
            storage=_backend(storage),
            study_name=name,
            direction="minimize",
            load_if_exists=True,
            pruner=MedianPruner(n_startup_trials=5, n_warmup_steps=_WARM_UP_EPOCHS),
        )
    except Exception as error:
        raise UsageError(
            f"--storage {storage}",
            got=f"{type(error).__name__}: {str(error).strip().splitlines()[0]}",
            expected="a file, or the URL of a database that SQLAlchemy can open",
            fix="write it as --storage trials.log or --storage sqlite:///trials.db",
        ) from error


def absolute_storage(storage: str) -> str:
    """A storage whose file is found from any working folder, such as that of a cluster's node.

    Example:
        >>> absolute_storage("sqlite:////data/trials.db"), absolute_storage("/data/trials.log")
        ('sqlite:////data/trials.db', '/data/trials.log')
    """
    if storage.startswith(_SQLITE):
        return f"{_SQLITE}{Path(storage.removeprefix(_SQLITE)).absolute()}"
    return storage if "://" in storage else str(Path(storage).absolute())


def _backend(storage: str) -> object:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if "://" not in storage:
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(storage))
    sqlite = storage.startswith(_SQLITE)
    # Another process's commit is waited for, not failed at.
    arguments = {"connect_args": {"timeout": _BUSY_SECONDS}} if sqlite else {}
    return RDBStorage(storage, engine_kwargs=arguments)


def signature() -> dict[str, str | int]:
    """Who runs a trial, for its attributes."""
    return {_HOST: socket.gethostname(), _PROCESS: os.getpid()}


def is_running(trial: FrozenTrial) -> bool:
    """Whether a trial that is said to run has a process; of another machine it is believed.

    A killed process leaves its trial running for ever: on this machine that shows.
    """
    attributes = trial.user_attrs
    if attributes.get(_HOST) != socket.gethostname():
        return True
    try:
        os.kill(int(attributes[_PROCESS]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a file's lock: processes of one machine that begin together, one after the other."""
    with path.open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
