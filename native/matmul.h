// Up to four tile rows (16 outputs each) times up to eight rows of activations, for every tensor format.
//
// An output is one lane from the first input to the last: blocks of 32 in ascending order, each an exact int32 sum that enters
// the f32 accumulator by one fused multiply-add (q4p: 256 inputs are one exact sum). Nothing depends on what shares the call.
//
// The tile rows are worked on in turn, a step of 2 KiB of weights each; accumulators rest in `out` between steps:
//
//     tile 0   [step 0] [step 1] ...        order of work: tile 0 step 0, tile 1 step 0, ... tile 0 step 1, ...
//     tile 1   [step 0] [step 1] ...        meanwhile the next step of all tiles is fetched, a block of each in turn
//
// so that memory is read as four streams. One stream reaches 60 % of what a core can read: the hardware's prefetcher stops at the end
// of each page of 4 KiB, and four streams stop at different times. (Eight are no better, two are worse; fetching every second line,
// or further ahead, is much worse.)
//
// Expected rate on AVX-512 VNNI with eight rows: per block and row 8 vpdpbusd + 1 convert + 1 multiply + 1 fma on two ports,
// 5.5 cycles for 512 multiply-adds, plus about 16 instructions per block to unpack weights for all eight rows:
// 80 of the 128 multiply-adds per cycle that the ports allow. With up to four rows the tiles are bound by memory.
#pragma once

#include "table.h"

namespace pocketseek {
namespace {

inline constexpr int step_blocks(Format f) { return f == Format::f32 ? 1 : f == Format::f16 ? 2 : f == Format::q8s ? 4 : kSuperBlocks; }

// What is fetched while a block is computed: a block of the next step of some tile, and a line of the scales of the next tile, which
// are a stream of their own that would start cold (rather far ahead, so not for the first-level cache). Addresses are worked out before
// the loop over blocks, so that it has no branches; where nothing is known to come, they are those of the block itself.
struct Fetch { const uint8_t *block, *scales; };

template <Format format>
static inline void fetch(const Fetch& ahead) {
    for (size_t line = 0; line < quant_bytes(format); line += 64) Simd::prefetch(ahead.block + line);
    if constexpr (is_quantised(format)) Simd::prefetch_far(ahead.scales);
}

// Gives each block of a step something to fetch: the next step of all tiles, a block of each in turn.
template <Format format>
class Ahead {
public:
    Ahead(const TileGroup& group, int step, int blocks) : group_(group), blocks_(blocks), first_block_(step * step_blocks(format)) {
        const int next_block = first_block_ + step_blocks(format);
        const bool inside = next_block < blocks;
        for (int t = 0; t < group.count && (inside || group.next[t]); t++)
            from_[num_streams_++] = inside ? group.tile[t] + next_block * quant_bytes(format) : group.next[t];
    }
    void plan(int tile, int count, Fetch* out) {
        const size_t quants = blocks_ * quant_bytes(format), lines = (tile_row_bytes(format, blocks_) - quants) / 64;
        const uint8_t* scales = (group_.next[tile] ? group_.next[tile] : group_.tile[tile]) + quants;
        for (int i = 0; i < count; i++) {
            const size_t block = first_block_ + i;
            out[i] = {num_streams_ ? from_[stream_] + offset_ : group_.tile[tile] + block * quant_bytes(format), scales + 64 * (block < lines ? block : 0)};
            if (++stream_ >= num_streams_) stream_ = 0, offset_ += quant_bytes(format);
        }
    }

private:
    const TileGroup& group_;
    int blocks_, first_block_, num_streams_ = 0, stream_ = 0;
    size_t offset_ = 0;
    const uint8_t* from_[kTogether];
};

// One step of one tile for the rows from `row` on.
template <Format format>
struct Step {
    const uint8_t* tile;
    const Activations& in;
    int index, row;
    const Fetch* ahead;  // of each block

