"""The one boundary between the caller's arrays and the torch code inside.

A public function is written for torch tensors and decorated; NumPy arrays and lists are converted
on the way in and results on the way out, so private code sees torch only.
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from sphuni._devices import map_tensors, narrow_device, on_cpu, on_processor
from sphuni._rows import as_array, not_real, shown_norm
from sphuni._threads import beside_others
from sphuni._transforms import is_transformed, transformed
from sphuni._typing import Array

__all__ = [
    "HALF",
    "array_function",
    "check_finite",
    "check_like",
    "check_points",
    "like_caller",
    "result_function",
    "to_tensor",
    "unit_to_rounding",
    "unit_tolerance",
    "widen",
]

P = ParamSpec("P")
R = TypeVar("R")

HALF = (torch.float16, torch.bfloat16)
_NUMPY_FLOATS = (np.float16, np.float32, np.float64)


@runtime_checkable
class ArrayFunction(Protocol[P]):
    """A function of points that returns one array in the caller's library."""

    @overload
    def __call__(self, points: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> Tensor: ...
    @overload
    def __call__(self, points: Any, /, *args: P.args, **kwargs: P.kwargs) -> Any: ...


def array_function(
    *others: str,
) -> Callable[[Callable[Concatenate[Tensor, P], Tensor]], ArrayFunction[P]]:
    """Decorate a function of tensors that returns one tensor.

    Parameters
    ----------
    *others : str
        Names of the further parameters that are arrays; the first parameter always is one.
    """
    return functools.partial(_at_boundary, others=others)


def result_function(
    *others: str,
) -> Callable[[Callable[Concatenate[Tensor, P], R]], Callable[Concatenate[Array, P], R]]:
    """Decorate a function of tensors that returns a result object; see `array_function`."""
    return functools.partial(_at_boundary, others=others)


def check_points(points: Tensor, *, name: str = "points", unit: bool = True) -> bool:
    """Refuse anything but a finite `(..., n, d)` array, n >= 1, d >= 2, with unit rows.

    Returns
    -------
    bool
        Whether the rows were found to be unit to within rounding, as `unit_to_rounding` has it.

    Raises
    ------
    ValueError
        With the argument's name, what was expected, the offending row and the remedy.
    """
    if points.ndim < 2:
        raise ValueError(
            f"{name} must have shape (..., n, d); got {tuple(points.shape)}. "
            f"One point is written {name}[None, :], angles of a circle are rows (cos, sin)"
        )
    n, d = points.shape[-2:]
    if n < 1 or 0 in points.shape[:-2]:
        none = "" if n < 1 else ", a batch of no sets"
        shape = tuple(points.shape)
        raise ValueError(f"{name} must hold at least one point; got shape {shape}{none}")
    if d < 2:
        raise ValueError(
            f"{name} must lie in R^d with d >= 2; got d = {d}. Pass each point as a row"
        )
    if unit:
        return _check_unit(points, name)
    check_finite(points, name=name)
    return False


def check_finite(values: Tensor, *, name: str) -> None:
    """Refuse NaN and infinite entries, naming the first one."""
    if bool(
        torch.isfinite(values.detach().sum())
    ):  # one pass; a sum hides nothing that is not finite
        return
    finite = torch.isfinite(values.detach())
    if not bool(finite.all()):
        where = tuple(torch.nonzero(~finite)[0].tolist())
        raise ValueError(
            f"{name} must be finite; {name}[{', '.join(map(str, where))}] is "
            f"{values.detach()[where].item()}. Drop or repair that row first"
        )


def check_like(like: Any) -> None:
    """Refuse what cannot say in which dtype and on which device points are wanted."""
    if like is not None and not (isinstance(like, Tensor) and like.is_floating_point()):
        kind = getattr(like, "dtype", type(like).__name__)
        raise TypeError(f"like must be a torch tensor of floating-point numbers; got {kind}")


def like_caller(values: np.ndarray, like: Tensor | None) -> Any:
    """Return `values` as NumPy float64, or as torch with the dtype and device of `like`."""
    check_like(like)
    if like is None:
        return values
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)


