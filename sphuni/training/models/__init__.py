"""Networks by the layer tables of their papers, as named presets with a width multiplier."""

from sphuni.training.models.presets import build as build
from sphuni.training.models.presets import check_name as check_name
from sphuni.training.models.presets import names as names
