"""TensorBoard scalars of a run, for those who have TensorBoard installed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["open_board"]

Row = dict[str, Any]


def open_board(folder: Path) -> Callable[[list[Row]], None]:
    """Return a function that writes the rows which it has not yet seen as scalars.

    Parameters
    ----------
    folder : Path
        Gets event files. A run that was resumed writes its earlier epochs again.

    Raises
    ------
    ImportError
        If TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ImportError(
            "--tensorboard needs the package tensorboard; install it, or leave the option out: "
            "every number is in log.jsonl anyway"
        ) from None
    writer: Any = SummaryWriter(str(folder))
    seen = 0

    def report(rows: list[Row]) -> None:
        nonlocal seen
        for row in rows[seen:]:
            for name, value in _scalars(row).items():
                writer.add_scalar(name.replace(".", "/", 1), value, row.get("epoch", 0))
        seen = len(rows)
        writer.flush()

    return report


def _scalars(row: Row) -> dict[str, float]:
    """Numbers of a row; of the measured layers the excess energy of each."""
    if row.get("event") == "layers":
        return {
            f"excess.{layer['name']}": layer["excess"]["half:2"]
            for layer in row["layers"]
            if layer["excess"].get("half:2") is not None
        }
    plain = {key: value for key, value in row.items() if key not in ("event", "epoch")}
    return {key: float(value) for key, value in plain.items() if isinstance(value, int | float)}
