// Sizes and addresses of the tiled tensor formats. The one description of the layout is src/pocketseek/formats.py.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace pocketseek {

enum class Format { q4s, q4a, q4p, q6s, q8s, f16, f32 };
inline constexpr const char* kFormatNames[] = {"q4s", "q4a", "q4p", "q6s", "q8s", "f16", "f32"};
inline constexpr int kNumFormats = 7;
inline constexpr int kTileRows = 16;
inline constexpr int kBlock = 32;
inline constexpr int kSuperBlocks = 8;  // blocks that share a q4p scale

inline constexpr size_t kExpandedBytes = kSuperBlocks * kBlock * kTileRows;  // a superblock of a q4p tile row, a byte for each value

inline constexpr size_t quant_bytes(Format f) {  // one block's first plane
    switch (f) {
        case Format::q4s: case Format::q4a: case Format::q4p: return 256;
        case Format::q6s: return 384;
        case Format::q8s: return 512;
        case Format::f16: return 1024;
        default: return 2048;
    }
}
inline constexpr size_t block_bytes(Format f) {  // one block over all planes but those per superblock
    switch (f) {
        case Format::q4s: return 256 + 32;
        case Format::q4a: return 256 + 64;
        case Format::q4p: return 256 + 8;
        case Format::q6s: return 384 + 32;
        case Format::q8s: return 512 + 32;
        default: return quant_bytes(f);
    }
}
// What a block has in the planes behind the first, scales per superblock shared out.
inline constexpr size_t scale_bytes(Format f) { return block_bytes(f) - quant_bytes(f) + (f == Format::q4p ? 32 / kSuperBlocks : 0); }
inline constexpr bool is_quantised(Format f) { return f != Format::f16 && f != Format::f32; }
inline constexpr int div_up(int a, int b) { return (a + b - 1) / b; }
inline constexpr size_t tile_row_bytes(Format f, int blocks) {
    const size_t scales = f == Format::q4p ? size_t(div_up(blocks, kSuperBlocks)) * 32 : 0;
    return (blocks * block_bytes(f) + scales + 63) / 64 * 64;
}

// Some tile rows of a matrix that lie together in one mapped chunk.
struct Part {
    int first_tile;
    int num_tiles;
    const uint8_t* data;
    size_t stride;  // from one tile row to the next
};

// A weight matrix (rows = outputs, cols = inputs), possibly spread over several chunks.
struct Matrix {
    Format format = Format::f32;
    int rows = 0, cols = 0;
    std::vector<Part> parts;  // ascending, covering every tile row

    bool present() const { return rows > 0; }
    int tiles() const { return div_up(rows, kTileRows); }
    int blocks() const { return div_up(cols, kBlock); }
    size_t stride() const { return tile_row_bytes(format, blocks()); }
    const uint8_t* tile(int index) const {
        for (const Part& part : parts)
            if (index < part.first_tile + part.num_tiles) return part.data + (index - part.first_tile) * part.stride;
        return nullptr;
    }
    // The next tile rows of a matrix whose format and size are set. What goes on in memory where the part before ends joins it.
    void add_part(int num_tiles, const uint8_t* data) {
        if (!parts.empty() && parts.back().data + parts.back().num_tiles * parts.back().stride == data) parts.back().num_tiles += num_tiles;
        else parts.push_back({parts.empty() ? 0 : parts.back().first_tile + parts.back().num_tiles, num_tiles, data, stride()});
    }
    // Some of its tile rows as a matrix of their own, which knows nothing of the others.
    Matrix slice(int first_tile, int num_tiles) const {
        Matrix some{format, std::min(num_tiles * kTileRows, rows - first_tile * kTileRows), cols, {}};
        for (const Part& part : parts) {
            const int begin = std::max(first_tile, part.first_tile), end = std::min(first_tile + num_tiles, part.first_tile + part.num_tiles);
            if (begin < end) some.parts.push_back({begin - first_tile, end - begin, part.data + (begin - part.first_tile) * part.stride, part.stride});
        }
        return some;
    }
};

}  // namespace pocketseek
