// NEON with int8 matrix products (Armv8.6, optional from 8.2: Cortex-A510/A710/X2 and later): SMMLA multiplies two rows of eight
// inputs with two outputs of eight inputs, 32 products where SDOT has 16.
//
//     SMMLA d, x, w     x = row 0: inputs 0..7 | row 1: inputs 0..7      d = r0 o0 | r0 o1 | r1 o0 | r1 o1
//                       w = output 0           | output 1
//
// Zipping the low and high halves of a quarter line as 32-bit elements gives w for outputs 4j, 4j+1 and for 4j+2, 4j+3.
#pragma once

#include "neon_blocks.h"

namespace pocketseek {
namespace {

struct OutputPairs { int8x16_t first, second; };  // outputs 4j, 4j+1 and outputs 4j+2, 4j+3, eight inputs each
static inline POCKETSEEK_INLINE OutputPairs output_pairs(const EightInputs& v) {
    const int32x4_t lo = vreinterpretq_s32_s8(v.lo), hi = vreinterpretq_s32_s8(v.hi);
    return {vreinterpretq_s8_s32(vzip1q_s32(lo, hi)), vreinterpretq_s8_s32(vzip2q_s32(lo, hi))};
}
// Two rows of 16 inputs as two registers of two rows x 8 inputs.
struct RowPair { int8x16_t first, second; };
static inline POCKETSEEK_INLINE RowPair row_pair(const int8_t* a, const int8_t* b) {
    const int64x2_t x = vreinterpretq_s64_s8(vld1q_s8(a)), y = vreinterpretq_s64_s8(vld1q_s8(b));
    return {vreinterpretq_s8_s64(vzip1q_s64(x, y)), vreinterpretq_s8_s64(vzip2q_s64(x, y))};
}
// Row 0 or row 1 of two results: four outputs in order.
template <int Row> static inline POCKETSEEK_INLINE int32x4_t row_of(int32x4_t first, int32x4_t second) {
    const int64x2_t a = vreinterpretq_s64_s32(first), b = vreinterpretq_s64_s32(second);
    return vreinterpretq_s32_s64(Row ? vzip2q_s64(a, b) : vzip1q_s64(a, b));
}

// Expected rate: SMMLA issues as often as SDOT. Per quarter line of q4: 2 instructions to unpack and 2 to zip for all rows, 2 SMMLA per
// two rows (SDOT: 2 to unpack and 4): equal at two rows, so up to three rows SDOT is used, which needs no zips of activations and of
// results. Eight rows of q4s, per block: 128 SMMLA, 64 for weights, 56 to pair rows and part them again, 100 of f32: 0.76 of the vector
// work of twice four rows by SDOT; q4p 0.72. (The f32 accumulators of eight rows live in memory: 64 loads and stores beside.)
struct NeonSmmla {
    template <Weights kind, int Zero, int M, class Finish>
    static inline POCKETSEEK_INLINE void block(const uint8_t* w, const int8_t* a, ptrdiff_t lda, const int32_t* zero, ptrdiff_t lds, Finish finish) {
        if constexpr (M <= 3) {
            NeonSdot::block<kind, Zero, M>(w, a, lda, zero, lds, finish);
        } else {
            constexpr int P = (M + 1) / 2;  // an odd last row is its own partner
            int8x16_t x[4][P];
            int32x4_t start[P];
#pragma GCC unroll 8
            for (int p = 0; p < P; p++) {
                const ptrdiff_t one = 2 * p, two = 2 * p + 1 < M ? one + 1 : one;
                const RowPair lo = row_pair(a + one * lda, a + two * lda), hi = row_pair(a + one * lda + 16, a + two * lda + 16);
                x[0][p] = lo.first, x[1][p] = lo.second, x[2][p] = hi.first, x[3][p] = hi.second;
                start[p] = Zero ? vcombine_s32(vdup_n_s32(Zero * zero[one * lds]), vdup_n_s32(Zero * zero[two * lds])) : vdupq_n_s32(0);
            }
            each4([&](auto j) POCKETSEEK_INLINE {
                int32x4_t first[P], second[P], d[M];
#pragma GCC unroll 8
                for (int p = 0; p < P; p++) first[p] = second[p] = start[p];
                each4([&](auto g) POCKETSEEK_INLINE {
                    const OutputPairs v = output_pairs(eight_inputs<kind>(w + 16 * j, g));
#pragma GCC unroll 8
                    for (int p = 0; p < P; p++) first[p] = vmmlaq_s32(first[p], x[g][p], v.first), second[p] = vmmlaq_s32(second[p], x[g][p], v.second);
                });
#pragma GCC unroll 8
                for (int i = 0; i < M; i++) d[i] = i % 2 ? row_of<1>(first[i / 2], second[i / 2]) : row_of<0>(first[i / 2], second[i / 2]);
                finish(j, d);
            });
        }
    }
};

struct Simd : NeonBlocks<NeonSmmla> {
    static constexpr const char* name = "neon-i8mm";
    static constexpr int tiles = 1;
    static constexpr int rows = 8;

