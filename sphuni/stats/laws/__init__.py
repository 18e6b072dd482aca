"""Null laws of the statistics."""

from sphuni.stats.laws._tails import Affine as Affine
from sphuni.stats.laws._tails import Law as Law
from sphuni.stats.laws._tails import Tails as Tails
from sphuni.stats.laws.finite_n import Corrected as Corrected
from sphuni.stats.laws.finite_n import corrected as corrected
from sphuni.stats.laws.monte_carlo import Empirical as Empirical
from sphuni.stats.laws.monte_carlo import SequentialTable as SequentialTable
from sphuni.stats.laws.monte_carlo import TailedTable as TailedTable
from sphuni.stats.laws.packing import SmallestDistance as SmallestDistance
from sphuni.stats.laws.weighted_chi2 import WeightedChi2 as WeightedChi2
