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

// What is to be fetched while a step of all tiles is computed, a block at a time.
template <Format format>
class Ahead {
public:
    Ahead() = default;
    Ahead(const TileGroup& group, int step, int blocks) {
        const int first_block = (step + 1) * step_blocks(format);
        const bool inside = first_block < blocks;
        for (int t = 0; t < group.count && (inside || group.next[t]); t++)
            from_[num_streams_++] = inside ? group.tile[t] + first_block * quant_bytes(format) : group.next[t];
    }
    void fetch_block() {
        if (!num_streams_) return;
        const uint8_t* block = from_[stream_] + offset_;
        for (size_t line = 0; line < quant_bytes(format); line += 64) Simd::prefetch(block + line);
        if (++stream_ == num_streams_) stream_ = 0, offset_ += quant_bytes(format);
    }

private:
    const uint8_t* from_[kTogether];
    int num_streams_ = 0, stream_ = 0;
    size_t offset_ = 0;
};

// The scales of the next group, one line per block: a stream of their own that would start cold. Rather far ahead, so not for L1.
template <Format format>
static void fetch_scales(const uint8_t* next, int block, int blocks) {
    const size_t quants = blocks * quant_bytes(format);
    if (next && size_t(block) * 64 < tile_row_bytes(format, blocks) - quants) Simd::prefetch_far(next + quants + size_t(block) * 64);
}

// One step of one tile for M rows.
struct Step {
    const uint8_t *tile, *next;
    const Activations& in;
    int index, row;  // of the step, of the first row

    template <Format format> int first_block() const { return index * step_blocks(format); }
    template <Format format> int last_block() const { return first_block<format>() + step_blocks(format) < in.blocks ? first_block<format>() + step_blocks(format) : in.blocks; }
};

template <int M> static void load_sums(const Step& step, const float* out, F (&acc)[M]) {
#pragma GCC unroll 8
    for (int i = 0; i < M; i++) acc[i] = step.index ? Simd::load(out + 16 * i) : Simd::zero();
}
template <int M> static void store_sums(float* out, const F (&acc)[M]) {
#pragma GCC unroll 8
    for (int i = 0; i < M; i++) Simd::store(out + 16 * i, acc[i]);
}

template <class S, Format format, int M>
static void quantised_step(const Step& step, Ahead<format>& ahead, float* out) {
    const Activations& in = step.in;
    const int blocks = in.blocks, last = step.last_block<format>();
    const auto* scales = reinterpret_cast<const uint16_t*>(step.tile + size_t(blocks) * quant_bytes(format));
    const size_t lds = blocks, start = step.row * lds;
    const ptrdiff_t lda = ptrdiff_t(blocks) * kBlock;

    F acc[M];
    load_sums<M>(step, out, acc);
    for (int b = step.first_block<format>(); b < last; b++) {
        ahead.fetch_block();
        fetch_scales<format>(step.next, b, blocks);
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
static void two_level_step(const Step& step, Ahead<Format::q4p>& ahead, float* out) {
    const Activations& in = step.in;
    const int blocks = in.blocks, superblocks = in.superblocks(), last = step.last_block<Format::q4p>();
    const TwoLevelTile tile(step.tile, blocks);
    const ptrdiff_t lda = ptrdiff_t(blocks) * kBlock;
    const int8_t* a = in.wide.q + step.row * lda;
    const int32_t* sum8 = in.wide.sum8 + size_t(step.row) * blocks;
    const float* as = in.wide.scale + size_t(step.row) * superblocks + step.index;

    Simd::I total[M];
    for (int i = 0; i < M; i++) total[i] = Simd::int_zero();
    for (int b = step.first_block<Format::q4p>(); b < last; b++) {
        ahead.fetch_block();
        fetch_scales<Format::q4p>(step.next, b, blocks);
        Simd::template add_q4p<M>(tile.quants + size_t(b) * 256, tile.steps + size_t(b) * 8, a + size_t(b) * kBlock, lda, sum8 + b, blocks, total);
    }
    F acc[M];
    load_sums<M>(step, out, acc);
    const F scale = Simd::load_half(tile.scales + 16 * step.index);
#pragma GCC unroll 8
    for (int i = 0; i < M; i++) acc[i] = Simd::fma(Simd::to_float(total[i]), Simd::mul(scale, Simd::set1(as[size_t(i) * superblocks])), acc[i]);
    store_sums<M>(out, acc);
}

template <Format format, int M>
static void float_step(const Step& step, Ahead<format>& ahead, float* out) {
    const int cols = step.in.blocks * kBlock, last = step.last_block<format>();
    const float* x = step.in.x + size_t(step.row) * cols;
    F acc[M];
    load_sums<M>(step, out, acc);
    for (int b = step.first_block<format>(); b < last; b++) {
        ahead.fetch_block();
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
static void step_exactly(const Step& step, Ahead<format>& ahead, int count, float* out) {
    if constexpr (M > 1) if (count < M) return step_exactly<format, M - 1>(step, ahead, count, out);
    if constexpr (format == Format::q4p) two_level_step<M>(step, ahead, out);
    else if constexpr (is_quantised(format)) quantised_step<Simd, format, M>(step, ahead, out);
    else float_step<format, M>(step, ahead, out);
}

template <Format format>
static void multiply_group(const TileGroup& group, const Activations& in, int first, int count, float* out) {
    Ahead<format> nothing;
    for (int s = 0; s * step_blocks(format) < in.blocks; s++) {
        Ahead<format> ahead(group, s, in.blocks);
        for (int t = 0; t < group.count; t++)
            for (int row = 0; row < count; row += Simd::rows) {
                const Step step{group.tile[t], row ? nullptr : group.next[t], in, s, first + row};
                step_exactly<format, Simd::rows>(step, row ? nothing : ahead, count - row, out + size_t(t * count + row) * 16);
            }
    }
}

}  // namespace
}  // namespace pocketseek
