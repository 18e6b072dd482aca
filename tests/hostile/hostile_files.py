"""Builders of files that attack their reader. Nothing of them is kept: each test run writes anew.

`CASES` maps a name to a builder and to what must happen: "refused" (RefusedFileError),
"unreadable" (UnreadableFileError that is not a refusal), "error" (either), or "accepted".
"""

import io
import json
import os
import pickle
import random
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto, helper

CASES = {}
MARKER = "code-was-run"


def case(expected, suffix):
    """Register a builder; it receives the path to write and may return another one to read."""

    def register(build):
        CASES[build.__name__] = (build, expected, suffix)
        return build

    return register


class Payload:
    """An object whose unpickling runs a shell command."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


def _marker(path):
    return str(path.parent / MARKER)


@case("refused", ".pt")
def code_in_zip(path):
    torch.save({"w": Payload(_marker(path))}, path)


@case("refused", ".pt")
def code_in_legacy(path):
    torch.save({"w": Payload(_marker(path))}, path, _use_new_zipfile_serialization=False)


@case("refused", ".bin")
def code_in_plain_pickle(path):
    path.write_bytes(pickle.dumps(Payload(_marker(path)), protocol=2))


@case("refused", ".ckpt")
def code_in_protocol_4(path):
    path.write_bytes(pickle.dumps(Payload(_marker(path)), protocol=4))


@case("unreadable", ".pt")
def code_in_protocol_0(path):
    path.write_bytes(pickle.dumps(Payload(_marker(path)), protocol=0))


@case("refused", ".pkl")
def code_in_pkl(path):
    path.write_bytes(pickle.dumps(Payload(_marker(path))))


@case("accepted", ".npz")
def code_in_npz(path):
    np.savez(path, w=np.array([Payload(_marker(path))], dtype=object), v=np.ones((3, 2)))


@case("accepted", ".npy")
def code_in_npy(path):
    np.save(path, np.array([Payload(_marker(path))], dtype=object), allow_pickle=True)


@case("refused", ".safetensors")
def code_in_pickled_shard(path):
    index = path.parent / f"{path.stem}.safetensors.index.json"
    torch.save({"w": Payload(_marker(path))}, path.parent / "shard_with_code.bin")
    index.write_text(json.dumps({"weight_map": {"w": "shard_with_code.bin"}}))
    return index


@case("refused", ".pt")
def whole_module(path):
    torch.save(torch.nn.Linear(3, 2), path)


@case("refused", ".pt")
def numpy_scalar(path):
    torch.save({"lr": np.float64(0.1), "w": torch.ones(2, 2)}, path)


@case("refused", ".pt")
def torchscript(path):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(3, 2), torch.ones(1, 3)), path)


@case("refused", ".pt")
def stride_zero_expand(path):
    torch.save({"w": torch.zeros(1).expand(1 << 17, 1 << 17)}, path)


@case("refused", ".pt")
def stride_zero_expand_legacy(path):
    bomb = {"w": torch.zeros(1).expand(1 << 17, 1 << 17)}
    torch.save(bomb, path, _use_new_zipfile_serialization=False)


@case("accepted", ".pt")
def small_expand(path):
    torch.save({"w": torch.zeros(1).expand(8, 8), "v": torch.eye(3)}, path)


@case("refused", ".pt")
def deflated_archive(path):
    whole = io.BytesIO()
    torch.save({"w": torch.zeros(1 << 24)}, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            new.writestr(item.filename, old.read(item))


@case("accepted", ".pt")
def list_bomb(path):
    bomb = []
    for _ in range(12):
        bomb = [bomb] * 10
    torch.save({"w": torch.ones(2, 2), "bomb": bomb}, path)


@case("refused", ".pt")
def nested_lists(path):
    deep = b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."
    _zip_with_pickle(path, deep)


@case("refused", ".pt")
def tuple_hash_bomb(path):
    """2^60 leaves in a key: hashing it never ends."""
    levels = b"".join(b"h\x00h\x00\x86q\x00" for _ in range(60))
    _zip_with_pickle(path, b"\x80\x02](K\x01\x85q\x00" + levels + b"}h\x00K\x01se.")


@case("refused", ".pt")
def tuple_hash_crowd(path):
    """Keys of 2^17 leaves each, a thousand times."""
    levels = b"".join(b"h\x00h\x00\x86q\x00" for _ in range(17))
    keys = b"h\x00K\x01s" * 1000
    _zip_with_pickle(path, b"\x80\x02](K\x01\x85q\x00" + levels + b"}" + keys + b"e.")


@case("refused", ".pt")
def bytearray_bomb(path):
    _zip_with_pickle(path, b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\0\0\0\0\x04\x85R.")


@case("refused", ".pt")
def tensor_class_bomb(path):
    _zip_with_pickle(path, b"\x80\x02ctorch\nFloatTensor\n\x8a\x05\0\0\0\0\x04\x85R.")


@case("refused", ".pt")
def encode_copies_bomb(path):
    text = b"](X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"q\x00"
    call = b"c_codecs\nencode\nq\x01(h\x00X\x06\0\0\0latin1tR"
    again = b"h\x01(h\x00X\x06\0\0\0latin1tR"
    _zip_with_pickle(path, b"\x80\x02" + text + call + again * 2000 + b"e.")


@case("refused", ".pt")
def ordered_dict_copies_bomb(path):
    pairs = b"](" + b"K\x01K\x02\x86" * 50_000 + b"eq\x00"
    call = b"h\x01h\x00\x85R"
    head = b"\x80\x02](ccollections\nOrderedDict\nq\x01" + pairs
    _zip_with_pickle(path, head + call * 1000 + b"e.")


@case("refused", ".pt")
def empty_lists(path):
    _zip_with_pickle(path, b"\x80\x02](" + b"]" * 3_000_000 + b"e.")


@case("accepted", ".pt")
def as_many_lists_as_allowed(path):
    _zip_with_pickle(path, b"\x80\x02](" + b"]" * 299_990 + b"e.")


@case("error", ".pt")
def huge_pickle(path):
    _zip_with_pickle(path, b"\x80\x02](" + b"K\x01" * 9_000_000 + b"e.")


@case("error", ".pt")
def memo_index(path):
    _zip_with_pickle(path, b"\x80\x02}r\xff\xff\xff\x7f.")


@case("error", ".pt")
def binbytes_claim(path):
    _zip_with_pickle(path, b"\x80\x02B\xff\xff\xff\x7fabc")


@case("error", ".pt")
def binbytes_claim_legacy(path):
    path.write_bytes(b"\x80\x02B\xff\xff\xff\x7fabc")


@case("error", ".pt")
def giant_integer(path):
    _zip_with_pickle(
        path, b"\x80\x02\x8b" + struct.pack("<i", 1 << 22) + b"\x7f" * (1 << 22) + b"."
    )


@case("error", ".pt")
def persistent_id_of_bomb(path):
    levels = b"".join(b"](h\x00h\x00eq\x00" for _ in range(60))
    _zip_with_pickle(path, b"\x80\x02](]q\x00" + levels + b"h\x00\x85Qe.")


@case("error", ".pt")
def storage_claims_too_much(path):
    _edited(path, lambda p: p.replace(b"K\x04", b"\x8a\x05\0\0\0\0\x04", 1))


@case("error", ".pt")
def size_beyond_storage(path):
    _edited(path, lambda p: p.replace(b"K\x02K\x02\x86", b"M\xff\xffM\xff\xff\x86", 1))


@case("error", ".pt")
def negative_offset(path):
    _edited(path, lambda p: p.replace(b"QK\x00", b"QJ\xff\xff\xff\xff", 1))


@case("error", ".pt")
def far_offset(path):
    _edited(path, lambda p: p.replace(b"QK\x00", b"QJ\x00\x00\x00\x40", 1))


@case("error", ".pt")
def storage_outside_archive(path):
    _edited(path, lambda p: p.replace(b"X\x01\0\0\x000", b"X\x10\0\0\x00../../etc/passwd", 1))


@case("accepted", ".pt")
def sparse_huge(path):
    i = torch.zeros(2, 1, dtype=torch.long)
    huge = torch.sparse_coo_tensor(i, torch.ones(1), (1 << 20, 1 << 20), check_invariants=False)
    torch.save({"w": huge, "v": torch.eye(3)}, path)


@case("refused", ".pt")
def sparse_with_expanded_indices(path):
    i = torch.zeros(1, dtype=torch.long).expand(2, 1 << 33)
    v = torch.zeros(1).expand(1 << 33)
    huge = torch.sparse_coo_tensor(i, v, (9, 9), check_invariants=False)
    torch.save({"w": huge}, path)


@case("accepted", ".pt")
def meta_huge(path):
    torch.save({"w": torch.empty(1 << 20, 1 << 20, device="meta"), "v": torch.eye(3)}, path)


@case("refused", ".pt")
def many_axes(path):
    torch.save({"w": torch.zeros([1] * 60)}, path)


@case("refused", ".pt")
def long_name(path):
    torch.save({"n" * 1_000_000: torch.zeros(2, 2)}, path)


@case("accepted", ".pt")
def strange_keys(path):
    state = {("a", 1): torch.eye(2), 1: torch.eye(2), "1": torch.eye(2), None: torch.eye(2)}
    torch.save(state, path)


@case("accepted", ".pt")
def only_numbers(path):
    torch.save({"step": 3, "history": [1.0, 2.0]}, path)


@case("error", ".pt")
def overlapping_members(path):
    """Many directory entries that point at one stored megabyte."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        archive.writestr("a/data/0", bytes(1 << 20))
        last = archive.infolist()[-1]
        for i in range(1, 2000):
            twin = zipfile.ZipInfo(f"a/data/{i}")
            for field in ("header_offset", "CRC", "file_size", "compress_size"):
                setattr(twin, field, getattr(last, field))
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
            archive._didModify = True


