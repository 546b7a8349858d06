"""What goes wrong in training, said so that the next run goes on: divergence and full memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from edgetl.errors import CheckpointError, ConfigError
from edgetl.train.config import FinetuneConfig

_SUBJECT = "training"
# What PyTorch's allocators on the CPU say, which is a plain RuntimeError.
_CPU_FULL = ("can't allocate memory", "not enough memory")


def diverged(got: str, where: str, rate: float) -> CheckpointError:
    """The error of a run whose numbers are no longer finite.

    Args:
        got: What was seen.
        where: The step and the epoch.
        rate: The learning rate there.
    """
    return CheckpointError(
        _SUBJECT,
        got=f"{got} at {where}, learning rate {rate:.3g}",
        expected="finite numbers",
        fix=f"lower the learning rate, say to a tenth ({rate / 10:.2g}), or look for inputs and "
        "starting weights that are too large",
    )


def is_divergence(error: CheckpointError) -> bool:
    """Whether it is what `diverged` made.

    Example:
        >>> is_divergence(diverged("a loss of nan", "step 1 of epoch 2", 0.1))
        True
    """
    return error.subject == _SUBJECT


def with_last_good(error: CheckpointError, epoch: int, weights: Path) -> CheckpointError:
    """The same error, with the weights to go on from.

    Args:
        error: What `diverged` made.
        epoch: The best epoch before.
        weights: The file of its weights.
    """
    return CheckpointError(
        error.subject,
        got=error.got,
        expected=error.expected,
        fix=f'{error.fix}; weights = "{weights}" goes on from epoch {epoch}, the best so far',
    )


def last_good(error: CheckpointError) -> Path | None:
    """The file that `with_last_good` named; None when the error names none.

    Example:
        >>> error = diverged("a loss of nan", "step 1 of epoch 2", 0.1)
        >>> last_good(error), str(last_good(with_last_good(error, 1, Path("good.safetensors"))))
        (None, 'good.safetensors')
    """
    found = re.search(r'weights = "([^"]+)"', error.fix)
    return Path(found[1]) if found and is_divergence(error) else None


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
