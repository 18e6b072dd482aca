"""A data set of eight-by-eight blobs and an experiment small enough to train within a test."""

import numpy as np
import pytest

from sphuni.training import schema

TINY = """
name = "tiny"
title = "blobs"
seeds = 2

[data]
name = "{data}"
train = 24
validation = 12

[model]
name = "small-cnn"
width = 0.125

[optimizer]
lr = 0.05
weight_decay = 1e-3

[training]
epochs = 3
batch_size = 8

[evaluation]
track = "none"

[[arm]]
name = "baseline"

[[arm]]
name = "rp-comhe"
[arm.regularizer]
method = "rp-comhe"
options = {{ k = 4, C = 2 }}

[[claim]]
text = "it helps"
better = "rp-comhe"
worse = "baseline"
"""


@pytest.fixture(scope="session")
def blobs(tmp_path_factory) -> str:
    """Path of an npz file: three classes, one bright corner each."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = rng.normal(0.0, 1.0, (120, 8, 8)).astype(np.float32)
    for label, (row, column) in enumerate(((0, 0), (0, 5), (5, 0))):
        images[labels == label, row : row + 3, column : column + 3] += 1.5
    path = tmp_path_factory.mktemp("data") / "blobs.npz"
    np.savez(path, images=images, labels=labels)
    return str(path)


@pytest.fixture(scope="session")
def tiny_text(blobs) -> str:
    return TINY.format(data=blobs)


@pytest.fixture
def tiny(tiny_text):
    return schema.parse(tiny_text)
