"""Analysis of trained networks: a verdict on every layer, with its reasons.

Names load on first use, so that saved reports can be read and drawn without torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphuni.analysis._analyze import analyze as analyze
    from sphuni.analysis._analyze import compare as compare
    from sphuni.analysis.comparison import Comparison as Comparison
    from sphuni.analysis.comparison import compare_reports as compare_reports
    from sphuni.analysis.report import LayerReport as LayerReport
    from sphuni.analysis.report import ModelReport as ModelReport
    from sphuni.analysis.rules import Rule as Rule
    from sphuni.analysis.rules import parse_rule as parse_rule
    from sphuni.analysis.sources import collect_features as collect_features

_HOME = {
    "analyze": "_analyze",
    "compare": "_analyze",
    "Comparison": "comparison",
    "compare_reports": "comparison",
    "LayerReport": "report",
    "ModelReport": "report",
    "Rule": "rules",
    "parse_rule": "rules",
    "collect_features": "sources",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sphuni.analysis' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sphuni.analysis.{_HOME[name]}"), name)
