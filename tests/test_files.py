"""Files appear whole or not at all, whatever moment the process that writes them is killed at."""

import hashlib
import json
import os
import random
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sphuni._files import atomic_writer, remove_leftovers, write_bytes, write_text

KILLS = 200


def framed(content):
    """Put a digest in front, so that a reader can tell a whole file from a piece."""
    return hashlib.sha256(content).digest() + content


def is_whole(path):
    data = path.read_bytes()
    return len(data) >= 32 and hashlib.sha256(data[32:]).digest() == data[:32]


def write_for_ever(target, seed):
    """Replace one file by larger and smaller ones until somebody kills this process."""
    source = random.Random(seed)
    while True:
        write_bytes(target, framed(source.randbytes(source.randrange(1, 1 << 20))))


def kill_writers(folder, kills, seed):
    """Start that many writers, kill each after a random time and say what they left behind."""
    source = random.Random(seed)
    whole = leftovers = 0
    target = folder / "results.json"
    write_bytes(target, framed(b"the first version"))
    for i in range(kills):
        child = os.fork()
        if child == 0:
            try:
                write_for_ever(target, seed=i)
            finally:
                os._exit(1)
        signal.sigtimedwait([], source.uniform(0.001, 0.03))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "a writer ended by itself"
        whole += is_whole(target)
        unfinished = [item for item in folder.iterdir() if item != target]
        leftovers += len(unfinished)
        for item in unfinished:
            item.unlink()
    return {"whole": whole, "leftovers": leftovers, "last": target.stat().st_size}


def test_two_hundred_kills_leave_two_hundred_whole_files(tmp_path):
    # A process of its own, because forking one in which torch runs threads is not safe.
    child = subprocess.run(
        [sys.executable, __file__, str(tmp_path), str(KILLS)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr
    found = json.loads(child.stdout)
    assert found["whole"] == KILLS
    # Without these the kills would all have come between two writes, and prove nothing.
    assert found["leftovers"] > KILLS // 10


def test_an_error_in_the_block_keeps_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError, match="half way"):
        write_half(target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def write_half(target):
    with atomic_writer(target) as stream:
        stream.write(b"new")
        raise RuntimeError("half way")


def test_a_full_disk_keeps_the_old_file(tmp_path):
    target = tmp_path / "a.bin"
    write_bytes(target, b"old")
    script = (
        "import resource, signal, sys\n"
        "from sphuni._files import write_bytes\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_bytes(sys.argv[1], bytes(100_000))\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", script, str(target)], capture_output=True, text=True, timeout=60
    )
    assert child.returncode == 1
    assert "File too large" in child.stderr
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder .*nowhere.* does not exist; create it"):
        write_text(tmp_path / "nowhere" / "a.txt", "x")


def test_modes_are_those_of_the_old_file_or_the_umask(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "x")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask
    target.chmod(0o640)
    write_text(target, "y")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_text_is_utf8_and_long_names_fit(tmp_path):
    target = tmp_path / ("n" * 250)
    write_text(target, "für θ")
    assert target.read_bytes() == "für θ".encode()


if __name__ == "__main__":
    print(json.dumps(kill_writers(Path(sys.argv[1]), int(sys.argv[2]), seed=0)))


def test_links_keep_leading_to_the_file_that_is_written(tmp_path):
    write_text(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "broken").symlink_to(tmp_path / "later")
    for name, file in (("link", "real"), ("broken", "later")):
        write_text(tmp_path / name, "new")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / file).read_text() == "new"


def test_devices_and_pipes_are_written_to_and_stay(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text(pipe, "through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    write_text("/dev/null", "nothing")
    assert Path("/dev/null").is_char_device()


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no shared memory")
def test_files_in_shared_memory_are_replaced():
    path = Path(f"/dev/shm/sphuni-{os.getpid()}")
    try:
        for content in ("first", "second"):
            write_text(path, content)
            assert path.read_text() == content
    finally:
        path.unlink(missing_ok=True)


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    kept = ["a[1].pt", ".a[1].pt", ".a[1].pt.tmp.pt", ".a1.pt.xyz.tmp"]
    for name in [*kept, ".a[1].pt.xyz.tmp", ".a[1].pt.abc.tmp"]:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path / "a[1].pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