@case("refused", ".pt")
def duplicate_members(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            archive.writestr("a/data.pkl", b"\x80\x02].")


@case("refused", ".pt")
def members_that_differ_in_case(path):
    """An innocent programme for the check, another one for a reader that ignores case."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/DATA.PKL", b"\x80\x02](" + b"]" * 9000 + b"e.")
        archive.writestr("a/data.pkl", b"\x80\x02}.")


@case("unreadable", ".pt")
def archive_behind_an_archive(path):
    first, second = io.BytesIO(), io.BytesIO()
    torch.save({"w": Payload(_marker(path))}, first)
    torch.save({"w": torch.eye(2)}, second)
    path.write_bytes(first.getvalue() + second.getvalue())


@case("unreadable", ".pt")
def archive_with_a_tail(path):
    torch.save({"w": torch.eye(2)}, path)
    path.write_bytes(path.read_bytes() + b"more")


def _wide_end(length, start, place):
    """The wide end record of an archive's directory, and the locator that follows it."""
    record = b"PK\x06\x06" + struct.pack("<Q2H2I4Q", 44, 45, 45, 0, 0, 1, 1, length, start)
    return record + b"PK\x06\x07" + struct.pack("<IQI", 0, place, 1)


@case("refused", ".pt")
def two_directories(path):
    """One directory right before the end records, another where their offsets lead."""
    archives = []
    for key in ("checked", "loaded"):
        stream = io.BytesIO()
        torch.save({key: torch.eye(2)}, stream)
        start = zipfile.ZipFile(stream).start_dir
        content = stream.getvalue()
        length = struct.unpack("<I", content[-10:-6])[0]
        archives.append((content[:start], bytearray(content[start : start + length])))
    (first, checked), (second, loaded) = archives
    place = 0
    while place < len(loaded):
        sizes = struct.unpack("<3H", loaded[place + 28 : place + 34])
        offset = struct.unpack("<I", loaded[place + 42 : place + 46])[0] + len(first)
        loaded[place + 42 : place + 46] = struct.pack("<I", offset)
        place += 46 + sum(sizes)
    content = first + second + loaded
    elsewhere = len(content)
    content += _wide_end(len(loaded), elsewhere - len(loaded), elsewhere)[:56] + checked
    content += _wide_end(len(checked), len(content) - len(checked), elsewhere)
    path.write_bytes(content + b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 1, 1, 100, 0, 0))


