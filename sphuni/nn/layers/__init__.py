"""Layers on the hypersphere."""

from sphuni.nn.layers.angular import AngularFunction as AngularFunction
from sphuni.nn.layers.angular import angular as angular
from sphuni.nn.layers.angular import safe_angle as safe_angle
from sphuni.nn.layers.angular import shared_steepness as shared_steepness
from sphuni.nn.layers.inward import InwardScale as InwardScale
from sphuni.nn.layers.normalising import SphereNorm as SphereNorm
from sphuni.nn.layers.normalising import SphereNorm1d as SphereNorm1d
from sphuni.nn.layers.normalising import SphereNorm3d as SphereNorm3d
from sphuni.nn.layers.recurrent import SphereRNNCell as SphereRNNCell
from sphuni.nn.layers.sphere import SphereConv1d as SphereConv1d
from sphuni.nn.layers.sphere import SphereConv2d as SphereConv2d
from sphuni.nn.layers.sphere import SphereConv3d as SphereConv3d
from sphuni.nn.layers.sphere import SphereLinear as SphereLinear
from sphuni.nn.layers.transpose import SphereConvTranspose1d as SphereConvTranspose1d
from sphuni.nn.layers.transpose import SphereConvTranspose2d as SphereConvTranspose2d
from sphuni.nn.layers.transpose import SphereConvTranspose3d as SphereConvTranspose3d
