"""Count the fields of a protobuf message before it is parsed.

Two bytes of a message can become a hundred bytes of objects, so a small file could exhaust
memory. The walk follows the schema, reads lengths only, and stops at the limit.
"""

from typing import Any

from sphuni._errors import RefusedFileError, UnreadableFileError

__all__ = ["check_fields"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEPTH = 64


def check_fields(data: memoryview, schema: Any, max_fields: int) -> None:
    """Raise if the message has more than `max_fields` fields at all its levels together.

    Parameters
    ----------
    data : memoryview of bytes
    schema : protobuf descriptor of the outermost message
    max_fields : int

    Raises
    ------
    UnreadableFileError
        If the bytes are no message.
    RefusedFileError
        If there are too many fields or levels.
    """
    pending = [(0, len(data), schema, 0)]
    fields = 0
    while pending:
        place, end, message, depth = pending.pop()
        if depth > _DEPTH:
            raise RefusedFileError(f"its graph is nested more than {_DEPTH} levels deep")
        known = message.fields_by_number
        while place < end:
            fields += 1
            if fields > max_fields:
                raise RefusedFileError(f"its graph has more than {max_fields} fields")
            key = data[place]
            place += 1
            if key > 0x7F:
                key, place = _varint(data, place - 1, end)
            place, length = _content(data, place, end, key & 7)
            field = known.get(key >> 3)
            if key & 7 == _BYTES and field is not None and field.message_type is not None:
                pending.append((place, place + length, field.message_type, depth + 1))
            place += length


def _content(data: memoryview, place: int, end: int, wire: int) -> tuple[int, int]:
    """Find where the content of a field begins and how long it is."""
    if wire == _VARINT:
        _, behind = _varint(data, place, end)
        return behind, 0
    if wire == _BYTES:
        length, place = _varint(data, place, end)
    elif wire in (_FIXED64, _FIXED32):
        length = 8 if wire == _FIXED64 else 4
    else:
        raise UnreadableFileError("it is not an ONNX model")
    if length > end - place:
        raise UnreadableFileError("it is not a whole ONNX model")
    return place, length


def _varint(data: memoryview, place: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while place < end and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise UnreadableFileError("it is not a whole ONNX model")
