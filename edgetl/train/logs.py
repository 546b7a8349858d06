"""What TensorBoard shows of a run, written while it trains."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from edgetl.extras import extra
from edgetl.train.state import EpochRecord


class Logs:
    """A folder of event files, one more for each call: for a `with` block.

    They are beside a run's result, never part of it: they hold times.

    Args:
        folder: Made when it is not there.
        done: How many epochs earlier calls had finished; what they wrote of later ones is hidden.

    Raises:
        MissingExtraError: When TensorBoard is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Logs(Path(folder), done=0):
        ...         len(list(Path(folder).iterdir()))
        1
    """

    def __init__(self, folder: Path, *, done: int) -> None:
        with extra("train"):
            from torch.utils.tensorboard import SummaryWriter
        self._writer = SummaryWriter(str(folder), purge_step=done + 1)

    def __enter__(self) -> Logs:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()

    def epoch(self, record: EpochRecord, seconds: float) -> None:
        """Write an epoch's figures, and how long it took."""
        values = asdict(record)
        for name in ("loss", "learning_rate"):
            self._add(f"train/{name}", values[name], record.epoch)
        for name in ("top1", "nll", "ece", "entropy"):
            self._add(f"val/{name}", values[name], record.epoch)
        for name, value in record.terms.items():
            self._add(f"terms/{name}", value, record.epoch)
        self._add("seconds", seconds, record.epoch)
        self._writer.flush()

    def _add(self, tag: str, value: float, epoch: int) -> None:
        self._writer.add_scalar(tag, value, epoch)
