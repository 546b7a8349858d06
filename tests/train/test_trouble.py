"""Memory that runs out and numbers that are no longer finite are said with what to try."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgetl.errors import CheckpointError, ConfigError
from edgetl.train.config import FinetuneConfig
from edgetl.train.trouble import (
    diverged,
    is_divergence,
    last_good,
    memory_said,
    with_last_good,
)


def _config(**changes: int) -> FinetuneConfig:
    return FinetuneConfig(architecture="mlp", weights="none", recipe="full", **changes)  # type: ignore[arg-type]


def _cuda() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def _cpu() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)


def _python() -> None:
    raise MemoryError


@pytest.mark.parametrize("fill", [_cuda, _cpu, _python])
def test_full_memory_names_the_batch_size_to_try(fill: object) -> None:
    with pytest.raises(ConfigError) as caught, memory_said(_config(batch_size=48, accumulate=2)):
        fill()  # type: ignore[operator]
    assert caught.value.subject == "batch_size" and caught.value.exit_code == 2
    # The same 96 images a step.
    assert "batch_size = 24 and accumulate = 4" in caught.value.fix


def test_what_cannot_be_halved_is_said_and_other_errors_pass() -> None:
    with pytest.raises(ConfigError, match="smaller network"), memory_said(_config(batch_size=2)):
        _python()
    with pytest.raises(RuntimeError, match="shapes"), memory_said(_config()):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def test_the_last_good_epoch_is_where_to_go_on_from() -> None:
    path = Path("out/last-good/model.safetensors")
    first = diverged("a loss of nan", "step 2 of epoch 4", 3e-2)
    assert "weights =" not in str(first) and last_good(first) is None
    error = with_last_good(first, 3, path)
    for part in ("step 2 of epoch 4", "0.03", "0.003", f'weights = "{path}"', "epoch 3"):
        assert part in str(error)
    assert last_good(error) == path
    other = CheckpointError("weights", got="x", expected="y", fix='write weights = "z"')
    assert not is_divergence(other) and last_good(other) is None
