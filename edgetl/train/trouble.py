"""What goes wrong in training, said so that the next run goes on: divergence and full memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from edgetl.errors import CheckpointError, ConfigError
from edgetl.train.config import FinetuneConfig

# What PyTorch's allocators on the CPU say, which is a plain RuntimeError.
_CPU_FULL = ("can't allocate memory", "not enough memory")


def diverged(got: str, where: str, rate: float, last_good: tuple[int, Path] | None) -> Exception:
    """The error of a run whose numbers are no longer finite.

    Args:
        got: What was seen.
        where: The step and the epoch.
        rate: The learning rate there.
        last_good: The best epoch before, and the file of its weights; None before the first.
    """
    lower = f"lower the learning rate, say to a tenth ({rate / 10:.2g})"
    if last_good is None:
        fix = f"{lower}, or look for inputs and starting weights that are too large"
    else:
        epoch, path = last_good
        fix = f'{lower}; weights = "{path}" goes on from epoch {epoch}, the best so far'
    return CheckpointError(
        "training",
        got=f"{got} at {where}, learning rate {rate:.3g}",
        expected="finite numbers",
        fix=fix,
    )


@contextmanager
def memory_said(config: FinetuneConfig) -> Iterator[None]:
    """Inside the block, memory that runs out becomes an error with the batch size to try.

    Raises:
        ConfigError: In place of what PyTorch or Python raised.

    Example:
        >>> config = FinetuneConfig(architecture="mlp", weights="none", recipe="full")
        >>> with memory_said(config):
        ...     raise torch.OutOfMemoryError("CUDA out of memory.")
        Traceback (most recent call last):
        edgetl.errors.ConfigError: batch_size: got ... batch_size = 32 and accumulate = 2...
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_full(error):
            raise
        raise _too_large(config) from error


def _is_full(error: Exception) -> bool:
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(words in str(error) for words in _CPU_FULL)


def _too_large(config: FinetuneConfig) -> ConfigError:
    size, together = config.batch_size, config.batch_size * config.accumulate
    half = size // 2
    if half >= 2:
        fix = (
            f"write batch_size = {half} and accumulate = {-(-together // half)}, the same step in "
            "smaller parts"
        )
    else:
        fix = "take a smaller network or input, or a device with more memory"
    return ConfigError(
        "batch_size",
        got=f"{size} samples at a time, for which the memory does not suffice",
        expected="a training step that fits into the device's memory",
        fix=fix,
    )
