"""PNG files whose bytes depend on the pixels alone.

Every compressor (zlib, zlib-ng, ...) packs the same pixels into other bytes, so the pixels are
stored uncompressed here: the embedded data set then has one checksum on every machine.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

_STORED_LIMIT = 65535  # bytes in one stored block of a deflate stream (RFC 1951, 3.2.4)


def encode(image: np.ndarray) -> bytes:
    """Encode an 8-bit picture.

    Parameters
    ----------
    image
        uint8, shape (H, W) grey or (H, W, 3) RGB.

    Returns
    -------
    bytes
        A PNG file.
    """
    height, width = image.shape[:2]
    colour_type = 0 if image.ndim == 2 else 2
    rows = np.zeros((height, 1 + image[0].size), dtype=np.uint8)  # first byte of a row: no filter
    rows[:, 1:] = image.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", _stored(rows.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _stored(data: bytes) -> bytes:
    """Wrap bytes as a zlib stream (RFC 1950) of uncompressed blocks."""
    stream = [b"\x78\x01"]
    for start in range(0, len(data), _STORED_LIMIT):
        block = data[start : start + _STORED_LIMIT]
        last = start + _STORED_LIMIT >= len(data)
        stream.append(struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block)
    stream.append(struct.pack(">I", zlib.adler32(data)))
    return b"".join(stream)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