    // For many rows: 3 row pairs x 8 output pairs are 24 accumulators; weights and activations stream, rows lie in pairs in the panel. Per
    // superblock, 16 outputs and six rows: 768 SMMLA, 24 zips of results and 72 of f32: 89 % of the pipes' work is products. Two
    // pipes: 57 multiply-adds a cycle, 142 G/s per core at 2.5 GHz (Cortex-A710); four pipes (X2 to X4): twice that. Predicted.
    static constexpr bool has_expanded = true;
    static constexpr int expanded_tiles = 1, expanded_rows = 6;
    static constexpr int panel_unit = 8, panel_flip = 0;
    static I start_sums(const uint8_t*, int) { return int_zero(); }

    // Per line the eight output pairs in order, 16 bytes each.
    static void expand_block(const uint8_t* w, const uint8_t* steps, uint8_t* out) {
        expand_quarters(w, steps, [&](int g, int j, const EightInputs& v) POCKETSEEK_INLINE {
            const OutputPairs pairs = output_pairs(v);
            int8_t* quarter = reinterpret_cast<int8_t*>(out) + 128 * g + 32 * j;
            vst1q_s8(quarter, pairs.first), vst1q_s8(quarter + 16, pairs.second);
        });
    }
    static inline POCKETSEEK_INLINE void add_expanded(const uint8_t* expanded, int blocks, const uint8_t* panel, I (&c)[1][expanded_rows]) {
        constexpr int P = expanded_rows / 2;
        const auto *w = reinterpret_cast<const int8_t*>(expanded), *a = reinterpret_cast<const int8_t*>(panel);
        int32x4_t first[4][P], second[4][P];
        each4([&](auto j) POCKETSEEK_INLINE {
#pragma GCC unroll 8
            for (int p = 0; p < P; p++) first[j][p] = second[j][p] = vdupq_n_s32(0);
        });
        for (int k = 0; k < 4 * blocks; k++, w += 128, a += 8 * expanded_rows) {  // 8 inputs
            int8x16_t x[P];
#pragma GCC unroll 8
            for (int p = 0; p < P; p++) x[p] = vld1q_s8(a + 16 * p);
            each4([&](auto j) POCKETSEEK_INLINE {
                const int8x16_t v0 = vld1q_s8(w + 32 * j), v1 = vld1q_s8(w + 32 * j + 16);
#pragma GCC unroll 8
                for (int p = 0; p < P; p++) first[j][p] = vmmlaq_s32(first[j][p], x[p], v0), second[j][p] = vmmlaq_s32(second[j][p], x[p], v1);
            });
        }
        each4([&](auto j) POCKETSEEK_INLINE {
#pragma GCC unroll 8
            for (int i = 0; i < expanded_rows; i++) c[0][i].v[j] = i % 2 ? row_of<1>(first[j][i / 2], second[j][i / 2]) : row_of<0>(first[j][i / 2], second[j][i / 2]);
        });
    }
};

}  // namespace
}  // namespace pocketseek