def widen(tensor: Tensor) -> Tensor:
    """Return half precision as float32, in which its sums are taken; others as they are."""
    return tensor.float() if tensor.dtype in HALF else tensor


def unit_tolerance(points: Tensor) -> float:
    """How far from 1 the norms of unit rows may be in the precision of `points`.

    Norms of half precision are taken in float32: what is left is the rounding of the entries and
    of a norm that they were divided by, whatever their number.
    """
    eps = torch.finfo(points.dtype).eps
    return 4 * eps if points.dtype in HALF else 32 * eps * points.shape[-1] ** 0.5


def unit_to_rounding(low: float, high: float, dtype: torch.dtype) -> bool:
    """Whether norms from `low` to `high` are 1 to a few units in the last place."""
    return max(high - 1, 1 - low) <= 8 * torch.finfo(dtype).eps


def _check_unit(points: Tensor, name: str) -> bool:
    rows = points.detach()
    norms = torch.linalg.vector_norm(widen(rows), dim=-1)
    tolerance = unit_tolerance(rows)
    low, high = (float(end) for end in torch.aminmax(norms))
    if 1 - low <= tolerance and high - 1 <= tolerance:  # a NaN does not pass
        return unit_to_rounding(low, high, norms.dtype)
    check_finite(points, name=name)
    first = torch.nonzero((norms - 1).abs() > tolerance)[0].tolist()
    batch = f" of batch {', '.join(map(str, first[:-1]))}" if len(first) > 1 else ""
    raise ValueError(
        f"{name} must have unit rows to within {tolerance:.2g}; row {first[-1]}{batch} has "
        f"norm {shown_norm(norms[tuple(first)].item())}. {_remedy(rows, name)}"
    )


def _remedy(rows: Tensor, name: str) -> str:
    """What turns `rows` into points: scaling would hide that they are columns, or angles."""
    columns = torch.linalg.vector_norm(widen(rows), dim=-2)
    if rows.shape[-2] > 1 and bool(((columns - 1).abs() <= unit_tolerance(rows.mT)).all()):
        return f"The columns have unit length: a point is a row, so transpose {name}"
    angles = (
        "; longitudes and latitudes are written (cos lat cos lon, cos lat sin lon, sin lat) instead"
    )
    return f"Call sphuni.normalize({name}) first{angles if rows.shape[-1] == 2 else ''}"


