"""What does a training step of edgetl cost beside the same step in a bare PyTorch loop?

Both train the same network on the same batches in memory: take a batch by its indices, normalise
it, forward, cross-entropy, backward, AdamW, a cosine schedule, the running loss. edgetl's side is
`finetune` itself, stopped between blocks of steps; whatever its loop does besides (order, checks,
progress, terms that are not there) is in its times, validation and states between epochs are not.
Every round runs both sides in random order; printed is the ratio of times, round by round, with
its 95 % interval. The aim is 1.05. Reading encoded pictures is measured beside reading them in one
thread, and for every side how many cores it kept busy.

    python benchmarks/bench_training_step.py --out training-step.json
"""

from __future__ import annotations

import argparse
import io
import math
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from outcome import note, parser_of, show, times, write
from PIL import Image
from torch import Tensor, nn

from edgetl.bench.compare import Ratio, ratio
from edgetl.bench.machine import activity
from edgetl.bench.measure import WarmUp, interleave
from edgetl.data.preprocess import to_inputs
from edgetl.data.samples import EncodedImages
from edgetl.data.store import SplitPart
from edgetl.reference.network import build_network
from edgetl.spec import IMAGENET_MEAN, IMAGENET_STD, ImageInput, SingleInput, TensorInput
from edgetl.train.config import FinetuneConfig
from edgetl.train.feed import Batches
from edgetl.train.loop import finetune
from edgetl.train.progress import TrainProgress

BARE, OURS = "bare loop", "edgetl"
MOST = 1.05
MLP_BATCH = 64
CLASSES = tuple(map(str, range(10)))


@dataclass(frozen=True, kw_only=True)
class Work:
    """A network, its input, how it is trained, and the images in memory."""

    name: str
    input: SingleInput
    config: FinetuneConfig
    part: SplitPart
    calls: int


@dataclass(kw_only=True)
class Cores:
    """Seconds that processors worked and that the clock showed, while something ran."""

    worked: float = 0.0
    passed: float = 0.0

    def time(self, run: Callable[[], Any]) -> Any:
        """Run it, and count."""
        worked, passed = time.process_time(), time.perf_counter()
        try:
            return run()
        finally:
            self.worked += time.process_time() - worked
            self.passed += time.perf_counter() - passed

    @property
    def busy(self) -> float:
        """How many cores worked in the mean."""
        return self.worked / self.passed


class _Stopped(Exception):
    pass


@dataclass(kw_only=True)
class Finetuned:
    """`finetune` in a thread of its own that takes steps only when a block asks for them."""

    work: Work
    out: Path
    cores: Cores = field(default_factory=Cores)
    _asked: queue.Queue[int] = field(default_factory=queue.Queue)
    _taken: queue.Queue[Any] = field(default_factory=queue.Queue)
    _seconds: list[float] = field(default_factory=list)
    _wanted: int = 1
    _mark: float = 0.0

    def __post_init__(self) -> None:
        threading.Thread(target=self._train, daemon=True).start()
        # The first step builds the network, and is nobody's.
        self._answer()

    def block(self, calls: int) -> NDArray[np.float64]:
        """So many steps, and the seconds of each."""

        def steps() -> NDArray[np.float64]:
            self._asked.put(calls)
            return self._answer()

        found: NDArray[np.float64] = self.cores.time(steps)
        return found

    def stop(self) -> None:
        """End the training."""
        self._asked.put(0)
        self._taken.get()

    def _answer(self) -> NDArray[np.float64]:
        taken = self._taken.get()
        if isinstance(taken, BaseException):
            raise taken
        assert isinstance(taken, np.ndarray)
        return taken

    def _hear(self, now: TrainProgress) -> None:
        if now.record is None:
            self._seconds.append(time.perf_counter() - self._mark)
            if len(self._seconds) == self._wanted:
                self._taken.put(np.array(self._seconds))
                self._seconds = []
                self._wanted = self._asked.get()
                if not self._wanted:
                    raise _Stopped
        # Also after an epoch's validation and state, which no step of a bare loop has.
        self._mark = time.perf_counter()

    def _train(self) -> None:
        work, part = self.work, self.work.part
        try:
            finetune(
                work.config,
                part,
                part.first(16),
                input=work.input,
                classes=CLASSES,
                out=self.out,
                progress=self._hear,
            )
        except BaseException as error:
            self._taken.put(error)


