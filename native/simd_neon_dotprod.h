// NEON with dot products (Armv8.2 and later: every phone core since Cortex-A55/A75).
#pragma once

#include "neon_blocks.h"

namespace pocketseek {
namespace {

struct Simd : NeonBlocks<NeonSdot> {
    static constexpr const char* name = "neon-dotprod";
    static constexpr int tiles = 1;
    static constexpr int rows = 4;  // 16 accumulators of f32; eight rows would keep all 32 in memory

    // For many rows: 24 accumulators (six rows of one tile), six registers of activations and two of weights stay in registers over
    // a superblock. Per superblock, 16 outputs and six rows: 1536 SDOT and 352 loads, then 24 x 3 instructions of f32: 95 % of the
    // pipes' work is products. Two pipes: 30 multiply-adds a cycle, 73 G/s per core at 2.4 GHz; four pipes: twice that.
    // Expanding costs 128 instructions per block and 16 outputs, 12 % of the work at 32 rows and 2 % at 192.
    static constexpr bool has_expanded = true;
    static constexpr int expanded_tiles = 1, expanded_rows = 6;
    static constexpr int panel_unit = 16, panel_flip = 0;
    static I start_sums(const uint8_t*, int) { return int_zero(); }

    // The order of eight_inputs: per line the low inputs of all sixteen outputs, then the high ones.
    static void expand_block(const uint8_t* w, const uint8_t* steps, uint8_t* out) {
        expand_quarters(w, steps, [&](int g, int j, const EightInputs& v) POCKETSEEK_INLINE {
            int8_t* quarter = reinterpret_cast<int8_t*>(out) + 128 * g + 16 * j;
            vst1q_s8(quarter, v.lo), vst1q_s8(quarter + 64, v.hi);
        });
    }
    static inline POCKETSEEK_INLINE void add_expanded(const uint8_t* expanded, int blocks, const uint8_t* panel, I (&c)[1][expanded_rows]) {
        const auto *w = reinterpret_cast<const int8_t*>(expanded), *a = reinterpret_cast<const int8_t*>(panel);
        for (int k = 0; k < 2 * blocks; k++, w += 256, a += 16 * expanded_rows) {  // 16 inputs
            int8x16_t x[expanded_rows];
#pragma GCC unroll 8
            for (int i = 0; i < expanded_rows; i++) x[i] = vld1q_s8(a + 16 * i);
            each4([&](auto four) POCKETSEEK_INLINE {
                each4([&](auto j) POCKETSEEK_INLINE {
                    const int8x16_t v = vld1q_s8(w + 64 * four + 16 * j);
#pragma GCC unroll 8
                    for (int i = 0; i < expanded_rows; i++) c[0][i].v[j] = vdotq_laneq_s32(c[0][i].v[j], v, x[i], four);
                });
            });
        }
    }
};

}  // namespace
}  // namespace pocketseek
