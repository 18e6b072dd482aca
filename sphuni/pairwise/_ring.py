"""Row shards of one point set on several processes: the shards travel round a ring.

Rank r of P keeps its own rows and meets the shards of the ranks r+1 .. r+P/2 (modulo P), so that
each unordered pair of shards is computed once. While it works on one shard the next is on its
way from rank r+1, and the forces on the shard before return to their owner. With P even two
ranks meet each other in the last hop: each then takes half of the rows of the lower of the two,
so that both work. The arithmetic is that of the other engines, in `_shards`.

Communication per rank, for n points in R^d, batch b and k kernels: about b n d / 2 numbers of
points and, where a gradient is asked for, k b n d / 2 numbers of forces, received and sent; a few
hundred bytes to agree on the call and 8 b k P for the result. Memory per rank: 3 + 5 k shards.
"""

import contextlib
import datetime
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from sphuni._errors import WorkerError, first_sentence
from sphuni.kernels import Kernel
from sphuni.pairwise import _shards
from sphuni.pairwise._autograd import connect, first_only, lost, narrowed, wants_gradient
from sphuni.pairwise.loops import _native
from sphuni.pairwise.tiles import _tiles

__all__ = ["agree_on_rows", "is_sharded", "local_rows", "replicated", "supports", "total"]

_SHARDS, _FORCES, _NEVER = 1, 2, 3  # tags, which keep the streams apart where P = 2


def supports(x: Any, y: Tensor | None, kernels: Sequence[Kernel], op: str) -> str | None:
    """Return the reason for refusing a call, or None."""
    if op != "sum" or y is not None:
        return "it computes sums over the pairs of one unweighted set only"
    if not (dist.is_available() and dist.is_initialized()):
        return (
            "no process group is initialised. Start the ranks with torchrun and call "
            "torch.distributed.init_process_group with a timeout before"
        )
    if is_sharded(x) and not _by_rows(x):
        return (
            f"a DTensor must be sharded on its rows, over a mesh of one dimension; "
            f"got placements {tuple(x.placements)}. Redistribute it to [Shard({x.ndim - 2})], or "
            f"pass full_tensor()"
        )
    backend, device = dist.get_backend(_group(x)), x.device.type
    if (backend, device) in (("gloo", "cuda"), ("nccl", "cpu")):
        return (
            f"the process group's backend {backend} does not send from {device} memory. "
            f"Initialise it with 'cpu:gloo,cuda:nccl', or move the points"
        )
    return None


