"""How many processes train together, and where: said without torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgetl.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from edgetl.pipeline.config import ReleaseConfig


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How many processes train together, and where.

    Attributes:
        processes: On this machine; one a GPU where there are GPUs.
        machines: How many machines take part, each with as many processes.
        rank: Which of them this is; 0 runs the stages and writes.
        address: Where machine 0 is reached, ``HOST:PORT``; needed with several machines.

    Raises:
        UsageError: For numbers or an address that do not fit together.

    Example:
        >>> Launch(processes=4, machines=2, rank=1, address="node0:29500").world
        8
    """

    processes: int = 1
    machines: int = 1
    rank: int = 0
    address: str | None = None

    def __post_init__(self) -> None:
        if self.machines == 1 and (self.address is not None or self.rank != 0):
            raise UsageError(
                "--address, --rank",
                got="given for one machine",
                expected="the number of machines that take part",
                fix="add --machines N, or leave both out",
            )
        if self.machines > 1 and self.address is None:
            raise UsageError(
                f"--machines {self.machines}",
                got="no --address",
                expected="where machine 0 is reached, the same on every machine",
                fix="add --address HOST:PORT, and --rank 0 to the last machine's number less one",
            )
        if not 0 <= self.rank < self.machines:
            raise UsageError(
                f"--rank {self.rank}",
                got=f"no rank of {self.machines} machines",
                expected=f"0 to {self.machines - 1}",
                fix="number the machines from 0; 0 is the one that --address names",
            )
        if self.address is not None:
            _check_address(self.address)

    @property
    def world(self) -> int:
        """How many processes train together, over all machines."""
        return self.processes * self.machines

    @property
    def alone(self) -> bool:
        """Whether one process trains, as without a launcher."""
        return self.world == 1

    def to_json(self) -> dict[str, Any]:
        """As plain data, which ``Launch(**data)`` takes."""
        return asdict(self)


ALONE = Launch()
"""One process on one machine."""


def _check_address(address: str) -> None:
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise UsageError(
            f"--address {address}",
            got="no HOST:PORT",
            expected="machine 0's name or address, and a free port of it",
            fix="write it as node0:29500",
        )


def check_launch(launch: Launch, config: ReleaseConfig) -> None:
    """Refuse early what several processes cannot train. Nothing is imported or started.

    Raises:
        ConfigError: When there is nothing to train, or a step has fewer samples than processes.
    """
    if launch.alone:
        return
    if config.finetune is None:
        raise ConfigError(
            f"--processes {launch.processes}",
            got="a config with [model], which is trained already",
            expected="a network to train",
            fix="leave --processes out",
        )
    if config.finetune.batch_size < launch.world:
        raise ConfigError(
            "finetune.batch_size",
            got=f"{config.finetune.batch_size} samples a step for {launch.world} processes",
            expected="at least one sample a process: batch_size counts them all together",
            fix="raise batch_size, or start fewer processes",
        )
