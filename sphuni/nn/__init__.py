"""Neurons, regularizers, layers and losses for training networks on the hypersphere."""