def _at_boundary(function: Callable[..., Any], others: tuple[str, ...]) -> Any:
    signature = inspect.signature(function)
    places = {name: place for place, name in enumerate(signature.parameters)}
    first = next(iter(places))
    names = (first, *others)
    needed = [n for n in names if signature.parameters[n].default is inspect.Parameter.empty]

    @functools.wraps(function)
    def wrapper(*given_args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():  # `untraced` would be a frame between warnings and caller
            return torch.compiler.disable(wrapper)(*given_args, **kwargs)
        if (device := narrow_device(given_args, kwargs)) is not None:
            return on_processor(wrapper, device, given_args, kwargs)
        args = list(given_args)  # binding them to the signature would take 15 microseconds
        found = {n: args[places[n]] if places[n] < len(args) else kwargs.get(n) for n in names}
        for name in needed:
            if found[name] is None:
                signature.bind(*args, **kwargs)  # raises where it was not given at all
                raise TypeError(f"{name} must be an array; got None")
        given = {name: value for name, value in found.items() if value is not None}
        tensors = {n: to_tensor(value, n) for n, value in given.items()}
        _check_same_kind(given, tensors)
        for name, tensor in tensors.items():
            if places[name] < len(args):
                args[places[name]] = tensor
            else:
                kwargs[name] = tensor
        if any(isinstance(t, Tensor) and is_transformed(t) for t in tensors.values()):
            return _under_transforms(function, signature.bind(*args, **kwargs), others)
        owned = {_address(t) for t in tensors.values()}
        if isinstance(given[first], Tensor):
            # autocast would take inner products of close points in half precision
            autocast = torch.autocast(given[first].device.type, enabled=False)
            with beside_others(), on_cpu(), autocast:
                result = function(*args, **kwargs)
            return map_tensors(result, functools.partial(_unshare, owned=owned))
        with beside_others(), on_cpu(), torch.no_grad():
            result = function(*args, **kwargs)
        return map_tensors(result, lambda t: _to_numpy(_unshare(t, owned)))

    return wrapper


def _under_transforms(
    function: Callable[..., Any], bound: inspect.BoundArguments, others: tuple[str, ...]
) -> Tensor:
    """Call a function of one set inside torch.func transforms."""
    first, *rest = bound.args
    named = [name for name in others if bound.arguments.get(name) is not None]
    if named:
        raise NotImplementedError(
            f"{', '.join(named)} cannot be given to {function.__name__} under torch.func, which "
            "maps the points alone; leading axes of its arguments are a batch"
        )
    return transformed(first, lambda batch: function(batch, *rest, **bound.kwargs))


def to_tensor(value: Any, name: str) -> Tensor:
    """Return an array as a dense tensor of real numbers; errors call it `name`."""
    if isinstance(value, Tensor):
        return _check_tensor(value, name)
    if np.ma.is_masked(value):
        raise TypeError(f"{name} must not hold masked entries; drop those rows first")
    array = as_array(value, name)
    if array.dtype.kind in "iu":
        array = array.astype(np.float64)
    if array.dtype.kind != "f":
        raise not_real(array, value, name)
    if array.dtype not in _NUMPY_FLOATS or not array.dtype.isnative:
        narrow = array.dtype.newbyteorder("=") if array.dtype.itemsize <= 8 else np.float64
        array = array.astype(narrow)
    uneven = any(stride < 0 or stride % array.itemsize for stride in array.strides)
    if uneven or not array.flags.writeable:
        array = array.copy()
    return torch.from_numpy(array)


def _check_tensor(tensor: Tensor, name: str) -> Tensor:
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise TypeError(f"{name} must be a dense tensor; got {tensor.layout}. Call .to_dense()")
    if tensor.is_meta:
        raise TypeError(f"{name} is on the meta device and has no values; materialise it first")
    if tensor.is_floating_point():
        if tensor.dtype.itemsize == 1:
            raise TypeError(f"{name} has dtype {tensor.dtype}; convert it with .float() first")
        return tensor.resolve_neg()  # NumPy has no views whose sign is still to be changed
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{name} must be an array of real numbers; got dtype {tensor.dtype}")
    return tensor.double()


def _check_same_kind(given: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Refuse a mix of libraries, dtypes or devices in one call."""
    (first, anchor), *rest = given.items()
    for name, value in rest:
        if isinstance(anchor, Tensor) != isinstance(value, Tensor):
            torch_one, other = (first, name) if isinstance(anchor, Tensor) else (name, first)
            raise TypeError(
                f"{torch_one} is a torch tensor but {other} is not; "
                f"convert it with torch.as_tensor({other})"
            )
        if tensors[name].device != tensors[first].device:
            raise TypeError(
                f"{name} is on {tensors[name].device} but {first} is on {tensors[first].device}; "
                f"call {name}.to({first}.device)"
            )
        if tensors[name].dtype != tensors[first].dtype:
            if isinstance(anchor, Tensor):
                raise TypeError(
                    f"{name} has dtype {tensors[name].dtype} but {first} has "
                    f"{tensors[first].dtype}; call {name}.to({first}.dtype)"
                )
            tensors[name] = tensors[name].to(tensors[first].dtype)


def _unshare(tensor: Tensor, owned: Iterable[int]) -> Tensor:
    """Clone an output that is a view of an input, so that writing to it changes nothing else."""
    shares = tensor.numel() > 0 and _address(tensor) in owned
    return tensor.clone() if shares else tensor


def _address(tensor: Any) -> int:
    """Where the numbers lie; of a DTensor those of this rank."""
    local = tensor.detach().to_local() if hasattr(tensor, "to_local") else tensor
    return local.untyped_storage().data_ptr()


def _to_numpy(tensor: Tensor) -> Any:
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    array = tensor.numpy()
    return array[()] if array.ndim == 0 else array