def is_sharded(points: Tensor) -> bool:
    """Whether `points` is a DTensor; asking does not import the module."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(points, module.DTensor)


def local_rows(points: Any) -> Tensor:
    """Return the rows of a DTensor that this rank holds; any other tensor as it is."""
    return points.to_local() if is_sharded(points) else points


def replicated(value: Tensor, points: Any) -> Tensor:
    """Return a value that every rank holds as a DTensor where `points` is one."""
    if not is_sharded(points):
        return value
    from torch.distributed.tensor import DTensor, Replicate

    return DTensor.from_local(value, points.device_mesh, [Replicate()], run_check=False)


def agree_on_rows(points: Any, check: Callable[[Tensor], object], asked: str) -> int:
    """Return the number of rows on all ranks; a `ValueError` of `check` is raised on every rank.

    `check` is called with the rows of this rank, if there are any. `asked` says what the rank
    wants to know, which must be the same on all.
    """
    group, rows, complaint, count = _group(points), local_rows(points), "", 0
    try:
        if rows.ndim < 2:
            raise ValueError(f"points must have shape (..., n, d); got {tuple(rows.shape)}")
        count = rows.shape[-2]
        if count:
            check(rows)
    except ValueError as error:
        complaint = str(error)
    calls = _told_by_all((count, complaint, asked), rows, group)
    for rank, (_, found, wanted) in enumerate(calls):
        if found:
            raise ValueError(f"{found} (in the shard of rank {rank}; every rank raises this)")
        if wanted != calls[0][2]:
            raise ValueError(
                f"every rank must ask for the same; rank 0 asks for {calls[0][2]}, rank {rank} for "
                f"{wanted}"
            )
    return sum(count for count, _, _ in calls)


def total(x: Tensor, kernels: Sequence[Kernel], points: Tensor) -> Tensor:
    """Sum over i < j of the points of all ranks: rows (b, n, d) of this rank -> (b, k).

    `points` is the tensor that the caller passed, which names the group if it is a DTensor.
    """
    ring, with_gradient = _agree(x, tuple(kernels), _group(points))
    with ring.together():
        sums, gradients = _round_trip(x.detach(), tuple(kernels), ring, with_gradient)
        overflown = sums.new_full((len(sums), 1), with_gradient and lost(gradients, x))
        sums, overflown = ring.add_up(torch.cat([sums, overflown], dim=1)).tensor_split([-1], 1)
        if bool(overflown.any()):
            _, wide = _round_trip(x.detach().double(), tuple(kernels), ring, with_gradient)
            gradients = narrowed(wide, x.dtype)
        sums = sums.to(x.dtype)
    if not wants_gradient(x):
        return sums
    # backward must not need the other ranks, so nothing is computed again
    second = first_only("ring", "gather the rows and use engine='blockwise'")
    return connect(x, sums, gradients, second)


class _Transfer(NamedTuple):
    """Messages on their way; the tensor sent must live until they have arrived."""

    works: list[Any]
    sent: Tensor
    received: Tensor

    def wait(self) -> Tensor:
        """Return what came, once it is here and what was sent has left."""
        with _talking():
            for work in self.works:
                work.wait()
        return self.received


class _Returning(NamedTuple):
    """Forces that another rank computed, and the rows that they act on."""

    transfer: _Transfer
    rows: Tensor

    def settle(self) -> None:
        """Add the forces to their rows, in place."""
        self.rows.add_(self.transfer.wait())


class _Ring(NamedTuple):
    """The ranks that share a point set, and who meets whom."""

    rank: int
    rows: tuple[int, ...]
    group: Any

    @property
    def hops(self) -> int:
        """How many other shards a rank meets."""
        return len(self.rows) // 2

    def meeting(self, rank: int, hop: int) -> tuple[slice, slice]:
        """Rows of `rank`, and of the rank `hop` further on, whose pairs `rank` computes."""
        everything = slice(0, None)
        if 2 * hop < len(self.rows):
            return everything, everything
        middle = (self.rows[min(rank, self._after(rank, hop))] + 1) // 2
        if rank < hop:
            return slice(0, middle), everything
        return everything, slice(middle, None)

    def fetch(self, held: Tensor, hop: int) -> _Transfer:
        """Pass the shard held on to the rank before, and receive that of `hop` ranks further on."""
        arriving = held.new_empty(
            held.shape[0], self.rows[self._after(self.rank, hop)], held.shape[2]
        )
        return self._exchange(held, -1, arriving, 1, _SHARDS)

    def give_back(self, forces: Tensor, hop: int, gradients: Tensor) -> "_Returning":
        """Send forces on rows met in `hop` to their owner, and receive those on rows of one's own.

        They are to be added to the rows of `gradients` that are returned with the transfer.
        """
        theirs = self.meeting(self._after(self.rank, -hop), hop)[1]
        rows = gradients[:, :, theirs]
        arriving = rows.new_empty(rows.shape)
        return _Returning(self._exchange(forces, hop, arriving, -hop, _FORCES), rows)

    def add_up(self, sums: Tensor) -> Tensor:
        """Sum over the ranks, in their order, so that all get the same digits."""
        parts = [torch.empty_like(sums) for _ in self.rows]
        with _talking():
            dist.all_gather(parts, sums, group=self.group)
        return torch.stack(parts).sum(dim=0)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """If this rank fails, close its connections so that no other waits for it."""
        try:
            yield
        except BaseException:
            _abort(self.group)
            raise

    def _after(self, rank: int, steps: int) -> int:
        return (rank + steps) % len(self.rows)

    def _exchange(self, sent: Tensor, to: int, into: Tensor, source: int, tag: int) -> _Transfer:
        """Start sending to and receiving from ranks so many steps on; empty tensors stay."""
        sent = sent.contiguous()
        messages = [
            dist.P2POp(
                function,
                tensor,
                dist.get_global_rank(self.group, self._after(self.rank, steps)),
                self.group,
                tag,
            )
            for function, tensor, steps in ((dist.isend, sent, to), (dist.irecv, into, source))
            if tensor.numel()
        ]
        with _talking():
            works = dist.batch_isend_irecv(messages) if messages else []
        return _Transfer(works, sent, into)


def _round_trip(
    x: Tensor, kernels: tuple[Kernel, ...], ring: _Ring, with_gradient: bool
) -> tuple[Tensor, Tensor]:
    """Return the sums over the pairs met here, and the whole gradients of the rows held here."""
    arriving = ring.fetch(x, 1) if ring.hops else None
    native = _shards.has_native_loops(x, kernels)
    native = native and sum(ring.rows) ** 2 >= _native.fewest_pairs(kernels)
    sums, gradients = _shards.within(x, kernels, with_gradient, native)
    returning: _Returning | None = None
    for hop in range(1, ring.hops + 1):
        assert arriving is not None
        held = arriving.wait()
        arriving = ring.fetch(held, hop + 1) if hop < ring.hops else None
        mine, theirs = ring.meeting(ring.rank, hop)
        met, forces, reaction = _shards.between(
            x[:, mine], held[:, theirs], kernels, with_gradient, native
        )
        sums += met
        if with_gradient:
            gradients[:, :, mine] += forces
            if returning is not None:
                returning.settle()
            returning = ring.give_back(reaction, hop, gradients)
    if returning is not None:
        returning.settle()
    return sums, _tiles.tangent(x, gradients) if with_gradient else gradients


class _Call(NamedTuple):
    """What a rank brings to a call; all but the rows must be alike."""

    batch: int
    rows: int
    d: int
    dtype: str
    kernels: str
    with_gradient: bool
    bad_row: int | None


def _agree(x: Tensor, kernels: tuple[Kernel, ...], group: Any) -> tuple[_Ring, bool]:
    """Learn the sizes of all shards; what is wrong on one rank is raised on every rank."""
    whole = x.ndim == 3
    b, n, d = x.shape if whole else (0, 0, 0)  # no other rank has this, so that all of them raise
    wanted = wants_gradient(x)
    own = _Call(b, n, d, str(x.dtype), repr(kernels), wanted, _bad_row(x) if whole else None)
    ring = _Ring(dist.get_rank(group), (n,), group)
    with ring.together():
        calls = [_Call(*call) for call in _told_by_all(tuple(own), x, group)]
    for name in ("batch", "d", "dtype", "kernels"):
        found = [getattr(call, name) for call in calls]
        other = next((rank for rank, value in enumerate(found) if value != found[0]), None)
        if other is not None:
            raise ValueError(
                f"every rank must call with the same {name}; rank 0 has {found[0]}, "
                f"rank {other} has {found[other]}"
            )
    if not whole:
        raise ValueError(f"points must have shape (..., n, d); got {tuple(x.shape)}")
    for rank, call in enumerate(calls):
        if call.bad_row is not None:
            raise ValueError(
                f"points must be finite, and no row zero; row {call.bad_row} of the shard of "
                f"rank {rank} is not. Every rank raises this"
            )
    ring = ring._replace(rows=tuple(call.rows for call in calls))
    return ring, any(call.with_gradient for call in calls)


def _told_by_all(own: tuple[Any, ...], rows: Tensor, group: Any) -> list[Any]:
    """What every rank has to say; NCCL sends it from the current device, made that of the rows."""
    told: list[Any] = [None] * dist.get_world_size(group)
    with _talking(), torch.cuda.device_of(rows):
        dist.all_gather_object(told, own, group=group)
    return told


def _bad_row(x: Tensor) -> int | None:
    """Return the first row that is not finite (a row of zeros is not, once it is normalised)."""
    bad = ~torch.isfinite(x.detach()).all(dim=-1).all(dim=0)
    return int(bad.nonzero()[0, 0]) if bool(bad.any()) else None


@contextlib.contextmanager
def _talking() -> Iterator[None]:
    """Say in sphuni's own terms that a rank could not be reached."""
    try:
        yield
    except RuntimeError as error:
        reason = first_sentence(error)
        raise WorkerError(
            "a rank of the ring died, gave up or did not answer within the process group's timeout "
            f"({reason}). The process group can no longer be used: start the job again"
        ) from error


def _abort(group: Any) -> None:
    """Close the connections of this rank, so that the others learn that it gave up.

    NCCL does it when told; gloo only where a message has not come in time, so wait for one that
    never comes.
    """
    with contextlib.suppress(Exception):
        group.abort()
    with contextlib.suppress(Exception):
        beside = (dist.get_rank(group) + 1) % dist.get_world_size(group)
        room = torch.empty(1, device="cpu")
        never = dist.irecv(room, dist.get_global_rank(group, beside), group, _NEVER)
        assert never is not None
        never.wait(datetime.timedelta(milliseconds=1))


def _by_rows(points: Any) -> bool:
    return points.device_mesh.ndim == 1 and points.placements[0].is_shard(points.ndim - 2)


def _group(points: Any) -> Any:
    return points.device_mesh.get_group() if is_sharded(points) else dist.group.WORLD
