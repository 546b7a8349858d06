"""Writes windows of a simulated accelerometer, three axes at 32 Hz for two seconds.

Four activities differ in rhythm, strength and regularity; each wearer has a tilt, a strength and
a pace of their own. The numbers are simulated, not recorded.

    python examples/sensor_windows/make_windows.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
ACTIVITIES = ("rest", "walk", "run", "stairs")
PACE_HZ = {"rest": 0.0, "walk": 1.8, "run": 2.8, "stairs": 1.4}
STRENGTH = {"rest": 0.02, "walk": 0.35, "run": 1.1, "stairs": 0.45}
SAMPLES, RATE_HZ = 64, 32


def window(activity: str, generator: np.random.Generator) -> np.ndarray:
    """float32 [3, 64], in units of gravity."""
    time = np.arange(SAMPLES) / RATE_HZ
    pace = PACE_HZ[activity] * generator.normal(1, 0.08)
    phase = generator.uniform(0, 2 * np.pi)
    strength = STRENGTH[activity] * np.exp(generator.normal(0, 0.2))
    steps = np.sin(2 * np.pi * pace * time + phase)
    second = 0.6 if activity == "stairs" else 0.25
    steps = steps + second * np.sin(4 * np.pi * pace * time + 2 * phase)
    tilt = generator.normal([0, 0, 1], 0.15)
    direction = generator.normal([0.3, 0.2, 1], 0.2)
    noise = generator.normal(0, 0.08, (3, SAMPLES))
    return (tilt[:, None] + direction[:, None] * strength * steps + noise).astype(np.float32)


def main(count: int = 4000) -> None:
    """As many windows of each activity."""
    generator = np.random.default_rng(0)
    labels = np.arange(count) % len(ACTIVITIES)
    windows = np.stack([window(ACTIVITIES[label], generator) for label in labels])
    path = HERE / "windows.npz"
    np.savez_compressed(path, inputs=windows, labels=labels, classes=np.array(ACTIVITIES))
    print(f"wrote {path}: {windows.shape}")


if __name__ == "__main__":
    main()
