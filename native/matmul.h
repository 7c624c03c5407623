// Up to four tile rows (16 outputs each) times up to eight rows of activations, for every tensor format.
//
// An output is one lane from the first input to the last: blocks of 32 in ascending order, each an exact int32 sum that enters
// the f32 accumulator by one fused multiply-add (q4p: 256 inputs are one exact sum). Nothing depends on what shares the call.
//
// The tile rows are worked on in turn, one or two at a time, a step of 4 KiB of weights each; accumulators rest in `out` between steps:
//
//     tile 0   [step 0] [step 1] ...        order of work: tile 0 step 0, tile 1 step 0, ... tile 0 step 1, ...
//     tile 1   [step 0] [step 1] ...        with each block, the same block of the next step is fetched
//
// so that memory is read as four streams, 16 KiB ahead. One stream reaches 60 % of what a core can read: the hardware's prefetcher stops
// at the end of each page of 4 KiB, and four streams stop at different times. What is fetched goes to the second-level cache: few lines
// can be on their way to the first, which costs Zen 4 a tenth. (Eight streams are no better, two are worse; fetching every second line
// is much worse, further ahead no better.)
//
// Expected rate on AVX-512 VNNI with eight rows: per block and row 8 vpdpbusd + 1 convert + 1 multiply + 1 fma on two ports,
// 5.5 cycles for 512 multiply-adds, plus about 16 instructions per block to unpack weights for all eight rows:
// 80 of the 128 multiply-adds per cycle that the ports allow. With up to four rows the tiles are bound by memory.
#pragma once

#include "table.h"

// A step is a function of its own: inlined into one that has them all, GCC 12 spills its sums inside the loop.
#define POCKETSEEK_OWN_REGISTERS __attribute__((noinline))

namespace pocketseek {
namespace {

inline constexpr int kStepBytes = 4096;
inline constexpr int step_blocks(Format f) { return int(kStepBytes / quant_bytes(f)); }  // q6s: ten, a little less than 4 KiB
static_assert(step_blocks(Format::q4p) % kSuperBlocks == 0);

// One step of T tiles for the rows from `row` on; their results are `apart` floats from each other.
template <Format format, int T>
struct Step {
    const uint8_t* const* tile;
    const Activations& in;
    int index, row;
    size_t apart;
    const uint8_t* next[T];         // what is worked on after this step
    const uint8_t* next_scales[T];  // the scales of the tile that comes after this one, the share of this step