@case("refused", ".npz")
def member_crowd_behind_a_short_claim(path):
    """The short end record claims 100 bytes; the wide one, which counts, has 20 MB."""
    entry = b"PK\x01\x02" + struct.pack("<6H3I5H2I", 20, 20, *[0] * 7, 1, *[0] * 6) + b"a"
    directory = entry * 420_000
    content = directory + _wide_end(len(directory), 0, len(directory))
    path.write_bytes(content + b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 1, 1, 100, 0, 0))


@case("refused", ".npz")
def member_crowd_of_short_names(path):
    """More entries than `max_tensors` in a directory of fewer bytes than `max_header`."""
    entry = b"PK\x01\x02" + struct.pack("<6H3I5H2I", 20, 20, *[0] * 7, 1, *[0] * 6) + b"a"
    directory = entry * 330_000
    end = struct.pack("<4H2IH", 0, 0, 1, 1, len(directory), 0, 0)
    path.write_bytes(directory + b"PK\x05\x06" + end)


@case("error", ".pt")
def member_crowd(path):
    """A directory of 100,500 entries, all for one empty member."""
    count, name = 100_500, b"0"
    local = b"PK\x03\x04" + struct.pack("<5H3I2H", 20, 0, 0, 0, 33, 0, 0, 0, len(name), 0) + name
    entry = struct.pack("<6H3I5H2I", 20, 20, 0, 0, 0, 33, 0, 0, 0, len(name), 0, 0, 0, 0, 0, 0)
    directory = (b"PK\x01\x02" + entry + name) * count
    end = struct.pack("<4H2IH", 0, 0, count & 0xFFFF, count & 0xFFFF, len(directory), len(local), 0)
    path.write_bytes(local + directory + b"PK\x05\x06" + end)