@dataclass(kw_only=True)
class Bare:
    """The loop that everybody writes."""

    work: Work
    cores: Cores = field(default_factory=Cores)

    def __post_init__(self) -> None:
        config, part = self.work.config, self.work.part
        self._data = Batches.of(part, self.work.input)
        torch.manual_seed(0)
        network = build_network(config.architecture, len(CLASSES), self.work.input)
        if isinstance(self.work.input, ImageInput):
            network = network.to(memory_format=torch.channels_last)
        self._steps = _bare_steps(network.train(), self._data, config, self.work.input)

    def block(self, calls: int) -> NDArray[np.float64]:
        """So many steps, and the seconds of each."""

        def steps() -> NDArray[np.float64]:
            found = np.empty(calls)
            for index in range(calls):
                start = time.perf_counter()
                next(self._steps)
                found[index] = time.perf_counter() - start
            return found

        # edgetl's side asks for deterministic kernels, in this process too; a bare loop does not.
        strict = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(False)
        try:
            found: NDArray[np.float64] = self.cores.time(steps)
        finally:
            torch.use_deterministic_algorithms(strict)
        return found


def _bare_steps(
    network: nn.Module, data: Batches, config: FinetuneConfig, input: SingleInput
) -> Iterator[float]:
    n = len(data.labels)
    batches = math.ceil(n / config.batch_size)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, batches * config.epochs)
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    while True:
        running = 0.0
        for indices in torch.randperm(n).tensor_split(batches):
            x = data.inputs[indices]
            if isinstance(input, ImageInput):
                x = (x.permute(0, 3, 1, 2).float() / 255 - mean) / std
            loss = nn.functional.cross_entropy(network(x), data.labels[indices])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            running += loss.item()
            yield running


def main() -> None:
    """Measure every network, then reading; print the tables, write the file."""
    options = _options()
    before = activity()
    torch.set_num_threads(options.threads)
    rows = [_measure(work, options) for work in _works(options)]
    show(
        f"a step of {options.batch} pictures (mlp: {MLP_BATCH}), {options.threads} threads "
        "[95 % interval]",
        ("network", "bare ms", "edgetl ms", "over bare", "cores", "within 1.05"),
        (
            (
                row["work"],
                f"{row['bare_ms']:.3g}",
                f"{row['edgetl_ms']:.3g}",
                times(Ratio(**row["edgetl_over_bare"])),
                f"{row['edgetl_cores']:.2f}",
                "yes" if row["kept"] else "not shown",
            )
            for row in rows
        ),
    )
    reading = _reading(options)
    show(
        "reading encoded pictures [95 % interval]",
        ("pictures", "one thread ms", "all cores ms", "all over one", "cores"),
        [
            (
                reading["pictures"],
                f"{reading['one_ms']:.3g}",
                f"{reading['all_ms']:.3g}",
                times(Ratio(**reading["all_over_one"])),
                f"{reading['all_cores']:.2f}",
            )
        ],
    )
    write(
        options,
        schema="edgetl.training-step-bench/1",
        before=before,
        body={
            "threads": options.threads,
            "size": options.size,
            "batch": options.batch,
            "most_over_bare": MOST,
            "rows": rows,
            "reading": reading,
        },
    )


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--size", type=int, default=96, help="of the pictures, in pixels (96)")
    parser.add_argument("--batch", type=int, default=32, help="pictures a step (32)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of PyTorch (2)")
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--calls", type=int, default=10, help="steps a round (10)")
    parser.add_argument("--seconds", type=float, default=300.0, help="at most, for each (300)")
    options = parser.parse_args()
    if options.quick:
        options.size, options.batch, options.threads = 32, 4, 1
        options.rounds, options.calls, options.seconds = 4, 5, 5.0
    return options


