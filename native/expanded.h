// q4p for many rows of activations: two tile rows at once, each superblock of them expanded once to bytes and then used for all rows.
// The integers are those of matmul.h, so the bits are too.
#pragma once

#include "table.h"

namespace pocketseek {
namespace {

// One expanded superblock of some tile rows for M rows: acc[t][i] becomes fma(exact integer sum, scale, acc[t][i]). A set gives
//   expanded_tiles    1 or 2: tile rows whose sums for M rows fit its registers together
//   expanded_rows     the largest M, a divisor of 24
//   expand_block      512 bytes of one block, in the order its dot products want
//   add_expanded<M>   exact sums of up to eight such blocks for expanded_tiles tile rows
template <class S, int M>
static void expanded_superblock(const TwoLevelTile* tiles, const uint8_t* const* w, int s, const Activations& in, int row, float* acc) {
    constexpr int T = S::expanded_tiles;
    const int blocks = in.blocks, superblocks = in.superblocks(), first_block = s * kSuperBlocks;
    const int count = blocks - first_block < kSuperBlocks ? blocks - first_block : kSuperBlocks;
    const ptrdiff_t lda = ptrdiff_t(blocks) * kBlock, ldp = ptrdiff_t(superblocks) * kSuperBlocks;
    const uint8_t* steps[T];
    for (int t = 0; t < T; t++) steps[t] = tiles[t].steps + first_block * 8;
    typename S::I c[T][M];
    for (int t = 0; t < T; t++) for (int i = 0; i < M; i++) c[t][i] = S::int_zero();
    S::template add_expanded<M>(w, steps, count, in.wide.q + size_t(row) * lda + size_t(first_block) * kBlock, lda,
                                in.wide.pairs + size_t(row) * ldp + first_block, ldp, c);
    const float* as = in.wide.scale + size_t(row) * superblocks + s;
    for (int t = 0; t < T; t++) {
        const F scale = S::load_half(tiles[t].scales + 16 * s);
#pragma GCC unroll 12
        for (int i = 0; i < M; i++) {
            float* y = acc + (t * M + i) * 16;
            const F before = s ? S::load(y) : S::zero();
            S::store(y, S::fma(S::to_float(c[t][i]), S::mul(scale, S::set1(as[size_t(i) * superblocks])), before));
        }
    }
}

// The same for two tile rows and 1 to M rows.
template <class S, int M>
static void pair_superblock(const TwoLevelTile (&tiles)[2], const uint8_t* const (&w)[2], int s, const Activations& in, int row, int rows, float* acc) {
    if constexpr (M > 1) if (rows < M) return pair_superblock<S, M - 1>(tiles, w, s, in, row, rows, acc);
    for (int t = 0; t < 2; t += S::expanded_tiles) expanded_superblock<S, M>(tiles + t, w + t, s, in, row, acc + t * M * 16);
}

template <class S> constexpr int expanded_rows() {
    if constexpr (S::has_expanded) return S::expanded_rows;
    else return 0;
}

// Two tile rows for many rows, so that each expansion serves all of them; the weights of the next superblock are on their way
// meanwhile. Per superblock and row of AVX-512: 128 dot products,
// 8 corrections and 6 instructions of f32, next to the expansion shared by all rows: 90 % of the ports' work is wanted products.
template <class S>
static void pair_tiles(const uint8_t* const (&stored)[2], const Activations& in, int first, int rows, uint8_t* scratch, float* out) {
    if constexpr (S::has_expanded) {
        const TwoLevelTile tiles[2] = {{stored[0], in.blocks}, {stored[1], in.blocks}};
        const uint8_t* const expanded[2] = {scratch, scratch + kPairScratchBytes / 2};
        for (int s = 0; s < in.superblocks(); s++) {
            for (int t = 0; t < 2; t++)
                for (int b = s * kSuperBlocks; b < in.blocks && b < (s + 1) * kSuperBlocks; b++) {
                    const uint8_t* next = tiles[t].quants + size_t(b + kSuperBlocks) * 256;
                    for (int line = 0; line < 256; line += 64) S::prefetch(next + line);
                    S::expand_block(tiles[t].quants + size_t(b) * 256, tiles[t].steps + size_t(b) * 8,
                                    scratch + t * kPairScratchBytes / 2 + (b % kSuperBlocks) * 512);
                }
            for (int row = 0; row < rows; row += S::expanded_rows)
                pair_superblock<S, S::expanded_rows>(tiles, expanded, s, in, first + row, rows - row, out + size_t(row) * 32);
        }
    }
}

}  // namespace
}  // namespace pocketseek
