"""The table of methods: their names, coefficients and options, and how they are built."""

import dataclasses
import inspect
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Literal

import torch
from torch import Tensor

from sphuni._numbers import finite, whole
from sphuni.nn import functional
from sphuni.nn._preset import check_preset
from sphuni.nn.regularizers._base import Objective
from sphuni.nn.regularizers.plain import Plain
from sphuni.nn.regularizers.poles import Poles
from sphuni.nn.regularizers.projections import (
    GroupProjection,
    LearnedProjection,
    RandomProjection,
)

__all__ = ["Method", "Role", "available_methods", "build", "find_method"]

Role = Literal["first", "hidden", "output"]
_Coefficients = tuple[float, float]
_PROJECTED_TO = 30


@dataclasses.dataclass(frozen=True)
class Method:
    """One line of the table.

    Attributes
    ----------
    name : str
    function : callable
        The objective of one weight.
    coefficients : tuple of two floats
        Weights of hidden layers and of the classifier that the authors' code uses.
    half_space : bool
        Whether hidden layers are taken as lines; the classifier never is.
    projection : str or None
        "random", "angles", "adversarial" or "group".
    summary : str
    """

    name: str
    function: Callable[..., Tensor]
    coefficients: _Coefficients
    half_space: bool = False
    projection: str | None = None
    summary: str = ""


def _methods() -> dict[str, Method]:
    pairs: list[tuple[str, Callable[..., Tensor], _Coefficients, str]] = [
        ("mhe", functional.mhe, (1.0, 10.0), "hyperspherical energy"),
        ("mhs", functional.mhs, (0.1, 1.0), "separation"),
        ("mhp", functional.mhp, (1.0, 10.0), "polarization"),
        ("mhc", functional.mhc, (0.01, 0.1), "covering radius"),
        ("mgd", functional.mgd, (0.01, 0.1), "Gram determinant"),
    ]
    table = []
    for name, function, coefficients, summary in pairs:
        table.append(Method(name, function, coefficients, summary=summary))
        table.append(
            Method(f"hs-{name}", function, coefficients, True, summary=f"{summary} in half space")
        )
    table += [
        Method("r-mhp", functional.r_mhp, (0.01, 0.1), summary="length of the sum of directions"),
        Method("so", functional.so, (1e-4, 0.0), True, summary="soft orthogonality"),
        Method("dso", functional.dso, (1e-4, 0.0), True, summary="double soft orthogonality"),
        Method(
            "orthogonal", functional.orthogonal, (1.0, 0.0), True, summary="mean squared cosine"
        ),
        Method(
            "mutual-coherence",
            functional.mutual_coherence,
            (1e-2, 1e-2),
            True,
            summary="largest cosine",
        ),
        Method(
            "srip", functional.srip, (1e-2, 1e-2), True, summary="spectral norm of the residual"
        ),
        Method("uniformity", functional.uniformity, (1.0, 1.0), summary="Gaussian potential"),
        Method("koleo", functional.koleo, (0.1, 0.1), summary="entropy by nearest neighbours"),
    ]
    compressed = {
        "rp": ("random", "mean over random projections"),
        "ap": ("angles", "angle-preserving projection"),
        "adv": ("adversarial", "adversarial projection"),
        "group": ("group", "projected random groups of rows (our reading)"),
    }
    table += [
        Method(f"{short}-comhe", functional.mhe, (1.0, 10.0), True, projection, summary)
        for short, (projection, summary) in compressed.items()
    ]
    return {method.name: method for method in table}