def _works(options: argparse.Namespace) -> Iterator[Work]:
    random = np.random.default_rng(0)
    n = 16 * options.batch
    images = random.integers(0, 256, (n, options.size, options.size, 3), dtype=np.uint8)
    side = ImageInput(height=options.size, width=options.size)
    for augment in ("none", "light"):
        yield Work(
            name=f"resnet18, {options.size} px" + (f", {augment}" if augment != "none" else ""),
            input=side,
            config=_config(options, architecture="resnet18", augment=augment),
            part=_part(images),
            calls=options.calls,
        )
    digits = random.integers(0, 256, (4096, 28, 28), dtype=np.uint8)
    yield Work(
        name="mlp, 784 features",
        input=TensorInput(shape=(784,)),
        config=_config(options, architecture="mlp", batch_size=MLP_BATCH),
        part=_part(digits),
        # A step is a thousandth of a second: caches that the other side cooled would decide.
        calls=10 * options.calls,
    )


def _config(options: argparse.Namespace, **changes: Any) -> FinetuneConfig:
    values = {
        "weights": "none",
        "recipe": "full",
        "device": "cpu",
        "epochs": 100_000,
        "batch_size": options.batch,
        "threads": options.threads,
    }
    return FinetuneConfig(**{**values, **changes})


def _part(images: NDArray[np.uint8]) -> SplitPart:
    n = len(images)
    labels = np.arange(n) % len(CLASSES)
    return SplitPart(ids=tuple(map(str, range(n))), labels=labels, images=images)


def _measure(work: Work, options: argparse.Namespace) -> dict[str, Any]:
    note(work.name)
    bare = Bare(work=work)
    with tempfile.TemporaryDirectory() as folder:
        ours = Finetuned(work=work, out=Path(folder))
        samples = interleave(
            {BARE: bare.block, OURS: ours.block},
            calls=work.calls,
            min_rounds=options.rounds,
            max_seconds=options.seconds,
            settle=2,
            warm_up=WarmUp(floor_seconds=0.2, cap_seconds=1.0 if options.quick else 10.0),
        )
        ours.stop()
    found = ratio(samples[OURS], samples[BARE])
    return {
        "work": work.name,
        "bare_ms": 1e3 * float(np.median(samples[BARE])),
        "edgetl_ms": 1e3 * float(np.median(samples[OURS])),
        "edgetl_over_bare": asdict(found),
        "kept": found.upper <= MOST,
        "bare_cores": bare.cores.busy,
        "edgetl_cores": ours.cores.busy,
        "rounds": samples.rounds,
        "steps_a_round": samples.calls,
    }


def _reading(options: argparse.Namespace) -> dict[str, Any]:
    """Pictures of four times the input's area, from JPEG to the network's size."""
    random = np.random.default_rng(0)
    count, side = (128 if options.quick else 512), 2 * options.size
    encoded = []
    for _ in range(count):
        rough = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(rough).resize((side, side)).save(file, "JPEG", quality=90)
        encoded.append(file.getvalue())
    pictures = EncodedImages(tuple(encoded))
    part = SplitPart(
        ids=tuple(map(str, range(count))), labels=np.zeros(count, np.int64), images=pictures
    )
    input = ImageInput(height=options.size, width=options.size)
    note(f"reading {count} pictures")
    one, every = Cores(), Cores()

    def block(cores: Cores, read: Callable[[], object]) -> Callable[[int], NDArray[np.float64]]:
        def timed(calls: int) -> NDArray[np.float64]:
            found = np.empty(calls)
            for index in range(calls):
                passed = cores.passed
                cores.time(read)
                found[index] = cores.passed - passed
            return found

        return timed

    samples = interleave(
        {
            "one": block(one, lambda: _as_tensor(to_inputs(pictures, input)["image"])),
            "all": block(every, lambda: Batches.of(part, input)),
        },
        calls=1,
        settle=0,
        min_rounds=4 if options.quick else 12,
        max_seconds=options.seconds,
        warm_up=WarmUp(floor_seconds=0.0, cap_seconds=0.001),
    )
    return {
        "pictures": f"{count} JPEG of {side} px to {options.size} px",
        "one_ms": 1e3 * float(np.median(samples["one"])),
        "all_ms": 1e3 * float(np.median(samples["all"])),
        "all_over_one": asdict(ratio(samples["all"], samples["one"])),
        "one_cores": one.busy,
        "all_cores": every.busy,
        "rounds": samples.rounds,
    }


def _as_tensor(batch: NDArray[Any]) -> Tensor:
    return torch.from_numpy(batch)


if __name__ == "__main__":
    main()
