// One tile row (16 outputs) times up to eight rows of activations, for every tensor format.
//
// An output is one lane from the first input to the last: blocks of 32 in ascending order, each an exact int32 sum that enters
// the f32 accumulator by one fused multiply-add. Nothing depends on how many rows share the call.
//
// Expected rate on AVX-512 VNNI with eight rows: per block and row 8 vpdpbusd + 1 convert + 1 multiply + 1 fma on two ports,
// 5.5 cycles for 512 multiply-adds, plus about 16 instructions per block to unpack weights for all eight rows:
// 80 of the 128 multiply-adds per cycle that the ports allow. With one row the tile is bound by memory.
#pragma once

#include "table.h"

namespace pocketseek {
namespace {

inline constexpr int kPrefetchBytes = 2048;

template <class S, Format format, int M>
static void quantised_tile(const uint8_t* tile, const Activations& in, int first, float* out) {
    const int blocks = in.blocks;
    const uint8_t* w = tile;
    const uint8_t* plane = tile + size_t(blocks) * quant_bytes(format);
    const auto* scales = reinterpret_cast<const uint16_t*>(plane);
    const uint16_t* minima = scales + size_t(blocks) * 16;
    const size_t lds = blocks;
    const ptrdiff_t lda = ptrdiff_t(blocks) * kBlock;
    const int8_t* a = in.q + size_t(first) * lda;
    const float* as = in.scale + size_t(first) * lds;
    const int32_t* sum8 = in.sum8 + size_t(first) * lds;
    const float* sum = in.sum + size_t(first) * lds;

    F acc[M];
    for (int i = 0; i < M; i++) acc[i] = Simd::zero();
    for (int b = 0; b < blocks; b++) {
        for (size_t line = 0; line < quant_bytes(format); line += 64) Simd::prefetch(w + kPrefetchBytes + line);
        if constexpr (requires { S::adds_blocks; }) {  // sums that must not all be alive at once
            S::template add_block<format, M>(w, scales, a, lda, sum8, as, lds, acc);
        } else {
            typename S::I d[M];
            if constexpr (format == Format::q8s) S::template dot_q8<M>(w, a, lda, sum8, lds, d);
            else S::template dot_q4<M, format == Format::q4s>(w, a, lda, sum8, lds, d);
            const F scale = Simd::load_half(scales);
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) acc[i] = Simd::fma(S::to_float(d[i]), Simd::mul(scale, Simd::set1(as[i * lds])), acc[i]);
        }
        if constexpr (format == Format::q4a) {
            const F minimum = Simd::load_half(minima);
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) acc[i] = Simd::fma(minimum, Simd::set1(sum[i * lds]), acc[i]);
            minima += 16;
        }
        w += quant_bytes(format);
        scales += 16;
        a += kBlock;
        as++, sum8++, sum++;
    }
    for (int i = 0; i < M; i++) Simd::store(out + 16 * i, acc[i]);
}

// q4p: D * g * (q - 8). Within a superblock everything is an exact integer below 2^24 (8 * 15 * 32512), so one fused
// multiply-add for 256 inputs: the sum of a block fits 16 bits and meets its g in one multiply-add of 16-bit pairs.
template <int M>
static void two_level_tile(const uint8_t* tile, const Activations& in, int first, float* out) {
    const int blocks = in.blocks, superblocks = in.superblocks();
    const uint8_t* w = tile;
    const uint8_t* steps = tile + size_t(blocks) * 256;
    const auto* scales = reinterpret_cast<const uint16_t*>(steps + size_t(blocks) * 8);
    const ptrdiff_t lda = ptrdiff_t(blocks) * kBlock;
    const int8_t* a = in.wide.q + size_t(first) * lda;
    const int32_t* sum8 = in.wide.sum8 + size_t(first) * blocks;
    const float* as = in.wide.scale + size_t(first) * superblocks;

    F acc[M];
    for (int i = 0; i < M; i++) acc[i] = Simd::zero();
    for (int s = 0; s < superblocks; s++) {
        Simd::I total[M];
        for (int i = 0; i < M; i++) total[i] = Simd::int_zero();
        const int count = blocks - s * kSuperBlocks < kSuperBlocks ? blocks - s * kSuperBlocks : kSuperBlocks;
        for (int b = 0; b < count; b++) {
            for (int line = 0; line < 256; line += 64) Simd::prefetch(w + kPrefetchBytes + line);
            Simd::template add_q4p<M>(w, steps, a, lda, sum8, blocks, total);
            w += 256, steps += 8, a += kBlock, sum8++;
        }
        const F scale = Simd::load_half(scales + 16 * s);
#pragma GCC unroll 8
        for (int i = 0; i < M; i++)
            acc[i] = Simd::fma(Simd::to_float(total[i]), Simd::mul(scale, Simd::set1(as[size_t(i) * superblocks + s])), acc[i]);
    }
    for (int i = 0; i < M; i++) Simd::store(out + 16 * i, acc[i]);
}

template <Format format, int M>
static void float_tile(const uint8_t* tile, const Activations& in, int first, float* out) {
    const int cols = in.blocks * kBlock;
    const float* x = in.x + size_t(first) * cols;
    F acc[M];
    for (int i = 0; i < M; i++) acc[i] = Simd::zero();
    for (int k = 0; k < cols; k++) {
        F w;
        if constexpr (format == Format::f16) w = Simd::load_half(reinterpret_cast<const uint16_t*>(tile) + 16 * k);
        else w = Simd::load(reinterpret_cast<const float*>(tile) + 16 * k);
#pragma GCC unroll 8
        for (int i = 0; i < M; i++) acc[i] = Simd::fma(w, Simd::set1(x[size_t(i) * cols + k]), acc[i]);
    }
    for (int i = 0; i < M; i++) Simd::store(out + 16 * i, acc[i]);
}

// Where the planes of a q4p tile row begin.
struct TwoLevelTile {
    const uint8_t *quants, *steps;
    const uint16_t* scales;

    TwoLevelTile(const uint8_t* tile, int blocks)
        : quants(tile), steps(tile + size_t(blocks) * 256), scales(reinterpret_cast<const uint16_t*>(steps + size_t(blocks) * 8)) {}
};

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

template <Format format, int M>
static void tile_rows(const uint8_t* tile, const Activations& in, int first, float* out) {
    if constexpr (format == Format::q4p) two_level_tile<M>(tile, in, first, out);
    else if constexpr (is_quantised(format)) quantised_tile<Simd, format, M>(tile, in, first, out);
    else float_tile<format, M>(tile, in, first, out);
}

// Exactly `count` rows, at most M.
template <Format format, int M>
static void tile_exactly(const uint8_t* tile, const Activations& in, int first, int count, float* out) {
    if constexpr (M > 1) if (count < M) return tile_exactly<format, M - 1>(tile, in, first, count, out);
    tile_rows<format, M>(tile, in, first, out);
}

template <Format format>
static void tile_any(const uint8_t* tile, const Activations& in, int first, int count, float* out) {
    for (; count > 0; count -= Simd::rows, first += Simd::rows, out += 16 * Simd::rows)
        tile_exactly<format, Simd::rows>(tile, in, first, count, out);
}

}  // namespace
}  // namespace pocketseek