_TABLE = _methods()
_POLES = ("n_aux", "inner_steps", "inner_lr", "reset_every", "redraw")
_PROJECTIONS: dict[str, tuple[type[Any], tuple[str, ...], dict[str, Any]]] = {
    "random": (RandomProjection, ("k", "C", "redraw_every"), {}),
    "group": (GroupProjection, ("size", "k", "C", "redraw_every"), {}),
    "angles": (
        LearnedProjection,
        ("k", "inner_steps", "inner_lr", "unroll"),
        {"goal": "angles"},
    ),
    "adversarial": (
        LearnedProjection,
        ("k", "inner_steps", "inner_lr", "unroll"),
        {"goal": "energy", "inner_steps": 10},
    ),
}
_REFERENCE: dict[str, dict[str, Any]] = {
    "random": {"k": 40},
    "angles": {"goal": "cosines", "unroll": True},
    "adversarial": {"goal": "full-energy", "unroll": True},
}
_HIDDEN = {"half_space", "poles", "population", "rng"}


def available_methods() -> dict[str, str]:
    """Return the name and a short description of every method.

    Examples
    --------
    >>> available_methods()["hs-mhe"]
    'hyperspherical energy in half space'
    """
    return {method.name: method.summary for method in _TABLE.values()}


def find_method(name: str, argument: str = "method") -> Method:
    """Return the method of that name, which came as `argument`.

    Raises
    ------
    ValueError
        Naming the closest and all known methods.
    """
    if isinstance(name, str) and name in _TABLE:
        return _TABLE[name]
    close = get_close_matches(str(name), _TABLE, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"{argument} must be one of {', '.join(_TABLE)}; got {name!r}.{hint}")


def coefficients(method: Method, options: dict[str, Any]) -> _Coefficients:
    """Return the authors' weights for hidden layers and classifier; angular s > 0 has a tenth."""
    base = find_method(options.get("objective", method.name), "objective")
    hidden, output = base.coefficients
    angular = base.function is functional.mhe and options.get("metric") == "geodesic"
    if angular and finite("s", options.get("s", 2.0)) > 0:
        return 0.1 * hidden, 0.1 * output
    return hidden, output


def build(
    name: str,
    *,
    role: Role = "hidden",
    shape: tuple[int, int] | None = None,
    seed: int = 0,
    rows: int | None = None,
    preset: str = "paper",
    **options: Any,
) -> Objective:
    """Build the objective of one layer.

    Parameters
    ----------
    name : str
        A method; `available_methods()` lists them.
    role : {"hidden", "first", "output"}, default "hidden"
        The first layer is never projected; the classifier is neither projected nor half-space.
    shape : tuple (n, d), optional
        Of the weight; needed by "hs-mhp" and "hs-mhc". Where n <= d they are constant, so they
        take a projection to min(30, n - 1) dimensions, fixed unless `redraw_every` is given;
        `projection` changes the 30, or with None leaves them constant.
    seed, rows
        As in `Objective`.
    preset : {"paper", "reference"}, default "paper"
    **options
        Of the objective and of its inner problem: `s`, `metric`, `epsilon`, `minimum`, `n_aux`,
        `k`, `C`, `redraw_every`, `objective` (of compressed methods), ...

    Returns
    -------
    Objective

    Raises
    ------
    ValueError
        If the method is unknown.
    TypeError
        If an option is unknown; those that exist are listed.

    Examples
    --------
    >>> import torch
    >>> float(build("hs-mhe", s=2)(torch.eye(3)))
    0.45
    """
    method = find_method(name)
    check_preset(preset)
    if method.projection is not None:
        return _compressed(method, role, shape, seed, rows, preset, options)
    half_space = method.half_space and role != "output"
    _check_options(method, options)
    poles = {key: options.pop(key) for key in _POLES if key in options}
    projected_to = options.pop("projection", _PROJECTED_TO)
    redraw_every = options.pop("redraw_every", 0)
    objective = _single(method, half_space, preset, seed, rows, options, poles)
    if not (half_space and isinstance(objective, Poles)) or projected_to is None:
        return objective
    if shape is None:
        raise ValueError(
            f"shape must be given for {name!r}, which is constant for n <= d unless it is "
            "projected; pass shape=(n, d), or projection=None to leave it so"
        )
    n, d = shape
    if n > d:
        return objective
    k = min(whole("projection", projected_to, 2, "dimensions, or None"), n - 1)
    if k < 2:
        warnings.warn(
            f"{name!r} of n = {n} rows in d = {d} dimensions is constant, so it has no gradient; "
            "leave such layers out with exclude=, or use 'hs-mhe'",
            stacklevel=2,
        )
        return objective
    return RandomProjection(objective, k=k, C=1, redraw_every=redraw_every, seed=seed)