    void fetch(int t, int block) const {  // a block of that
        for (size_t line = 0; line < quant_bytes(format); line += 64) Simd::prefetch_far(next[t] + block * quant_bytes(format) + line);
        if constexpr (is_quantised(format)) Simd::prefetch_far(next_scales[t] + block * scale_bytes(format));
    }
    int first_block() const { return index * step_blocks(format); }
    int num_blocks() const { return in.blocks - first_block() < step_blocks(format) ? in.blocks - first_block() : step_blocks(format); }
};

template <int T, int M> static void load_sums(bool begun, const float* out, size_t apart, F (&acc)[T][M]) {
#pragma GCC unroll 2
    for (int t = 0; t < T; t++)
#pragma GCC unroll 8
        for (int i = 0; i < M; i++) acc[t][i] = begun ? Simd::load(out + t * apart + 16 * i) : Simd::zero();
}
template <int T, int M> static void store_sums(float* out, size_t apart, const F (&acc)[T][M]) {
#pragma GCC unroll 2
    for (int t = 0; t < T; t++)
#pragma GCC unroll 8
        for (int i = 0; i < M; i++) Simd::store(out + t * apart + 16 * i, acc[t][i]);
}

template <class S, Format format, int T, int M>
static POCKETSEEK_OWN_REGISTERS void quantised_step(const Step<format, T>& step, float* out) {
    const Activations& in = step.in;
    const int blocks = in.blocks, last = step.first_block() + step.num_blocks();
    const uint16_t* scales[T];
    for (int t = 0; t < T; t++) scales[t] = reinterpret_cast<const uint16_t*>(step.tile[t] + size_t(blocks) * quant_bytes(format));
    const size_t lds = blocks, start = step.row * lds;
    const ptrdiff_t lda = ptrdiff_t(blocks) * kBlock;

    F acc[T][M];
    load_sums<T, M>(step.index, out, step.apart, acc);
    for (int b = step.first_block(); b < last; b++) {
        const uint8_t* w[T];
        for (int t = 0; t < T; t++) step.fetch(t, b - step.first_block()), w[t] = step.tile[t] + size_t(b) * quant_bytes(format);
        const int8_t* a = in.q + step.row * lda + size_t(b) * kBlock;
        const float* as = in.scale + start + b;
        const int32_t* sum8 = in.sum8 + start + b;
        if constexpr (requires { S::adds_blocks; }) {  // sums that must not all be alive at once
            S::template add_block<format, M>(w[0], scales[0] + 16 * b, a, lda, sum8, as, lds, acc[0]);
        } else {
            typename S::I d[T][M];
            if constexpr (S::tiles > 1) {
                if constexpr (format == Format::q8s) S::template dot_q8<T, M>(w, a, lda, sum8, lds, d);
                else if constexpr (format == Format::q6s) S::template dot_q6<T, M>(w, a, lda, sum8, lds, d);
                else S::template dot_q4<format == Format::q4s, T, M>(w, a, lda, sum8, lds, d);
            } else if constexpr (format == Format::q8s) S::template dot_q8<M>(w[0], a, lda, sum8, lds, d[0]);
            else if constexpr (format == Format::q6s) S::template dot_q6<M>(w[0], a, lda, sum8, lds, d[0]);
            else S::template dot_q4<M, format == Format::q4s>(w[0], a, lda, sum8, lds, d[0]);
#pragma GCC unroll 2
            for (int t = 0; t < T; t++) {
                const F scale = Simd::load_half(scales[t] + 16 * b);
#pragma GCC unroll 8
                for (int i = 0; i < M; i++) acc[t][i] = Simd::fma(S::to_float(d[t][i]), Simd::mul(scale, Simd::set1(as[i * lds])), acc[t][i]);
            }
        }
        if constexpr (format == Format::q4a) {
            const float* sum = in.sum + start + b;
#pragma GCC unroll 2
            for (int t = 0; t < T; t++) {
                const F minimum = Simd::load_half(scales[t] + 16 * (blocks + b));
#pragma GCC unroll 8
                for (int i = 0; i < M; i++) acc[t][i] = Simd::fma(minimum, Simd::set1(sum[i * lds]), acc[t][i]);
            }
        }
    }
    store_sums<T, M>(out, step.apart, acc);
}

// q4p: D * g * (q - 8). All in a superblock are exact integers below 2^24 (8 * 15 * 32512), so there is one fused multiply-add for
// 256 inputs: the sum of a block fits 16 bits and meets its g in one multiply-add of 16-bit pairs.
template <int T, int M>
static POCKETSEEK_OWN_REGISTERS void two_level_step(const Step<Format::q4p, T>& step, float* out) {
    const Activations& in = step.in;
    const int blocks = in.blocks, superblocks = in.superblocks(), first = step.first_block(), count = step.num_blocks();
    const ptrdiff_t lda = ptrdiff_t(blocks) * kBlock;
    const int8_t* a = in.wide.q + step.row * lda + size_t(first) * kBlock;
    const int32_t* sum8 = in.wide.sum8 + size_t(step.row) * blocks + first;
    const float* as = in.wide.scale + size_t(step.row) * superblocks + first / kSuperBlocks;
    const uint8_t *w[T], *steps[T];
    const uint16_t* scales[T];
    for (int t = 0; t < T; t++) {
        const TwoLevelTile tile(step.tile[t], blocks);
        w[t] = tile.quants + size_t(first) * 256, steps[t] = tile.steps + size_t(first) * 8, scales[t] = tile.scales + first * 2;
    }
    F acc[T][M];
    load_sums<T, M>(step.index, out, step.apart, acc);
    for (int b = 0; b < count; as++) {
        Simd::I total[T][M];
        for (int t = 0; t < T; t++) for (int i = 0; i < M; i++) total[t][i] = Simd::int_zero();
        const int end = b + kSuperBlocks < count ? b + kSuperBlocks : count;
        for (; b < end; b++, a += kBlock) {
            for (int t = 0; t < T; t++) step.fetch(t, b);
            if constexpr (Simd::tiles > 1) Simd::template add_q4p<T, M>(w, steps, a, lda, sum8 + b, blocks, total);
            else Simd::template add_q4p<M>(w[0], steps[0], a, lda, sum8 + b, blocks, total[0]);
            for (int t = 0; t < T; t++) w[t] += 256, steps[t] += 8;
        }
#pragma GCC unroll 2
        for (int t = 0; t < T; t++) {
            const F scale = Simd::load_half(scales[t]);
            scales[t] += 16;
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) acc[t][i] = Simd::fma(Simd::to_float(total[t][i]), Simd::mul(scale, Simd::set1(as[size_t(i) * superblocks])), acc[t][i]);
        }
    }
    store_sums<T, M>(out, step.apart, acc);
}

template <Format format, int M>
static POCKETSEEK_OWN_REGISTERS void float_step(const Step<format, 1>& step, float* out) {
    const int cols = step.in.blocks * kBlock, last = step.first_block() + step.num_blocks();
    const float* x = step.in.x + size_t(step.row) * cols;
    F acc[1][M];
    load_sums<1, M>(step.index, out, 0, acc);
    for (int b = step.first_block(); b < last; b++) {
        step.fetch(0, b - step.first_block());
        for (int k = b * kBlock; k < (b + 1) * kBlock; k++) {
            F w;
            if constexpr (format == Format::f16) w = Simd::load_half(reinterpret_cast<const uint16_t*>(step.tile[0]) + size_t(16) * k);
            else w = Simd::load(reinterpret_cast<const float*>(step.tile[0]) + size_t(16) * k);
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) acc[0][i] = Simd::fma(w, Simd::set1(x[size_t(i) * cols + k]), acc[0][i]);
        }
    }
    store_sums<1, M>(out, 0, acc);
}

