"""Tests of uniformity on the sphere, with p-values for both tails."""

from sphuni.stats._api import pair_kernels as pair_kernels
from sphuni.stats._api import test_from_summary as test_from_summary
from sphuni.stats._api import uniformity_test as uniformity_test
from sphuni.stats._api import uniformity_tests as uniformity_tests
from sphuni.stats._base import UniformityTest as UniformityTest
from sphuni.stats._registry import TestInfo as TestInfo
from sphuni.stats._registry import available_tests as available_tests
from sphuni.stats._registry import build_test as build_test
from sphuni.stats._result import TestTable as TestTable
from sphuni.stats._result import UniformityTestResult as UniformityTestResult
from sphuni.stats.multiplicity import adjust_pvalues as adjust_pvalues
from sphuni.stats.multiplicity import combine_pvalues as combine_pvalues
from sphuni.stats.power import PowerResult as PowerResult
from sphuni.stats.power import power as power
from sphuni.stats.power import size as size
