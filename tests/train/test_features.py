"""Features are what the head takes, and the network is as it was afterwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgetl.data.store import SplitPart
from edgetl.errors import ModelError
from edgetl.reference.network import Reference, build_network
from edgetl.spec import ImageInput, TensorInput
from edgetl.train.features import features_of

IMAGE = ImageInput(height=32, width=32)


def test_the_head_on_the_features_is_the_reference(train_part: SplitPart) -> None:
    torch.manual_seed(0)
    network = build_network("mobilenet_v3_small", 3, IMAGE)
    found = features_of(network, "classifier.3", IMAGE, train_part)
    assert found.shape == (24, 1024) and found.dtype == np.float32
    assert network.training and network.features[0].training
    reference = Reference(network.eval(), IMAGE)
    from edgetl.data.preprocess import to_batch

    with torch.inference_mode():
        want = reference(torch.from_numpy(to_batch(train_part.images, IMAGE)))[1]
        got = network.classifier[3](torch.from_numpy(found))
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)


def test_a_head_that_takes_no_vector_is_refused(train_part: SplitPart) -> None:
    network = nn.Sequential(nn.Unflatten(1, (8, 8)), nn.Linear(8, 3))
    with pytest.raises(ModelError, match="a vector"):
        features_of(network, "1", TensorInput(shape=(64,)), train_part)