def _single(
    method: Method,
    half_space: bool,
    preset: str,
    seed: int,
    rows: int | None,
    options: dict[str, Any],
    poles: dict[str, Any],
) -> Objective:
    known = inspect.signature(method.function).parameters
    call = dict(options)
    if "half_space" in known:
        call["half_space"] = half_space
    if preset != "paper":
        call["preset"] = preset
    _try(method, call)
    if method.function in (functional.mhp, functional.mhc):
        if rows is not None:
            raise ValueError(f"rows is for means over pairs, such as 'hs-mhe'; got {method.name!r}")
        if preset == "reference":
            poles = {"n_aux": 1, "inner_steps": 10, **poles}
        kind: Literal["mhp", "mhc"] = "mhp" if method.function is functional.mhp else "mhc"
        return Poles(kind, call, seed=seed, **poles)
    return Plain(method.function, call, seed=seed, rows=rows)


def _try(method: Method, call: dict[str, Any]) -> None:
    """Evaluate a small weight, so that a bad option is refused here and not in training."""
    widths = call.get("epsilon")
    d = widths.numel() if isinstance(widths, Tensor) and widths.ndim else 2
    weight = torch.eye(2, d, dtype=torch.float64, device="cpu")
    poles = {"poles": weight} if method.function in _POLE_FUNCTIONS else {}
    try:
        with torch.no_grad():
            method.function(weight, **call, **poles)
    except TypeError as error:
        options = ", ".join(f"{key}={call[key]!r}" for key in call if key not in _HIDDEN)
        raise TypeError(f"{method.name!r} cannot take {options}: {error}") from error


def _compressed(
    method: Method,
    role: Role,
    shape: tuple[int, int] | None,
    seed: int,
    rows: int | None,
    preset: str,
    options: dict[str, Any],
) -> Objective:
    options = dict(options)
    inner = find_method(options.pop("objective", "hs-mhe"), "objective")
    if inner.projection is not None:
        raise ValueError(f"objective must not be compressed itself; got {inner.name!r}")
    kind, names, fixed = _PROJECTIONS[method.projection or ""]
    defaults = _REFERENCE.get(method.projection or "", {}) if preset == "reference" else {}
    own = {**fixed, **defaults, **{key: options.pop(key) for key in names if key in options}}
    _check_options(inner, options, also=(*names, "objective"))
    if role != "hidden":
        return build(
            inner.name, role=role, shape=shape, seed=seed, rows=rows, preset=preset, **options
        )
    if inner.function in _POLE_FUNCTIONS:
        options = {"projection": None, **options}
        if inner.half_space and shape is not None and shape[0] > 2:
            own["k"] = min(own.get("k", _PROJECTED_TO), shape[0] - 1)
    objective = build(inner.name, seed=seed, preset=preset, **options)
    if rows is None:
        return kind(objective, seed=seed, **own)
    if inner.function is not functional.mhe or method.projection == "group":
        raise ValueError(f"rows is for means over all pairs; got {method.name!r} of {inner.name!r}")
    return kind(objective, seed=seed, rows=rows, **own)


_POLE_FUNCTIONS = (functional.mhp, functional.mhc)


def _check_options(method: Method, options: dict[str, Any], *, also: tuple[str, ...] = ()) -> None:
    known = [
        name
        for name, parameter in inspect.signature(method.function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in _HIDDEN | {"preset"}
    ]
    if method.function in _POLE_FUNCTIONS:
        known += [*_POLES, "projection", "redraw_every"]
    known += [name for name in also if name not in known]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise TypeError(
            f"{method.name!r} takes no option {unknown[0]!r}; its options are "
            f"{', '.join(known) or 'none'}"
        )
