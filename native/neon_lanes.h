// The float lanes of both NEON sets: sixteen lanes as four registers. simd_neon_dotprod.h and simd_neon_i8mm.h add the integer
// dot products; a struct of static functions that takes over another's is all the inheritance there is.
//
// max and min are compare and select, not FMAX: they must treat NaN and zeros as the other sets do.
#pragma once

#include <arm_neon.h>

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace pocketseek {
namespace {

struct NeonLanes {
    struct F { float32x4_t v[4]; };
    struct I { int32x4_t v[4]; };

    template <class Op> static inline __attribute__((always_inline)) F each(Op op) { return {op(0), op(1), op(2), op(3)}; }

    static F zero() { return set1(0.0f); }
    static F set1(float x) { const float32x4_t v = vdupq_n_f32(x); return {v, v, v, v}; }
    static F load(const float* p) { return each([=](int i) { return vld1q_f32(p + 4 * i); }); }
    static F load_n(const float* p, int n) {
        if (n >= 16) return load(p);
        return each([=](int i) { return load4(p + 4 * i, n - 4 * i); });
    }
    // By hand: the compilers make calls of memcpy and memset out of loops over the tail, and save all registers around them.
    static float32x4_t load4(const float* p, int n) {
        if (n >= 4) return vld1q_f32(p);
        if (n <= 0) return vdupq_n_f32(0);
        const float32x4_t one = vld1q_lane_f32(p, vdupq_n_f32(0), 0), two = n > 1 ? vld1q_lane_f32(p + 1, one, 1) : one;
        return n > 2 ? vld1q_lane_f32(p + 2, two, 2) : two;
    }
    static void store(float* p, F a) { for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, a.v[i]); }
    static void store_n(float* p, F a, int n) {
        if (n >= 16) return store(p, a);
        for (int i = 0; i < 4; i++) store4(p + 4 * i, a.v[i], n - 4 * i);
    }
    static void store4(float* p, float32x4_t v, int n) {
        if (n >= 4) return vst1q_f32(p, v);
        if (n > 0) vst1q_lane_f32(p, v, 0);
        if (n > 1) vst1q_lane_f32(p + 1, v, 1);
        if (n > 2) vst1q_lane_f32(p + 2, v, 2);
    }
    static F load_half(const uint16_t* p) {
        const float16x8_t lo = vreinterpretq_f16_u16(vld1q_u16(p)), hi = vreinterpretq_f16_u16(vld1q_u16(p + 8));
        return {vcvt_f32_f16(vget_low_f16(lo)), vcvt_high_f32_f16(lo), vcvt_f32_f16(vget_low_f16(hi)), vcvt_high_f32_f16(hi)};
    }
    static constexpr int accumulators = 6;  // four registers each, of 32
    static F load_int8(const int8_t* p) {
        const int8x16_t bytes = vld1q_s8(p);
        const int16x8_t lo = vmovl_s8(vget_low_s8(bytes)), hi = vmovl_high_s8(bytes);
        return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(lo))), vcvtq_f32_s32(vmovl_high_s16(lo)),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(hi))), vcvtq_f32_s32(vmovl_high_s16(hi))};
    }
    static void store_half(uint16_t* p, F a) {
        for (int i = 0; i < 2; i++)
            vst1q_u16(p + 8 * i, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(a.v[2 * i]), a.v[2 * i + 1])));
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
            half[i] = vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(a.v[2 * i])), vcvtnq_s32_f32(a.v[2 * i + 1]));
        vst1q_s8(p, vqmovn_high_s16(vqmovn_s16(half[0]), half[1]));
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
    static void prefetch_far(const void* p) { __builtin_prefetch(p, 0, 2); }  // for the second-level cache
    static I int_zero() { const int32x4_t z = vdupq_n_s32(0); return {z, z, z, z}; }
};

}  // namespace
}  // namespace pocketseek
