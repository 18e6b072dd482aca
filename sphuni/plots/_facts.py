"""The numbers beside an interactive sphere."""

import math
from typing import Any

from sphuni.plots._diagram import Array, Diagram, Index

__all__ = ["facts"]


def facts(
    result: Any, points: Array, found: Diagram | None, pairs: Index, angle: float
) -> list[tuple[str, str]]:
    """Terms and values: of the geometry, and of the search where there was one."""
    rows = [("points", f"{len(points):,}")]
    if len(points) > 1:
        rows.append(("smallest angle", f"{math.degrees(angle):.6f}°"))
        rows.append(("closest pairs", f"{len(pairs):,}"))
    if found is not None:
        rows.append(("covering radius", f"{math.degrees(float(found.radii.max())):.6f}°"))
        rows.append(("facets", f"{len(found.facets):,}"))
    certificate = getattr(result, "certificate", None)
    if certificate is None:
        return rows
    return rows + _searched(result, certificate)


def _searched(result: Any, certificate: Any) -> list[tuple[str, str]]:
    """Evidence for the result of a search."""
    rows = [("value", f"{result.value:.15g}")]
    if result.record is not None:
        rows.append(("record", f"{result.record.value:.15g}"))
        rows.append(("record is", result.record.status))
    if math.isfinite(certificate.bound):
        rows.append(("bound", f"{certificate.bound:.10g}"))
    rows.append(("residual", f"{certificate.residual:.1e}"))
    if certificate.smallest_eigenvalue is not None:
        rows.append(("least eigenvalue", f"{certificate.smallest_eigenvalue:.5g}"))
    if certificate.free_points is not None:
        rows.append(("free points", str(certificate.free_points)))
    rows.append(("hits", f"{result.hits} of {result.tried}"))
    rows.append(("status", result.status))
    rows.append(("seed", str(result.seed)))
    return [(term, str(value).replace("-", "−")) for term, value in rows]
