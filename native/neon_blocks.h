// What both NEON sets do with one block of 32 inputs: read weights, take exact int32 sums, add them to the accumulators.
//
// A block is worked on in quarters of four outputs, so that a quarter's sums die before the next begins: with four rows the 16 f32
// accumulators, 8 registers of activations, 4 sums and 3 of weights fill the 32 registers. In memory, for q4:
//
//     line g (64 bytes)   r0: 4 bytes | r1 | r2 | r3 |   r4 ... r15      low nibbles: inputs 8g..8g+3, high: 8g+4..8g+7
//                        '------- quarter 0 -------'
//
// and for q8 the low half is line 2g and the high half line 2g + 1. q6 is as q4 with two lines more: line 4 + g / 2 has the high two bits.
// `Dot` of NeonBlocks has one function:
//
//     block<Weights, Zero, M>(w, a, lda, zero, lds, finish)
//         calls finish(j, d) for each quarter j; d[i] = sum(w * a[i]) + Zero * zero[i * lds] of the outputs 4j..4j+3
#pragma once

#include <type_traits>

#include "formats.h"
#include "neon_lanes.h"

#define POCKETSEEK_INLINE __attribute__((always_inline))

namespace pocketseek {
namespace {

// op(0) .. op(3) with constants: loops over registers must be gone before the compiler decides what lives in memory
template <class Op> static inline POCKETSEEK_INLINE void each4(Op op) {
    op(std::integral_constant<int, 0>{});
    op(std::integral_constant<int, 1>{});
    op(std::integral_constant<int, 2>{});
    op(std::integral_constant<int, 3>{});
}

// No instruction: makes the compiler read again what it would otherwise keep in a register, and then in the stack.
template <class T> static inline POCKETSEEK_INLINE void forget(const T*& p) { asm("" : "+r"(p)); }

// Four outputs x eight inputs: the first four inputs of each output, then the second four.
struct EightInputs { int8x16_t lo, hi; };

enum class Weights { nibbles, six_bits, bytes };
inline constexpr Weights weights_of(Format f) { return f == Format::q8s ? Weights::bytes : f == Format::q6s ? Weights::six_bits : Weights::nibbles; }

// The zero points of formats whose weights are read as unsigned, in multiples of q4s's 8 (that of q4p is in its steps' call).
inline constexpr int zero_of(Format f) { return f == Format::q4s ? 1 : f == Format::q6s ? 4 : 0; }

template <int Zero> static inline POCKETSEEK_INLINE int32x4_t first_sums(const int32_t* zero) {
    if constexpr (Zero == 0) return vdupq_n_s32(0);
    else if constexpr (Zero == 1) return vld1q_dup_s32(zero);
    else return vmulq_n_s32(vld1q_dup_s32(zero), Zero);
}

// 0..63: two bits from h above four from v. Shifts that insert take two or three instructions for a group of four inputs.
static inline POCKETSEEK_INLINE EightInputs six_bits(uint8x16_t v, uint8x16_t h, int g) {
    const uint8x16_t two = vdupq_n_u8(0x30);
    const uint8x16_t lo = g % 2 ? vbslq_u8(vdupq_n_u8(15), v, vandq_u8(h, two)) : vsliq_n_u8(v, vandq_u8(h, vdupq_n_u8(3)), 4);
    const uint8x16_t hi = vsriq_n_u8(vandq_u8(g % 2 ? vshrq_n_u8(h, 2) : vshlq_n_u8(h, 2), two), v, 4);
    return {vreinterpretq_s8_u8(lo), vreinterpretq_s8_u8(hi)};
}

template <Weights kind> static inline POCKETSEEK_INLINE EightInputs eight_inputs(const uint8_t* quarter, int g) {
    if constexpr (kind == Weights::six_bits) {
        return six_bits(vld1q_u8(quarter + 64 * g), vld1q_u8(quarter + 256 + 64 * (g / 2)), g);
    } else if constexpr (kind == Weights::nibbles) {
        const uint8x16_t v = vld1q_u8(quarter + 64 * g);
        return {vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15))), vreinterpretq_s8_u8(vshrq_n_u8(v, 4))};
    } else {
        return {vld1q_s8(reinterpret_cast<const int8_t*>(quarter) + 128 * g), vld1q_s8(reinterpret_cast<const int8_t*>(quarter) + 128 * g + 64)};
    }
}

// The sixteen 4-bit steps of a q4p block: as bytes, and four of them as lanes.
struct Steps {
    uint8x16_t bytes;

    explicit Steps(const uint8_t* packed) {
        const uint8x8_t v = vld1_u8(packed);
        bytes = vcombine_u8(vand_u8(v, vdup_n_u8(15)), vshr_n_u8(v, 4));
    }
    // lane r = step 4 * j + r
    int32x4_t lanes(int j) const {
        const uint16x8_t wide = j < 2 ? vmovl_u8(vget_low_u8(bytes)) : vmovl_high_u8(bytes);
        return vreinterpretq_s32_u32(j % 2 ? vmovl_high_u16(wide) : vmovl_u16(vget_low_u16(wide)));
    }
    // each of the four steps of quarter j four times
    int8x16_t quarter(int j) const {
        static constexpr uint8_t fours[16] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
        return vreinterpretq_s8_u8(vqtbl1q_u8(bytes, vaddq_u8(vld1q_u8(fours), vdupq_n_u8(uint8_t(4 * j)))));
    }
};

