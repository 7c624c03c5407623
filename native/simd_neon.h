// NEON with dot products (Armv8.2 and later: every phone core since Cortex-A55/A75): sixteen lanes as four registers.
#pragma once

#include <arm_neon.h>

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace pocketseek {
namespace {

struct Simd {
    static constexpr const char* name = "neon-dotprod";
    struct F { float32x4_t v[4]; };
    struct I { int32x4_t v[4]; };

    template <class Op> static inline __attribute__((always_inline)) F each(Op op) { return {op(0), op(1), op(2), op(3)}; }

    static F zero() { return set1(0.0f); }
    static F set1(float x) { const float32x4_t v = vdupq_n_f32(x); return {v, v, v, v}; }
    static F load(const float* p) { return each([=](int i) { return vld1q_f32(p + 4 * i); }); }
    static F load_n(const float* p, int n) {
        if (n >= 16) return load(p);
        float t[16] = {};
        for (int i = 0; i < n; i++) t[i] = p[i];
        return load(t);
    }
    static void store(float* p, F a) { for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, a.v[i]); }
    static void store_n(float* p, F a, int n) {
        if (n >= 16) return store(p, a);
        float t[16];
        store(t, a);
        for (int i = 0; i < n; i++) p[i] = t[i];
    }
    static F load_half(const uint16_t* p) {
        return each([=](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))); });
    }
    static constexpr int accumulators = 6;  // four registers each, of 32
    static F load_int8(const int8_t* p) {
        const int8x16_t bytes = vld1q_s8(p);
        const int16x8_t half[2] = {vmovl_s8(vget_low_s8(bytes)), vmovl_s8(vget_high_s8(bytes))};
        return each([&](int i) {
            return vcvtq_f32_s32(vmovl_s16(i % 2 ? vget_high_s16(half[i / 2]) : vget_low_s16(half[i / 2])));
        });
    }
    static void store_half(uint16_t* p, F a) {
        for (int i = 0; i < 4; i++) vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(a.v[i])));
    }
    static F add(F a, F b) { return each([&](int i) { return vaddq_f32(a.v[i], b.v[i]); }); }
    static F sub(F a, F b) { return each([&](int i) { return vsubq_f32(a.v[i], b.v[i]); }); }
    static F mul(F a, F b) { return each([&](int i) { return vmulq_f32(a.v[i], b.v[i]); }); }
    static F div(F a, F b) { return each([&](int i) { return vdivq_f32(a.v[i], b.v[i]); }); }
    static F fma(F a, F b, F c) { return each([&](int i) { return vfmaq_f32(c.v[i], a.v[i], b.v[i]); }); }
    static float32x4_t greater(float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }  // as vmaxps
    static F max(F a, F b) { return each([&](int i) { return greater(a.v[i], b.v[i]); }); }
    static F min(F a, F b) { return each([&](int i) { return vbslq_f32(vcltq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]); }); }
    static F abs(F a) { return each([&](int i) { return vabsq_f32(a.v[i]); }); }
    static F round(F a) { return each([&](int i) { return vrndnq_f32(a.v[i]); }); }
    static F scale2(F a, F n) {
        return each([&](int i) {
            const int32x4_t biased = vaddq_s32(vcvtq_s32_f32(n.v[i]), vdupq_n_s32(127));
            return vmulq_f32(a.v[i], vreinterpretq_f32_s32(vshlq_n_s32(biased, 23)));
        });
    }
    static F to_float(I a) { return each([&](int i) { return vcvtq_f32_s32(a.v[i]); }); }
    static void store_int8(int8_t* p, F a) {
        int16x8_t half[2];
        for (int i = 0; i < 2; i++)
            half[i] = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(a.v[2 * i])), vqmovn_s32(vcvtnq_s32_f32(a.v[2 * i + 1])));
        vst1q_s8(p, vcombine_s8(vqmovn_s16(half[0]), vqmovn_s16(half[1])));
    }
    static float reduce_add(F a) {
        const float32x4_t four = vaddq_f32(vaddq_f32(a.v[0], a.v[2]), vaddq_f32(a.v[1], a.v[3]));
        const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
        return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
    }
    static float reduce_max(F a) {
        const float32x4_t four = greater(greater(a.v[0], a.v[2]), greater(a.v[1], a.v[3]));
        float v[4];
        vst1q_f32(v, four);
        const float x = v[0] > v[2] ? v[0] : v[2], y = v[1] > v[3] ? v[1] : v[3];
        return x > y ? x : y;
    }
    static void prefetch(const void* p) { __builtin_prefetch(p); }

    static constexpr int rows = 4;  // 16 accumulators of int32 beside four weight registers

    // One group of four inputs for all sixteen outputs: four registers of four outputs, activations broadcast by lane.
    template <int Lane> static inline __attribute__((always_inline)) void dot(I& d, const int8x16_t (&w)[4], int8x16_t a) {
        for (int j = 0; j < 4; j++) d.v[j] = vdotq_laneq_s32(d.v[j], w[j], a, Lane);
    }
    template <int G, int M>
    static inline __attribute__((always_inline)) void q4_group(const uint8_t* w, const int8x16_t (&a)[M], I (&d)[M]) {
        int8x16_t lo[4], hi[4];
        for (int j = 0; j < 4; j++) {
            const uint8x16_t v = vld1q_u8(w + G * 64 + j * 16);
            lo[j] = vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15)));
            hi[j] = vreinterpretq_s8_u8(vshrq_n_u8(v, 4));
        }
        for (int i = 0; i < M; i++) {
            dot<2 * (G % 2)>(d[i], lo, a[i]);
            dot<2 * (G % 2) + 1>(d[i], hi, a[i]);
        }
    }
    template <int M, bool ZeroPoint>
    static void dot_q4(const uint8_t* w, const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&d)[M]) {
        int8x16_t first[M], second[M];
        for (int i = 0; i < M; i++) {
            first[i] = vld1q_s8(a + i * lda), second[i] = vld1q_s8(a + i * lda + 16);
            const int32x4_t start = vdupq_n_s32(ZeroPoint ? sum8[i * lds] : 0);
            d[i] = {start, start, start, start};
        }
        q4_group<0>(w, first, d);
        q4_group<1>(w, first, d);
        q4_group<2>(w, second, d);
        q4_group<3>(w, second, d);
    }
    static constexpr bool has_expanded = false;
    static I int_zero() { const int32x4_t z = vdupq_n_s32(0); return {z, z, z, z}; }
    template <int M>
    static void add_q4p(const uint8_t* w, const uint8_t* steps, const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&total)[M]) {
        I d[M];
        dot_q4<M, true>(w, a, lda, sum8, lds, d);
        const uint8x8_t packed = vld1_u8(steps);
        const uint16x8_t lo = vmovl_u8(vand_u8(packed, vdup_n_u8(15))), hi = vmovl_u8(vshr_n_u8(packed, 4));
        const uint32x4_t g[4] = {vmovl_u16(vget_low_u16(lo)), vmovl_u16(vget_high_u16(lo)), vmovl_u16(vget_low_u16(hi)), vmovl_u16(vget_high_u16(hi))};
        for (int i = 0; i < M; i++)
            for (int j = 0; j < 4; j++) total[i].v[j] = vmlaq_s32(total[i].v[j], d[i].v[j], vreinterpretq_s32_u32(g[j]));
    }
    template <int G, int M>
    static inline __attribute__((always_inline)) void q8_group(const uint8_t* w, const int8x16_t (&a)[M], I (&d)[M]) {
        int8x16_t v[4];
        for (int j = 0; j < 4; j++) v[j] = vld1q_s8(reinterpret_cast<const int8_t*>(w) + G * 64 + j * 16);
        for (int i = 0; i < M; i++) dot<G % 4>(d[i], v, a[i]);
    }
    template <int M>
    static void dot_q8(const uint8_t* w, const int8_t* a, ptrdiff_t lda, const int32_t*, ptrdiff_t, I (&d)[M]) {
        int8x16_t first[M], second[M];
        for (int i = 0; i < M; i++) {
            first[i] = vld1q_s8(a + i * lda), second[i] = vld1q_s8(a + i * lda + 16);
            d[i] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
        }
        q8_group<0>(w, first, d), q8_group<1>(w, first, d), q8_group<2>(w, first, d), q8_group<3>(w, first, d);
        q8_group<4>(w, second, d), q8_group<5>(w, second, d), q8_group<6>(w, second, d), q8_group<7>(w, second, d);
    }
};

}  // namespace
}  // namespace pocketseek
