"""The stack, marks and memo of an unpickler, holding symbols instead of objects."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from sphuni.analysis.readers._model import ReadLimits

__all__ = ["Machine", "ProblemError", "Programme"]

_TENSOR_CLASS = re.compile(r"torch\.(cuda\.|sparse\.|cuda\.sparse\.)?\w+(Storage|Tensor)")
_CONTAINERS = {"collections.OrderedDict", "collections.Counter", "builtins.set"}
_FREE = {
    "builtins.complex",
    "torch._utils._rebuild_meta_tensor_no_storage",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch.device",
    "torch.serialization._get_layout",
}
_COSTLY = {
    "_codecs.encode",
    "builtins.bytearray",
    "torch.Size",
    "torch._utils._rebuild_nested_tensor",
    "torch._utils._rebuild_sparse_tensor",
}
_REBUILD = {
    f"torch._utils._rebuild_{name}" for name in ("tensor", "tensor_v2", "tensor_v3", "qtensor")
}
_PLAIN = {
    "torch.Tensor",
    "torch.nn.parameter.Parameter",
    "torch.storage.TypedStorage",
    "torch.storage.UntypedStorage",
    "torch._tensor._rebuild_from_type_v2",
}
_KNOWN = _CONTAINERS | _FREE | _COSTLY | _REBUILD | _PLAIN
_ITEM_SIZES = {
    "Half": 2, "BFloat16": 2, "Short": 2, "Int": 4, "QInt32": 4, "Float": 4, "Long": 8,
    "Double": 8, "ComplexFloat": 8, "ComplexDouble": 16,
}  # fmt: skip
_BIGGEST_INT = 1 << 128


@dataclass
class Programme:
    """What a pickle would do.

    Attributes
    ----------
    unsafe : list of str
        Names it calls that a file of weights has no use for.
    problem : str or None
        Why it is refused although every name is known.
    storages : dict of str to int
        Bytes claimed by each storage key.
    expanded : int
        Bytes of tensors that claim more elements than their storage holds.
    """

    unsafe: list[str] = field(default_factory=list)
    problem: str | None = None
    storages: dict[str, int] = field(default_factory=dict)
    expanded: int = 0


@dataclass(frozen=True)
class _Name:
    path: str


@dataclass(slots=True)
class _Box:
    """A list, dict or set: only how much it holds matters."""

    size: int = 0


@dataclass(slots=True)
class _Tuple:
    items: tuple[Any, ...]
    size: int


@dataclass(frozen=True)
class _Tensor:
    numel: int


@dataclass(frozen=True)
class _Storage:
    numel: int
    itemsize: int


class ProblemError(Exception):
    """The programme does what no file of weights does; the text says what."""


class Machine:
    """Follows instructions one by one and adds up what they would cost."""

    def __init__(self, limits: ReadLimits) -> None:
        self.limits = limits
        self.programme = Programme()
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0
        self.permitted = {_path(item) for item in torch.serialization.get_safe_globals()}

    def note(self, path: str) -> None:
        """Remember a name that torch would not accept."""
        harmless = path in _KNOWN or path in self.permitted or _TENSOR_CLASS.fullmatch(path)
        if not harmless and not _is_constant(path) and path not in self.programme.unsafe:
            self.programme.unsafe.append(path)

    def step(self, name: str, argument: Any, count: int) -> None:
        """Carry out one instruction."""
        action = _ACTIONS.get(name)
        if action is not None:
            action(self)
        elif name in _PUSH_ARGUMENT:
            if isinstance(argument, int) and abs(argument) > _BIGGEST_INT:
                raise ProblemError("it holds an integer of more than 128 bits")
            self.stack.append(argument)
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in ("BINPUT", "LONG_BINPUT"):
            if argument > count:
                raise ProblemError("its pickle programme numbers its objects out of order")
            self.memo[argument] = self.stack[-1]
        elif name == "GLOBAL":
            self.stack.append(_Name(argument.replace(" ", ".", 1)))
        else:
            raise ProblemError(f"it uses the pickle instruction {name}, which torch.save does not")

    def mark(self) -> None:
        """Begin a group."""
        self.marks.append(self.stack)
        self.stack = []

    def group(self) -> list[Any]:
        """End the group and return what was pushed since its mark."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def tuple_of(self, items: list[Any]) -> None:
        """Push a tuple; its unfolded size is what hashing or printing it would cost."""
        size = 1 + sum(item.size if isinstance(item, _Tuple) else 1 for item in items)
        if size > self.limits.max_nodes:
            raise ProblemError("it nests tuples that unfold to more elements than max_nodes")
        self.stack.append(_Tuple(tuple(items), size))

    def take(self, number: int) -> list[Any]:
        """Pop that many items, in the order they were pushed."""
        if number > len(self.stack):
            raise IndexError(number)
        items = self.stack[-number:]
        del self.stack[-number:]
        return items

    def append(self, items: list[Any]) -> None:
        """Add to the list on top of the stack."""
        self.stack[-1].size += len(items)

    def set_items(self, items: list[Any]) -> None:
        """Add keys and values to the dict on top of the stack; tuples as keys are hashed."""
        self.stack[-1].size += len(items) // 2
        for key in items[::2]:
            if isinstance(key, _Tuple):
                self.spend(key.size)

    def spend(self, amount: int) -> None:
        """Account for elements that are copied or hashed."""
        self.copied += amount
        if self.copied > self.limits.max_nodes:
            raise ProblemError("it copies objects again and again, more than max_nodes in all")

    def persistent(self) -> None:
        """Read a reference to a storage."""
        reference = self.stack.pop()
        kind, storage, key, location, numel = reference.items[:5]
        if kind != "storage" or not isinstance(key, str | int) or not isinstance(location, str):
            raise ProblemError("it refers to something other than a storage")
        if not isinstance(numel, int) or numel < 0:
            raise ProblemError(f"it claims a storage of {numel} elements")
        itemsize = _itemsize(storage.path)
        claims = self.programme.storages
        claims[str(key)] = max(numel * itemsize, claims.get(str(key), 0))
        self.stack.append(_Storage(numel, itemsize))

    def build(self) -> None:
        """Give an object its state."""
        state = self.stack.pop()
        self.spend(_weight(state))
        if isinstance(self.stack[-1], _Name):
            raise ProblemError("it changes a class")

    def new_object(self) -> None:
        """Make an object of a class without arguments that cost anything."""
        cls, arguments = self.take(2)
        self.stack.append(self.call(cls.path, list(arguments.items)))

    def reduce(self) -> None:
        """Call a function."""
        function, arguments = self.take(2)
        self.stack.append(self.call(function.path, list(arguments.items)))

    def call(self, path: str, arguments: list[Any]) -> Any:
        """Return the symbol of what the call makes and account for its cost."""
        if path == "torch._tensor._rebuild_from_type_v2":
            return self.call(arguments[0].path, list(arguments[2].items))
        if path in _REBUILD:
            return self.rebuild(arguments)
        if path in _CONTAINERS:
            size = sum(map(_weight, arguments))
            self.spend(size)
            return _Box(size)
        if path in _COSTLY:
            self.spend(sum(_deep_weight(item, path) for item in arguments))
            return None
        if path in _FREE or path in self.permitted or path == "torch.nn.parameter.Parameter":
            return _Box() if path in self.permitted else None
        if path not in self.programme.unsafe:
            raise ProblemError(f"it calls {path}, which a file of weights has no reason to call")
        return None

    def rebuild(self, arguments: list[Any]) -> _Tensor:
        """Compare the elements a tensor claims with those of its storage."""
        storage, shape = arguments[0], arguments[2]
        sizes = [size for size in shape.items if isinstance(size, int)]
        if len(sizes) != len(shape.items) or len(sizes) > self.limits.max_rank:
            raise ProblemError(f"it holds a tensor of {len(shape.items)} axes or without a shape")
        numel = math.prod(sizes)
        if isinstance(storage, _Storage) and numel > storage.numel:
            self.programme.expanded += numel * storage.itemsize
        return _Tensor(numel)


