// q4p for many rows of activations: two tile rows at once, each superblock of them expanded once to bytes g * (q - 8) and then used for
// all rows of a panel. The integers are those of matmul.h, so the bits are too.
#pragma once

#include <cstring>

#include "table.h"

namespace pocketseek {
namespace {

// What a set gives:
//   expanded_tiles   1 or 2: tile rows whose sums for a group of rows fit its registers together
//   expanded_rows    rows of a group
//   panel_unit       inputs of one row that lie together in a panel
//   panel_flip       what the bytes of a panel are combined with by exclusive or: 0x80 makes them unsigned, a + 128
//   expand_block     512 bytes of one block, in the order its dot products want
//   start_sums       what the sums begin with: -128 * sum(weights) where the panel is unsigned
//   add_expanded     exact sums of some blocks for expanded_tiles tile rows and a group
template <class S> constexpr int expanded_rows() {
    if constexpr (S::has_expanded) return S::expanded_rows;
    else return 0;
}

template <class S>
static void pack_group(const Activations& rows, int count, const Panel& panel, int group, int first, int last) {
    if constexpr (S::has_expanded) {
        constexpr int M = S::expanded_rows, U = S::panel_unit;
        constexpr uint64_t flip = 0x0101010101010101u * S::panel_flip;
        const int blocks = rows.blocks, superblocks = rows.superblocks();
        for (int s = first; s < last; s++) {
            const int inputs = (blocks - s * kSuperBlocks < kSuperBlocks ? blocks - s * kSuperBlocks : kSuperBlocks) * kBlock;
            uint8_t* to = panel.values_of(s, group);
            float* scale = panel.scale_of(s, group);
            for (int i = 0; i < M; i++) {
                const int8_t* from = rows.wide.q + (size_t(i) * blocks + s * kSuperBlocks) * kBlock;
                scale[i] = i < count ? rows.wide.scale[size_t(i) * superblocks + s] : 0.0f;
                for (int k = 0; k < inputs; k += U) {
                    uint8_t unit[U] = {};
                    if (i < count) std::memcpy(unit, from + k, U);
                    for (int c = 0; c < U; c += 4) {
                        uint32_t four;
                        std::memcpy(&four, unit + c, 4);
                        four ^= uint32_t(flip);
                        std::memcpy(to + k * M + i * U + c, &four, 4);
                    }
                }
            }
        }
    }
}

// One expanded superblock of two tile rows for one group: out[2][M][16] becomes fma(exact integer sum, scale, out).
template <class S>
static void expanded_superblock(const TwoLevelTile* tiles, const uint8_t* expanded, const typename S::I* start, int s, int blocks, const uint8_t* values, const float* as, float* out) {
    constexpr int T = S::expanded_tiles, M = S::expanded_rows;
    for (int first = 0; first < 2; first += T) {
        typename S::I c[T][M];
        for (int t = 0; t < T; t++)
            for (int i = 0; i < M; i++) c[t][i] = start[first + t];
        S::add_expanded(expanded + first * kExpandedBytes, blocks, values, c);
        for (int t = 0; t < T; t++) {
            const auto scale = S::load_half(tiles[first + t].scales + 16 * s);
#pragma GCC unroll 12
            for (int i = 0; i < M; i++) {
                float* y = out + ((first + t) * M + i) * 16;
                const auto before = s ? S::load(y) : S::zero();
                S::store(y, S::fma(S::to_float(c[t][i]), S::mul(scale, S::set1(as[i])), before));
            }
        }
    }
}

// Per superblock and group of AVX-512: 64 dot products and 3 instructions of f32 for each row and tile, so 95 % of the ports' work is
// products; expanding is shared by all rows. The next superblock is fetched meanwhile, a few lines with each group.
template <class S>
static void pair_tiles(const uint8_t* const (&stored)[2], int blocks, const Panel& panel, int first, int count, uint8_t* scratch, float* out) {
    if constexpr (S::has_expanded) {
        const TwoLevelTile tiles[2] = {{stored[0], blocks}, {stored[1], blocks}};
        const int superblocks = div_up(blocks, kSuperBlocks);
        for (int s = 0; s < superblocks; s++) {
            const int first_block = s * kSuperBlocks, wanted = blocks - first_block < kSuperBlocks ? blocks - first_block : kSuperBlocks;
            typename S::I start[2];
            for (int t = 0; t < 2; t++) {
                uint8_t* bytes = scratch + t * kExpandedBytes;
                for (int b = 0; b < wanted; b++)
                    S::expand_block(tiles[t].quants + size_t(first_block + b) * 256, tiles[t].steps + size_t(first_block + b) * 8, bytes + b * 512);
                start[t] = S::start_sums(bytes, wanted);
            }
            constexpr int lines = kSuperBlocks * 256 / 64;
            const size_t next = size_t(first_block + kSuperBlocks) * 256;
            const int share = div_up(2 * lines, count);
            for (int g = 0, line = 0; g < count; g++) {
                for (int i = 0; i < share && line < 2 * lines; i++, line++) S::prefetch(tiles[line % 2].quants + next + line / 2 * 64);
                expanded_superblock<S>(tiles, scratch, start, s, wanted, panel.values_of(s, first + g), panel.scale_of(s, first + g),
                                       out + size_t(g) * 2 * S::expanded_rows * 16);
            }
        }
    }
}

}  // namespace
}  // namespace pocketseek