@case("error", ".pt")
def encrypted_flag(path):
    _zip_with_pickle(path, b"\x80\x02}.")
    content = bytearray(path.read_bytes())
    content[content.find(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


@case("unreadable", ".pt")
def truncated_zip(path):
    torch.save({"w": torch.ones(64, 64)}, path)
    path.write_bytes(path.read_bytes()[:-300])


@case("unreadable", ".pt")
def random_bytes(path):
    path.write_bytes(random.Random(0).randbytes(4096))


@case("error", ".pth")
def random_pickle(path):
    path.write_bytes(b"\x80\x02" + random.Random(1).randbytes(4096))


@case("unreadable", ".ckpt")
def zip_of_something_else(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


@case("error", ".bin")
def legacy_tar(path):
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))


def _zip_with_pickle(path, program):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/version", b"3\n")


def _edited(path, edit):
    """Save a 2 x 2 tensor and change its pickle programme."""
    whole = io.BytesIO()
    torch.save({"w": torch.ones(2, 2)}, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for item in old.infolist():
            content = old.read(item)
            if item.filename.endswith("data.pkl"):
                changed = edit(content)
                assert changed != content
                content = changed
            new.writestr(item.filename, content)


def _safetensors(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def _entry(shape=(2, 2), dtype="F32", offsets=None):
    size = 4
    for side in shape:
        size *= side
    return {"dtype": dtype, "shape": list(shape), "data_offsets": offsets or [0, size]}


@case("unreadable", ".safetensors")
def st_short(path):
    path.write_bytes(b"abc")


@case("unreadable", ".safetensors")
def st_header_claim(path):
    path.write_bytes(b"\xff" * 7 + b"\x7f" + b"{}")


@case("refused", ".safetensors")
def st_long_header(path):
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", 99_000_000))
        stream.truncate(99_000_008)


@case("refused", ".safetensors")
def st_crowd(path):
    names = (f'"{i:x}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(200_000))
    _safetensors(path, ("{" + ",".join(names) + "}").encode())


@case("accepted", ".safetensors")
def st_many(path):
    names = (f'"{i:x}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for i in range(20_000))
    _safetensors(path, ("{" + ",".join(names) + "}").encode())


@case("refused", ".safetensors")
def st_axes(path):
    _safetensors(path, {"w": _entry((1,) * 60, offsets=[0, 4])}, bytes(4))


@case("refused", ".safetensors")
def st_million_axes(path):
    sides = b",".join([b"1"] * 3_000_000)
    _safetensors(
        path, b'{"w":{"dtype":"F32","shape":[' + sides + b'],"data_offsets":[0,4]}}', bytes(4)
    )


@case("refused", ".safetensors")
def st_duplicate(path):
    one = json.dumps(_entry())
    _safetensors(path, f'{{"w":{one},"w":{one}}}'.encode(), bytes(16))


@case("refused", ".safetensors")
def st_long_name(path):
    _safetensors(path, {"n" * 1_000_000: _entry()}, bytes(16))


@case("accepted", ".safetensors")
def st_strange_names(path):
    names = [
        "<script>alert(1)</script>",
        "../../etc/passwd",
        "a\0b",
        "\u202egnp.exe",
        "=cmd|' /C calc'!A0",
    ]
    entries = {name: _entry(offsets=[16 * i, 16 * i + 16]) for i, name in enumerate(names)}
    _safetensors(path, entries, np.ones(4 * len(names), np.float32).tobytes())


@case("refused", ".safetensors")
def st_impossible_shape(path):
    _safetensors(path, {"w": _entry((0, 1 << 62), offsets=[0, 0])})


@case("error", ".safetensors")
def st_shape_overflow(path):
    _safetensors(path, {"w": _entry((1 << 40, 1 << 40), offsets=[0, 0])})


@case("refused", ".safetensors")
def st_unknown_dtype(path):
    _safetensors(path, {"w": _entry(dtype="Q4")}, bytes(16))


@case("unreadable", ".safetensors")
def st_negative(path):
    _safetensors(path, {"w": _entry((-2, -2), offsets=[0, 16])}, bytes(16))


@case("unreadable", ".safetensors")
def st_float_shape(path):
    _safetensors(path, {"w": _entry() | {"shape": [2.0, True]}}, bytes(16))


@case("unreadable", ".safetensors")
def st_mismatch(path):
    _safetensors(path, {"w": _entry((2, 3), offsets=[0, 16])}, bytes(16))


@case("error", ".safetensors")
def st_outside(path):
    _safetensors(path, {"w": _entry((200, 2))}, bytes(16))


@case("error", ".safetensors")
def st_overlap(path):
    _safetensors(path, {"w": _entry(), "v": _entry()}, bytes(32))


@case("error", ".safetensors")
def st_gap(path):
    _safetensors(path, {"w": _entry(offsets=[16, 32])}, bytes(32))


@case("error", ".safetensors")
def st_trailing(path):
    _safetensors(path, {"w": _entry()}, bytes(64))


@case("unreadable", ".safetensors")
def st_backwards(path):
    _safetensors(path, {"w": _entry(offsets=[16, 0])}, bytes(16))


@case("unreadable", ".safetensors")
def st_deep_json(path):
    _safetensors(path, b'{"w":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


@case("unreadable", ".safetensors")
def st_not_json(path):
    _safetensors(path, b"\xff\xfe{}")


@case("unreadable", ".safetensors")
def st_array(path):
    _safetensors(path, b"[1, 2]")


@case("error", ".safetensors")
def st_spaces(path):
    _safetensors(path, b"{}" + b" " * (1 << 24))


@case("refused", ".safetensors")
def st_brackets(path):
    _safetensors(path, b'{"w":[' + b"[]," * 5_000_000 + b"[]]}")


@case("error", ".safetensors")
def st_digits(path):
    _safetensors(
        path, b'{"w":{"dtype":"F32","shape":[' + b"9" * 1_000_000 + b'],"data_offsets":[0,0]}}'
    )


@case("unreadable", ".safetensors")
def st_infinite(path):
    _safetensors(path, b'{"w":{"dtype":"F32","shape":[Infinity],"data_offsets":[0,NaN]}}')


@case("accepted", ".safetensors")
def st_empty_state(path):
    _safetensors(path, {})


@case("accepted", ".safetensors")
def st_packed(path):
    _safetensors(path, {"w": {"dtype": "F4", "shape": [4, 4], "data_offsets": [0, 8]}}, bytes(8))


def _npy_header(shape, dtype="<f4", fortran=False, version=b"\x01\x00"):
    text = repr({"descr": dtype, "fortran_order": fortran, "shape": shape}).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text


@case("error", ".npy")
def npy_claims_too_much(path):
    path.write_bytes(_npy_header((1 << 30, 1 << 30)) + bytes(64))


@case("unreadable", ".npy")
def npy_cut(path):
    path.write_bytes(_npy_header((64, 64)) + bytes(64))


@case("unreadable", ".npy")
def npy_negative(path):
    path.write_bytes(_npy_header((-4, 4)) + bytes(64))


@case("refused", ".npy")
def npy_axes(path):
    path.write_bytes(_npy_header((1,) * 40) + bytes(4))


@case("unreadable", ".npy")
def npy_long_header(path):
    path.write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 28) + b"{" * 4096)


@case("unreadable", ".npy")
def npy_expression(path):
    text = b"{'descr': __import__('os').system('touch x'), 'shape': (1,)}\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)


@case("unreadable", ".npy")
def npy_nested_header(path):
    text = b"(" * 9000 + b")" * 900 + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)


@case("unreadable", ".npy")
def npy_version(path):
    path.write_bytes(_npy_header((2, 2), version=b"\x09\x00") + bytes(16))


@case("accepted", ".npy")
def npy_strings(path):
    np.save(path, np.array(["a", "bc"]))


@case("accepted", ".npy")
def npy_fortran_big_endian(path):
    np.save(path, np.asfortranarray(np.arange(6, dtype=">f8").reshape(2, 3)))


@case("accepted", ".npy")
def npy_empty(path):
    np.save(path, np.zeros((0, 5)))


@case("refused", ".npz")
def npz_bomb(path):
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("w.npy", "w", force_zip64=True) as stream,
    ):
        stream.write(_npy_header((25 << 20,)))
        for _ in range(100):
            stream.write(bytes(1 << 20))


@case("error", ".npz")
def npz_many_bombs(path):
    _npz_bomb_of(path, members=20)


@case("refused", ".npz")
def npz_member_claims_more(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", _npy_header((1 << 20, 1 << 20)) + bytes(64))


@case("refused", ".npz")
def npz_lzma(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("w.npy", _npy_header((1024,)) + bytes(4096))


@case("error", ".npz")
def npz_duplicate(path):
    with zipfile.ZipFile(path, "w") as archive:
        for _ in range(2):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                archive.writestr("w.npy", _npy_header((1,)) + bytes(4))


@case("accepted", ".npz")
def npz_other_members(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../outside.npy", _npy_header((2, 2)) + bytes(16))
        archive.writestr("readme.txt", "hello")


@case("unreadable", ".npz")
def npz_bad_crc(path):
    np.savez(path, w=np.ones((4, 4)))
    content = bytearray(path.read_bytes())
    content[content.find(b"\x93NUMPY") + 140] ^= 0xFF
    path.write_bytes(content)


def _npz_bomb_of(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        block = _npy_header((1 << 20,)) + bytes(1 << 22)
        for i in range(members):
            archive.writestr(f"{i}.npy", block)


def _onnx(path, tensors, nodes=()):
    graph = helper.make_graph(list(nodes), "g", [], [], list(tensors))
    path.write_bytes(helper.make_model(graph).SerializeToString())


@case("refused", ".onnx")
def onnx_external(path):
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1.0] * 4)
    del tensor.float_data[:]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../../etc/passwd"
    _onnx(path, [tensor])


@case("unreadable", ".onnx")
def onnx_claims_too_much(path):
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1.0] * 4)
    tensor.dims[:] = [1 << 31, 1 << 31]
    _onnx(path, [tensor])


@case("error", ".onnx")
def onnx_negative(path):
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1.0] * 4)
    tensor.dims[:] = [-2, -2]
    _onnx(path, [tensor])


