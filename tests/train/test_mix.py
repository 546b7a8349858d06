"""Mixed batches: each is a blend of two of its images, and its targets say which."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edgetl.errors import ConfigError
from edgetl.train.mix import mix_batch

N = 6
IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (N, 16, 12, 3), dtype=np.uint8))
# A class for each image, so that the targets tell what was blended with what.
LABELS = torch.arange(N)


def mixed(
    seed: int, *, mixup: float = 0.0, cutmix: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, targets = mix_batch(
        IMAGES,
        LABELS,
        classes=N,
        mixup=mixup,
        cutmix=cutmix,
        generator=np.random.default_rng(seed),
    )
    assert targets is not None
    assert inputs.shape == IMAGES.shape and inputs.dtype == torch.float32
    assert targets.shape == (N, N) and targets.dtype == torch.float32
    assert torch.allclose(targets.sum(dim=1), torch.ones(N))
    return inputs, targets


def test_mixup_blends_images_as_it_blends_targets() -> None:
    inputs, targets = mixed(1, mixup=1.0)
    want = torch.einsum("nk,khwc->nhwc", targets, IMAGES.float())
    assert torch.allclose(inputs, want, atol=1e-3)
    assert 0.001 < float(targets[0, 0]) < 0.999


def test_cutmix_takes_each_pixel_whole_and_targets_are_the_shares() -> None:
    found = False
    for seed in range(8):
        inputs, targets = mixed(seed, cutmix=1.0)
        own = (inputs == IMAGES.float()).all(dim=-1)
        other = (inputs == IMAGES.roll(1, 0).float()).all(dim=-1)
        assert bool((own | other).all())
        share = own.float().mean(dim=(1, 2))
        # A pixel alike in both images counts as its own.
        assert torch.allclose(targets.diagonal(), share, atol=0.02)
        found |= 0.05 < float(targets[0, 0]) < 0.95
    assert found


def test_with_both_each_batch_takes_one_of_them() -> None:
    kinds = set()
    for seed in range(12):
        inputs, _ = mixed(seed, mixup=1.0, cutmix=1.0)
        kinds.add(bool((inputs == inputs.round()).all()))
    assert kinds == {True, False}


@pytest.mark.parametrize("alphas", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_the_generator_alone_decides_and_torchs_own_goes_on_as_before(
    alphas: dict[str, float],
) -> None:
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    first, first_targets = mixed(7, **alphas)
    assert torch.equal(torch.rand(3), want)
    torch.manual_seed(99)
    second, second_targets = mixed(7, **alphas)
    assert torch.equal(first, second) and torch.equal(first_targets, second_targets)
    assert not torch.equal(first, mixed(8, **alphas)[0])


def test_an_alpha_without_a_point_is_the_same_number() -> None:
    assert torch.equal(mixed(3, mixup=1)[0], mixed(3, mixup=1.0)[0])
    assert torch.equal(mixed(3, cutmix=1)[0], mixed(3, cutmix=1.0)[0])


def test_successive_batches_of_one_generator_differ() -> None:
    generator = np.random.default_rng(0)
    lambdas = {
        round(
            float(
                mix_batch(IMAGES, LABELS, classes=N, mixup=1.0, cutmix=0.0, generator=generator)[1][
                    0, 0
                ]
            ),
            6,
        )
        for _ in range(5)
    }
    assert len(lambdas) == 5


def test_off_is_the_batch_itself_and_draws_nothing() -> None:
    generator = np.random.default_rng(0)
    inputs, targets = mix_batch(
        IMAGES, LABELS, classes=N, mixup=0.0, cutmix=0.0, generator=generator
    )
    assert inputs is IMAGES and targets is None
    assert generator.bit_generator.state == np.random.default_rng(0).bit_generator.state


def test_one_image_has_no_other() -> None:
    inputs, targets = mix_batch(
        IMAGES[:1],
        LABELS[:1],
        classes=N,
        mixup=1.0,
        cutmix=1.0,
        generator=np.random.default_rng(0),
    )
    assert torch.equal(inputs, IMAGES[:1]) and targets is None


def test_tensors_can_be_blended_and_not_cut() -> None:
    features = torch.rand(N, 5)
    inputs, targets = mix_batch(
        features, LABELS, classes=N, mixup=1.0, cutmix=0.0, generator=np.random.default_rng(0)
    )
    assert targets is not None and torch.allclose(inputs, targets @ features, atol=1e-6)
    with pytest.raises(ConfigError, match="a box can be cut"):
        mix_batch(
            features, LABELS, classes=N, mixup=0.0, cutmix=1.0, generator=np.random.default_rng(0)
        )


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
@pytest.mark.parametrize("alpha", [-0.1, math.nan, math.inf])
def test_an_alpha_of_no_distribution_is_refused(name: str, alpha: float) -> None:
    alphas = {"mixup": 0.0, "cutmix": 0.0, name: alpha}
    with pytest.raises(ConfigError, match=name):
        mix_batch(IMAGES, LABELS, classes=N, generator=np.random.default_rng(0), **alphas)
