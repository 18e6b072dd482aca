"""Layers on the hypersphere."""

from sphuni.nn.layers.angular import AngularFunction as AngularFunction
from sphuni.nn.layers.angular import angular as angular
from sphuni.nn.layers.angular import safe_angle as safe_angle
from sphuni.nn.layers.inward import InwardScale as InwardScale
from sphuni.nn.layers.sphere import SphereConv1d as SphereConv1d
from sphuni.nn.layers.sphere import SphereConv2d as SphereConv2d
from sphuni.nn.layers.sphere import SphereConv3d as SphereConv3d
from sphuni.nn.layers.sphere import SphereLinear as SphereLinear
from sphuni.nn.layers.sphere import SphereNorm as SphereNorm
