"""The only room that opens files of users: weights and embeddings, without running their code."""

from sphuni.analysis.readers._dispatch import read_tensors
from sphuni.analysis.readers._folders import weights_beside
from sphuni.analysis.readers._model import LeftOut, LoadedModel, ReadLimits
from sphuni.analysis.readers._points import is_index, read_points

__all__ = [
    "LeftOut",
    "LoadedModel",
    "ReadLimits",
    "is_index",
    "read_points",
    "read_tensors",
    "weights_beside",
]
