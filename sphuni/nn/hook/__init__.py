"""The hook: find the layers of a network and penalise them."""

from sphuni.nn.hook._tables import Plan as Plan
from sphuni.nn.hook._tables import PlanRow as PlanRow
from sphuni.nn.hook._tables import Summary as Summary
from sphuni.nn.hook._tables import SummaryRow as SummaryRow
from sphuni.nn.hook.attach import regularize as regularize
from sphuni.nn.hook.regularizer import Regularizer as Regularizer