    int first_block() const { return index * step_blocks(format); }
    int num_blocks() const { return in.blocks - first_block() < step_blocks(format) ? in.blocks - first_block() : step_blocks(format); }
};

template <int M> static void load_sums(bool begun, const float* out, F (&acc)[M]) {
#pragma GCC unroll 8
    for (int i = 0; i < M; i++) acc[i] = begun ? Simd::load(out + 16 * i) : Simd::zero();
}
template <int M> static void store_sums(float* out, const F (&acc)[M]) {
#pragma GCC unroll 8
    for (int i = 0; i < M; i++) Simd::store(out + 16 * i, acc[i]);
}

template <class S, Format format, int M>
static void quantised_step(const Step<format>& step, float* out) {
    const Activations& in = step.in;
    const int blocks = in.blocks, last = step.first_block() + step.num_blocks();
    const auto* scales = reinterpret_cast<const uint16_t*>(step.tile + size_t(blocks) * quant_bytes(format));
    const size_t lds = blocks, start = step.row * lds;
    const ptrdiff_t lda = ptrdiff_t(blocks) * kBlock;

    F acc[M];
    load_sums<M>(step.index, out, acc);
    const Fetch* ahead = step.ahead;
    for (int b = step.first_block(); b < last; b++) {
        fetch<format>(*ahead++);
        const uint8_t* w = step.tile + size_t(b) * quant_bytes(format);
        const int8_t* a = in.q + step.row * lda + size_t(b) * kBlock;
        const float* as = in.scale + start + b;
        const int32_t* sum8 = in.sum8 + start + b;
        if constexpr (requires { S::adds_blocks; }) {  // sums that must not all be alive at once
            S::template add_block<format, M>(w, scales + 16 * b, a, lda, sum8, as, lds, acc);
        } else {
            typename S::I d[M];
            if constexpr (format == Format::q8s) S::template dot_q8<M>(w, a, lda, sum8, lds, d);
            else S::template dot_q4<M, format == Format::q4s>(w, a, lda, sum8, lds, d);
            const F scale = Simd::load_half(scales + 16 * b);
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) acc[i] = Simd::fma(S::to_float(d[i]), Simd::mul(scale, Simd::set1(as[i * lds])), acc[i]);
        }
        if constexpr (format == Format::q4a) {
            const F minimum = Simd::load_half(scales + 16 * (blocks + b));
            const float* sum = in.sum + start + b;
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) acc[i] = Simd::fma(minimum, Simd::set1(sum[i * lds]), acc[i]);
        }
    }
    store_sums<M>(out, acc);
}

// q4p: D * g * (q - 8). A step is a superblock, and all in it are exact integers below 2^24 (8 * 15 * 32512), so there is one fused
// multiply-add for 256 inputs: the sum of a block fits 16 bits and meets its g in one multiply-add of 16-bit pairs.
template <int M>
static void two_level_step(const Step<Format::q4p>& step, float* out) {
    const Activations& in = step.in;
    const int blocks = in.blocks, superblocks = in.superblocks(), last = step.first_block() + step.num_blocks();
    const TwoLevelTile tile(step.tile, blocks);
    const ptrdiff_t lda = ptrdiff_t(blocks) * kBlock;
    const int8_t* a = in.wide.q + step.row * lda;
    const int32_t* sum8 = in.wide.sum8 + size_t(step.row) * blocks;
    const float* as = in.wide.scale + size_t(step.row) * superblocks + step.index;

    Simd::I total[M];
    for (int i = 0; i < M; i++) total[i] = Simd::int_zero();
    const Fetch* ahead = step.ahead;
    for (int b = step.first_block(); b < last; b++) {
        fetch<Format::q4p>(*ahead++);
        Simd::template add_q4p<M>(tile.quants + size_t(b) * 256, tile.steps + size_t(b) * 8, a + size_t(b) * kBlock, lda, sum8 + b, blocks, total);
    }
    F acc[M];
    load_sums<M>(step.index, out, acc);
    const F scale = Simd::load_half(tile.scales + 16 * step.index);
#pragma GCC unroll 8
    for (int i = 0; i < M; i++) acc[i] = Simd::fma(Simd::to_float(total[i]), Simd::mul(scale, Simd::set1(as[size_t(i) * superblocks])), acc[i]);
    store_sums<M>(out, acc);
}

template <Format format, int M>
static void float_step(const Step<format>& step, float* out) {
    const int cols = step.in.blocks * kBlock, last = step.first_block() + step.num_blocks();
    const float* x = step.in.x + size_t(step.row) * cols;
    F acc[M];
    load_sums<M>(step.index, out, acc);
    const Fetch* ahead = step.ahead;
    for (int b = step.first_block(); b < last; b++) {
        fetch<format>(*ahead++);
        for (int k = b * kBlock; k < (b + 1) * kBlock; k++) {
            F w;
            if constexpr (format == Format::f16) w = Simd::load_half(reinterpret_cast<const uint16_t*>(step.tile) + size_t(16) * k);
            else w = Simd::load(reinterpret_cast<const float*>(step.tile) + size_t(16) * k);
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) acc[i] = Simd::fma(w, Simd::set1(x[size_t(i) * cols + k]), acc[i]);
        }
    }
    store_sums<M>(out, acc);
}

// Exactly `count` rows, at most M.
template <Format format, int M>
static void step_exactly(const Step<format>& step, int count, float* out) {
    if constexpr (M > 1) if (count < M) return step_exactly<format, M - 1>(step, count, out);
    if constexpr (format == Format::q4p) two_level_step<M>(step, out);
    else if constexpr (is_quantised(format)) quantised_step<Simd, format, M>(step, out);
    else float_step<format, M>(step, out);
}

template <Format format>
static void multiply_group(const TileGroup& group, const Activations& in, int first, int count, float* out) {
    Fetch plan[step_blocks(format)];
    for (int s = 0; s * step_blocks(format) < in.blocks; s++) {
        Ahead<format> ahead(group, s, in.blocks);
        for (int t = 0; t < group.count; t++)
            for (int row = 0; row < count; row += Simd::rows) {
                const Step<format> step{group.tile[t], in, s, first + row, plan};
                if (!row) ahead.plan(t, step.num_blocks(), plan);
                step_exactly<format, Simd::rows>(step, count - row, out + size_t(t * count + row) * 16);
            }
    }
}

}  // namespace
}  // namespace pocketseek
