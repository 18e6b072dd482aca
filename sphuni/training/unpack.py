"""Compressed logs turned back into folders of runs, so that an experiment goes on elsewhere."""

import dataclasses
from pathlib import Path

from sphuni._files import write_text
from sphuni.training import schema
from sphuni.training.archive import Results, read_results
from sphuni.training.plan import locked
from sphuni.training.runner import Outcome, is_done, read_result, run_folder, write_result

__all__ = ["Unpacked", "unpack"]


@dataclasses.dataclass(frozen=True)
class Unpacked:
    """What became of one log.

    Attributes
    ----------
    name : str
        Of the experiment.
    written, kept : int
        Runs that are now in the folder, and those that were there before and were left alone.
    """

    name: str
    written: int
    kept: int


def unpack(path: Path, out: Path) -> list[Unpacked]:
    """Write the runs of compressed logs into folders, where `run_experiment` finds them done.

    Parameters
    ----------
    path : Path
        A file ``<experiment>.jsonl.gz`` or a folder of such files.
    out : Path
        As for `run_experiment`; runs that are there already stay as they are.

    Raises
    ------
    UnreadableFileError
        If nothing is there, or a file is damaged.
    ValueError
        If another process is at work in the folder, or it holds runs with other settings.

    Notes
    -----
    A log keeps of every run what tables and curves need, its settings among it, so what is packed
    again is the same. Runs that had not ended begin anew: logs hold no weights.
    """
    return [_write(results, out / results.experiment.name) for results in read_results(path)]


def _write(results: Results, folder: Path) -> Unpacked:
    folder.mkdir(parents=True, exist_ok=True)
    written = kept = 0
    with locked(folder):
        _check_settings(results, folder)
        if not (folder / "experiment.toml").exists():
            write_text(folder / "experiment.toml", results.source)
        for run in results.outcomes:
            place = folder / _place(run)
            if is_done(place):
                kept += 1
                continue
            place.mkdir(parents=True, exist_ok=True)
            write_result(place, run)
            written += 1
    return Unpacked(results.experiment.name, written, kept)


def _check_settings(results: Results, folder: Path) -> None:
    """Refuse to put runs beside those of another seed that were made otherwise."""
    for place, run in {_place(run).parent: run for run in results.outcomes}.items():
        others = (read_result(one) for one in sorted((folder / place).glob("seed-*")))
        there = next((other for other in others if other is not None), None)
        if there is not None and run.settings:  # which logs of before they were kept lack
            what = f"{str(folder / place)!r} holds"
            # older runs do not say all that newer ones do; nothing is known of the rest
            wanted, found = {**there.settings, **run.settings}, {**run.settings, **there.settings}
            schema.check_same(wanted, found, what)


def _place(run: Outcome) -> Path:
    return run_folder(run.case, run.arm, run.stage, run.candidate, run.seed)