// Exactly `count` rows, at most M.
template <Format format, int T, int M>
static void step_exactly(const Step<format, T>& step, int count, float* out) {
    if constexpr (M > 1) if (count < M) return step_exactly<format, T, M - 1>(step, count, out);
    if constexpr (format == Format::q4p) two_level_step<T, M>(step, out);
    else if constexpr (is_quantised(format)) quantised_step<Simd, format, T, M>(step, out);
    else float_step<format, M>(step, out);
}

// One step of the T tiles from `t` on for all rows.
template <Format format, int T>
static void step_tiles(const TileGroup& group, int t, const Activations& in, int index, int first, int count, float* out) {
    Step<format, T> step{group.tile + t, in, index, first, size_t(count) * 16, {}, {}};
    const size_t first_block = step.first_block(), next_block = first_block + step_blocks(format), quants = in.blocks * quant_bytes(format);
    for (int i = 0; i < T; i++) {
        const uint8_t *tile = group.tile[t + i], *after = group.next[t + i] ? group.next[t + i] : tile;
        step.next[i] = next_block < size_t(in.blocks) ? tile + next_block * quant_bytes(format) : after;
        step.next_scales[i] = after + quants + first_block * scale_bytes(format);
    }
    for (int row = 0; row < count; row += Simd::rows, step.row += Simd::rows)
        step_exactly<format, T, Simd::rows>(step, count - row, out + size_t(t * count + row) * 16);
}

template <Format format>
static void multiply_group(const TileGroup& group, const Activations& in, int first, int count, float* out) {
    constexpr int T = is_quantised(format) ? Simd::tiles : 1;
    for (int s = 0; s * step_blocks(format) < in.blocks; s++) {
        int t = 0;
        for (; t + T <= group.count; t += T) step_tiles<format, T>(group, t, in, s, first, count, out);
        if constexpr (T > 1) for (; t < group.count; t++) step_tiles<format, 1>(group, t, in, s, first, count, out);
    }
}

}  // namespace
}  // namespace pocketseek