@case("refused", ".onnx")
def onnx_field_bomb(path):
    tensors = b"\x2a\x00" * 8_000_000
    path.write_bytes(b"\x3a" + _varint(len(tensors)) + tensors)


@case("error", ".onnx")
def onnx_deep(path):
    graph = b""
    for _ in range(300):
        attribute = b"\x32" + _varint(len(graph)) + graph
        node = b"\x2a" + _varint(len(attribute)) + attribute
        graph = b"\x0a" + _varint(len(node)) + node
    path.write_bytes(b"\x3a" + _varint(len(graph)) + graph)


@case("unreadable", ".onnx")
def onnx_random(path):
    path.write_bytes(random.Random(2).randbytes(4096))


@case("accepted", ".onnx")
def onnx_strange_names(path):
    tensor = helper.make_tensor(
        "<img src=x onerror=alert(1)>", TensorProto.FLOAT, [2, 2], [1.0] * 4
    )
    _onnx(path, [tensor], [helper.make_node("MatMul", ["x", tensor.name], ["y"])])


@case("accepted", ".onnx")
def onnx_other_types(path):
    tensor = helper.make_tensor("w", TensorProto.STRING, [1], [b"text"])
    _onnx(path, [tensor])


@case("refused", ".onnx")
def onnx_long_name(path):
    _onnx(path, [helper.make_tensor("n" * 100_000, TensorProto.FLOAT, [2, 2], [1.0] * 4)])


