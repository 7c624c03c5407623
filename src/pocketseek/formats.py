"""Tensor formats: names, sizes and the one on-disk layout (package format 1). Base room: arithmetic on sizes only.

A matrix (outputs, inputs) is cut into tile rows of 16 outputs; rows and columns are padded with zeros to 16 and 32.
A tile row is contiguous, so a tensor may be cut between any two of them. Inside it, planes follow each other:

    q4s   [quants: blocks x 256 B][scales d: blocks x 16 x f16]                        pad to 64 B
    q4a   [quants: blocks x 256 B][scales d: blocks x 16 x f16][minima m: likewise]    pad to 64 B
    q6s   [quants: blocks x 384 B][scales d: blocks x 16 x f16]                        pad to 64 B
    q8s   [quants: blocks x 512 B][scales d: blocks x 16 x f16]                        pad to 64 B
    q4p   [quants: blocks x 256 B][steps g: blocks x 8 B][scales D: superblocks x 16 x f16]        pad to 64 B
    f16   [inputs x 16 x f16]           f32   [inputs x 16 x f32]      (one input's 16 outputs side by side)

A block is 16 outputs x 32 inputs. Inputs go in groups of four; group j holds, for each of the 16 outputs r in turn, the
four values of inputs 4j..4j+3:

    q8s   byte[j*64 + r*4 + c]  = value(r, 4j+c) as int8                                j = 0..7
    q4*   byte[i*64 + r*4 + c]  = value(r, 8i+c) | value(r, 8i+4+c) << 4                i = 0..3   (unsigned 0..15)
    q6s   the low four bits of each value (unsigned 0..63) in 256 bytes as q4*, then the high two in 128:
          byte[256 + h*64 + r*4 + c] = high(r, 16h+c) | high(r, 16h+4+c) << 2
                                     | high(r, 16h+8+c) << 4 | high(r, 16h+12+c) << 6   h = 0..1

so that a 64-byte load is 16 lanes of four inputs. q4s stores q with the value d*(q-8), q4a the value d*q+m, q6s
d*(q-32), q8s d*q.

q4p has two levels: the value is D*g*(q-8), with one D for 8 blocks (256 inputs, a superblock; the last one of a row may
hold 1 to 7 blocks) and a whole number g = 0..15 for each block: byte[b*8 + r] = g(r) | g(r+8) << 4 for r = 0..7.
Vectors (norms, biases, rope frequencies) are plain little-endian f32, unpadded.
"""

from __future__ import annotations

from dataclasses import dataclass

TILE_ROWS = 16
BLOCK_COLS = 32
SUPERBLOCK_BLOCKS = 8
TENSOR_ALIGNMENT_BYTES = 16 * 1024  # the page of new Android phones
MAX_CHUNK_BYTES = 100_000_000
SEGMENT_BYTES = 1024 * 1024


@dataclass(frozen=True)
class TensorFormat:
    """Sizes of one format. block_bytes: what one 16 x 32 block takes over all planes but those per superblock.

    superblock_bytes: what 16 rows x 256 inputs take besides.
    """

    name: str
    block_bytes: int
    bits_per_weight: float
    quantised: bool
    superblock_bytes: int = 0


FORMATS: dict[str, TensorFormat] = {
    "q4s": TensorFormat("q4s", 256 + 32, 4.5, True),
    "q4a": TensorFormat("q4a", 256 + 64, 5.0, True),
    "q4p": TensorFormat("q4p", 256 + 8, 4.1875, True, 32),
    "q6s": TensorFormat("q6s", 384 + 32, 6.5, True),
    "q8s": TensorFormat("q8s", 512 + 32, 8.5, True),
    "f16": TensorFormat("f16", 1024, 16.0, False),
    "f32": TensorFormat("f32", 2048, 32.0, False),
}


def num_tile_rows(rows: int) -> int:
    return -(-rows // TILE_ROWS)


def num_blocks(cols: int) -> int:
    return -(-cols // BLOCK_COLS)


def num_superblocks(cols: int) -> int:
    return -(-num_blocks(cols) // SUPERBLOCK_BLOCKS)


def tile_row_bytes(format_name: str, cols: int) -> int:
    """Bytes of one tile row (16 outputs x all inputs), a multiple of 64. Raises KeyError for an unknown format."""
    format_ = FORMATS[format_name]
    used = num_blocks(cols) * format_.block_bytes + num_superblocks(cols) * format_.superblock_bytes
    return -(-used // 64) * 64


def tensor_bytes(format_name: str, shape: tuple[int, ...]) -> int:
    """Bytes of a whole tensor: a matrix in tiles, or a vector of f32."""
    if len(shape) == 1:
        return 4 * shape[0]
    rows, cols = shape
    return num_tile_rows(rows) * tile_row_bytes(format_name, cols)
