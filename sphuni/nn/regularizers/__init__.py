"""Objectives as modules, with the inner problems that some of them need."""

from sphuni.nn.regularizers._base import Objective as Objective
from sphuni.nn.regularizers.methods import Method as Method
from sphuni.nn.regularizers.methods import available_methods as available_methods
from sphuni.nn.regularizers.methods import build as build
from sphuni.nn.regularizers.methods import find_method as find_method
from sphuni.nn.regularizers.plain import Plain as Plain
from sphuni.nn.regularizers.poles import Poles as Poles
from sphuni.nn.regularizers.projections import GroupProjection as GroupProjection
from sphuni.nn.regularizers.projections import LearnedProjection as LearnedProjection
from sphuni.nn.regularizers.projections import RandomProjection as RandomProjection