def _varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


@case("unreadable", ".safetensors")
def missing(path):
    return path


@case("unreadable", ".pt")
def empty(path):
    path.write_bytes(b"")


@case("unreadable", ".pt")
def fifo(path):
    os.mkfifo(path)


@case("unreadable", "")
def device(path):
    return Path("/dev/zero")


@case("unreadable", ".pt")
def link_to_device(path):
    path.symlink_to("/dev/zero")


@case("unreadable", ".pt")
def link_to_nothing(path):
    path.symlink_to(path.parent / "nowhere.pt")


@case("unreadable", ".pt")
def link_to_itself(path):
    path.symlink_to(path)


@case("unreadable", ".safetensors")
def folder_named_like_a_file(path):
    path.mkdir()


@case("unreadable", "")
def crowded_folder(path):
    path.mkdir()
    for i in range(3000):
        (path / f"{i}.safetensors").touch()


@case("unreadable", ".exe")
def unknown_suffix(path):
    path.write_bytes(b"MZ")


@case("unreadable", ".pt")
def nul_in_name(path):
    return Path(str(path.parent / "a\0b.pt"))


@case("unreadable", ".pt")
def name_too_long(path):
    return path.parent / ("n" * 5000 + ".pt")


@case("accepted", ".safetensors")
def name_not_utf8(path):
    odd = Path(os.fsdecode(os.fsencode(path.parent) + b"/\xff\xfe.safetensors"))
    _safetensors(odd, {"w": _entry()}, bytes(16))
    return odd


