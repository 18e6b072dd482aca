"""Read every hostile file in one child process and print what happened, one JSON line per case.

Usage: run_cases.py FOLDER. The child limits its own address space, so that a bomb that goes off
is an error here and not the end of the machine.
"""

import gc
import json
import resource
import sys
import time
from pathlib import Path

from hostile_files import CASES, MARKER
from onnx import numpy_helper  # noqa: F401  (imported once, so that no case pays for it)

from sphuni._errors import RefusedFileError, UnreadableFileError
from sphuni.analysis.readers import read_tensors
from sphuni.nn.neurons import tensor_neurons


def status(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field}")


def attempt(path):
    try:
        loaded = read_tensors(path)
        records = list(tensor_neurons(loaded.tensors, kinds=loaded.kinds))
    except RefusedFileError as error:
        return "refused", str(error)
    except UnreadableFileError as error:
        return "unreadable", str(error)
    except BaseException as error:  # the test wants to know what escaped
        return f"escaped {type(error).__name__}", str(error)[:300]
    return "accepted", f"{len(records)} records, {len(loaded.skipped)} left out"


def main():
    folder = Path(sys.argv[1])
    paths = {}
    for name, (build, _, suffix) in CASES.items():
        home = folder / name
        home.mkdir()
        path = home / f"{name}{suffix}"
        paths[name] = build(path) or path
    gc.freeze()
    space = status("VmSize:") + (1 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    for name, path in paths.items():
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak of resident memory
        before, start = status("VmRSS:"), time.process_time()
        outcome, message = attempt(path)
        seconds, peak = time.process_time() - start, status("VmHWM:") - before
        ran = (folder / name / MARKER).exists()
        record = {"name": name, "outcome": outcome, "message": message, "seconds": seconds}
        print(json.dumps({**record, "bytes": peak, "ran_code": ran}), flush=True)


if __name__ == "__main__":
    main()