// g * (q - 8) of one block of q4p: emit(g, j, eight) for line g and quarter j. Values are -120 .. 105.
template <class Emit> static inline POCKETSEEK_INLINE void expand_quarters(const uint8_t* w, const uint8_t* packed_steps, Emit emit) {
    const Steps steps(packed_steps);
    each4([&](auto j) POCKETSEEK_INLINE {
        const int8x16_t step = steps.quarter(j), zero = vnegq_s8(vshlq_n_s8(step, 3));
        each4([&](auto g) POCKETSEEK_INLINE {
            const EightInputs v = eight_inputs<Weights::nibbles>(w + 16 * j, g);
            emit(int(g), int(j), EightInputs{vmlaq_s8(zero, v.lo, step), vmlaq_s8(zero, v.hi, step)});
        });
    });
}

// SDOT by lane: four outputs, four inputs each, times four inputs of one row.
//
// Expected rate: two 128-bit SDOT a cycle on Cortex-A76 to A78 (four on X1 to X4). With one row of q4s a quarter line is 1 load, 2 to
// unpack and 2 SDOT: with 4 x 4 instructions of f32 and 4 zero points a block of 288 bytes is 84 for the vector pipes (104 to 117 in
// all), 7 bytes a cycle: 16 GB/s per core at 2.4 GHz, about what one core gets from memory. With four rows: 128 SDOT, 32 to unpack,
// 16 zero points and 52 of f32, so 56 % of the pipes' work is products and four rows cost 2.7 times one.
struct NeonSdot {
    template <int G, int M>
    static inline POCKETSEEK_INLINE void add(const EightInputs& w, const int8x16_t (&x)[2][M], int32x4_t (&d)[M]) {
        constexpr int lane = G % 2 * 2;
#pragma GCC unroll 8
        for (int i = 0; i < M; i++) {
            d[i] = vdotq_laneq_s32(d[i], w.lo, x[G / 2][i], lane);
            d[i] = vdotq_laneq_s32(d[i], w.hi, x[G / 2][i], lane + 1);
        }
    }
    template <Weights kind, int Zero, int M, class Finish>
    static inline POCKETSEEK_INLINE void block(const uint8_t* w, const int8_t* a, ptrdiff_t lda, const int32_t* zero, ptrdiff_t lds, Finish finish) {
        int8x16_t x[2][M];
#pragma GCC unroll 8
        for (int i = 0; i < M; i++) x[0][i] = vld1q_s8(a + i * lda), x[1][i] = vld1q_s8(a + i * lda + 16);
        if constexpr (M <= 2) {  // there is room for all quarters at once: chains of sums in turn, as in-order cores need
            int32x4_t d[4][M];
            each4([&](auto j) POCKETSEEK_INLINE {
#pragma GCC unroll 8
                for (int i = 0; i < M; i++) d[j][i] = first_sums<Zero>(zero + i * lds);
            });
            each4([&](auto g) POCKETSEEK_INLINE {
                each4([&](auto j) POCKETSEEK_INLINE { add<g>(eight_inputs<kind>(w + 16 * j, g), x, d[j]); });
            });
            each4([&](auto j) POCKETSEEK_INLINE { finish(j, d[j]); });
        } else {
            each4([&](auto j) POCKETSEEK_INLINE {
                int32x4_t d[M];
                forget(zero);
#pragma GCC unroll 8
                for (int i = 0; i < M; i++) d[i] = first_sums<Zero>(zero + i * lds);
                each4([&](auto g) POCKETSEEK_INLINE { add<g>(eight_inputs<kind>(w + 16 * j, g), x, d); });
                finish(j, d);
            });
        }
    }
};

template <class Dot> struct NeonBlocks : NeonLanes {
    static constexpr bool adds_blocks = true;  // matmul.h leaves a block's f32 part to add_block

    // acc[i] = fma(sum of one block, scale * as[i], acc[i])
    template <Format format, int M>
    static inline POCKETSEEK_INLINE void add_block(const uint8_t* w, const uint16_t* scales, const int8_t* a, ptrdiff_t lda, const int32_t* sum8,
                                                   const float* as, ptrdiff_t lds, F (&acc)[M]) {
        Dot::template block<weights_of(format), zero_of(format), M>(w, a, lda, sum8, lds, [&](auto j, const int32x4_t (&d)[M]) POCKETSEEK_INLINE {
            const float32x4_t scale = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(scales + 4 * j)));
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) acc[i].v[j] = vfmaq_f32(acc[i].v[j], vcvtq_f32_s32(d[i]), vmulq_n_f32(scale, as[i * lds]));
        });
    }
    template <int M>
    static inline POCKETSEEK_INLINE void add_q4p(const uint8_t* w, const uint8_t* packed_steps, const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&total)[M]) {
        const Steps steps(packed_steps);
        Dot::template block<Weights::nibbles, 1, M>(w, a, lda, sum8, lds, [&](auto j, const int32x4_t (&d)[M]) POCKETSEEK_INLINE {
            const int32x4_t g = steps.lanes(j);
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) total[i].v[j] = vmlaq_s32(total[i].v[j], d[i], g);
        });
    }
};

}  // namespace
}  // namespace pocketseek