@case("accepted", ".pt")
def torch_name_not_utf8(path):
    odd = Path(os.fsdecode(os.fsencode(path.parent) + b"/\xff\xfe.pt"))
    with odd.open("wb") as stream:
        torch.save({"w": torch.eye(3)}, stream)
    return odd


@case("refused", ".json")
def index_traversal(path):
    return _index(path, {"w": "../../../etc/passwd.safetensors"})


@case("refused", ".json")
def index_absolute(path):
    return _index(path, {"w": "/etc/passwd.safetensors"})


@case("refused", ".json")
def index_of_anything(path):
    return _index(path, {"w": "passwd"})


@case("refused", ".json")
def index_of_number(path):
    return _index(path, {"w": 7})


@case("refused", ".json")
def index_link_outside(path):
    folder = path.parent / "linked"
    folder.mkdir()
    _safetensors(path.parent / "outside.safetensors", {"w": _entry()}, bytes(16))
    (folder / "model-1.safetensors").symlink_to(path.parent / "outside.safetensors")
    return _index(folder / "x", {"w": "model-1.safetensors"})


@case("unreadable", ".json")
def index_missing_shard(path):
    return _index(path, {"w": "not-there.safetensors"})


@case("unreadable", ".json")
def index_wrong_names(path):
    _safetensors(path.parent / "other.safetensors", {"v": _entry()}, bytes(16))
    return _index(path, {"w": "other.safetensors"})


@case("unreadable", ".json")
def index_empty(path):
    return _index(path, {})


@case("unreadable", ".json")
def index_not_json(path):
    target = path.parent / "broken.safetensors.index.json"
    target.write_bytes(b"\xff{")
    return target


@case("error", ".json")
def index_deep(path):
    target = path.parent / "deep.safetensors.index.json"
    target.write_bytes(b"[" * 1_000_000)
    return target


@case("error", ".json")
def index_crowd(path):
    return _index(path, {str(i): "a.safetensors" for i in range(150_000)})


def _index(path, table):
    target = path.parent / f"{path.stem}.safetensors.index.json"
    target.write_text(json.dumps({"weight_map": table}))
    return target