def _weight(item: Any) -> int:
    """Count what a copy of this object copies."""
    if isinstance(item, _Box | _Tuple):
        return item.size
    if isinstance(item, str | bytes):
        return len(item) // 16
    return 0


def _deep_weight(item: Any, path: str) -> int:
    if isinstance(item, _Tuple):
        return sum(_deep_weight(part, path) for part in item.items[:16]) + item.size
    if isinstance(item, _Tensor):
        return item.numel // 16
    if isinstance(item, int) and path == "builtins.bytearray":
        return abs(item) // 16
    return _weight(item)


def _itemsize(path: str) -> int:
    """Bytes per element of a storage class such as torch.FloatStorage."""
    if path == "torch.storage.UntypedStorage":
        return 1
    if not _TENSOR_CLASS.fullmatch(path):
        raise ProblemError(f"it stores numbers as {path}")
    return _ITEM_SIZES.get(path.rpartition(".")[2].removesuffix("Storage"), 1)


def _is_constant(path: str) -> bool:
    module, _, name = path.rpartition(".")
    value = getattr(torch, name, None) if module == "torch" else None
    return isinstance(value, torch.dtype | torch.qscheme | torch.layout | torch.memory_format)


def _path(item: Any) -> str:
    """Full name of an object the caller has added to torch's safe globals."""
    if isinstance(item, tuple):
        return str(item[1])
    return f"{getattr(item, '__module__', '')}.{getattr(item, '__qualname__', '')}"


_PUSH_ARGUMENT = frozenset({
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "BINFLOAT", "FLOAT",
    "BINUNICODE", "SHORT_BINUNICODE", "UNICODE", "BINSTRING", "SHORT_BINSTRING", "STRING",
    "BINBYTES", "SHORT_BINBYTES",
})  # fmt: skip
_ACTIONS: dict[str, Callable[[Machine], Any]] = {
    "EMPTY_LIST": lambda m: m.stack.append(_Box()),
    "EMPTY_DICT": lambda m: m.stack.append(_Box()),
    "EMPTY_SET": lambda m: m.stack.append(_Box()),
    "EMPTY_TUPLE": lambda m: m.stack.append(_Tuple((), 1)),
    "NONE": lambda m: m.stack.append(None),
    "NEWTRUE": lambda m: m.stack.append(True),
    "NEWFALSE": lambda m: m.stack.append(False),
    "MARK": Machine.mark,
    "TUPLE": lambda m: m.tuple_of(m.group()),
    "TUPLE1": lambda m: m.tuple_of(m.take(1)),
    "TUPLE2": lambda m: m.tuple_of(m.take(2)),
    "TUPLE3": lambda m: m.tuple_of(m.take(3)),
    "APPEND": lambda m: m.append(m.take(1)),
    "APPENDS": lambda m: m.append(m.group()),
    "SETITEM": lambda m: m.set_items(m.take(2)),
    "SETITEMS": lambda m: m.set_items(m.group()),
    "BINPERSID": Machine.persistent,
    "BUILD": Machine.build,
    "NEWOBJ": Machine.new_object,
    "REDUCE": Machine.reduce,
    "PROTO": lambda m: None,
    "STOP": lambda m: None,
}
