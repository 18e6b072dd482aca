"""Regularizers, layers and losses that make networks use the hypersphere."""

from sphuni.nn.functional import alignment as alignment
from sphuni.nn.functional import dso as dso
from sphuni.nn.functional import koleo as koleo
from sphuni.nn.functional import mgd as mgd
from sphuni.nn.functional import mhc as mhc
from sphuni.nn.functional import mhe as mhe
from sphuni.nn.functional import mhp as mhp
from sphuni.nn.functional import mhs as mhs
from sphuni.nn.functional import mutual_coherence as mutual_coherence
from sphuni.nn.functional import orthogonal as orthogonal
from sphuni.nn.functional import r_mhp as r_mhp
from sphuni.nn.functional import so as so
from sphuni.nn.functional import srip as srip
from sphuni.nn.functional import uniformity as uniformity
from sphuni.nn.hook import Regularizer as Regularizer
from sphuni.nn.hook import regularize as regularize
from sphuni.nn.regularizers import Objective as Objective
from sphuni.nn.regularizers import available_methods as available_methods
from sphuni.nn.regularizers import build as build
