// AVX2 + FMA + F16C: sixteen lanes as two registers.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace pocketseek {
namespace {

struct Simd {
    static constexpr const char* name = "avx2";
    struct F { __m256 lo, hi; };
    struct I { __m256i lo, hi; };

    static F zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
    static F set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
    static F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
    static F load_n(const float* p, int n) {
        if (n >= 16) return load(p);
        alignas(32) float t[16] = {};
        for (int i = 0; i < n; i++) t[i] = p[i];
        return load(t);
    }
    static void store(float* p, F a) { _mm256_storeu_ps(p, a.lo); _mm256_storeu_ps(p + 8, a.hi); }
    static void store_n(float* p, F a, int n) {
        if (n >= 16) return store(p, a);
        alignas(32) float t[16];
        store(t, a);
        for (int i = 0; i < n; i++) p[i] = t[i];
    }
    static __m128i half8(const uint16_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
    static F load_half(const uint16_t* p) { return {_mm256_cvtph_ps(half8(p)), _mm256_cvtph_ps(half8(p + 8))}; }
    static constexpr int accumulators = 6;  // two registers each, of 16
    static __m256 int8_to_float(const int8_t* p) {
        return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
    }
    static F load_int8(const int8_t* p) { return {int8_to_float(p), int8_to_float(p + 8)}; }
    static void store_half(uint16_t* p, F a) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT));
    }
    static F add(F a, F b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
    static F sub(F a, F b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
    static F mul(F a, F b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
    static F div(F a, F b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
    static F fma(F a, F b, F c) { return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)}; }
    static F max(F a, F b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
    static F min(F a, F b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
    static F abs(F a) {
        const __m256 sign = _mm256_set1_ps(-0.0f);
        return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
    }
    static __m256 round8(__m256 a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    static F round(F a) { return {round8(a.lo), round8(a.hi)}; }
    static __m256 power2(__m256 n) {
        const __m256i biased = _mm256_add_epi32(_mm256_cvttps_epi32(n), _mm256_set1_epi32(127));
        return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
    }
    static F scale2(F a, F n) { return {_mm256_mul_ps(a.lo, power2(n.lo)), _mm256_mul_ps(a.hi, power2(n.hi))}; }
    static F to_float(I a) { return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }
    static void store_int8(int8_t* p, F a) {
        const __m256i w = _mm256_packs_epi32(_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi));
        const __m256i ordered = _mm256_permute4x64_epi64(w, 0xd8);
        const __m128i b = _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), b);
    }
    template <class Op> static float reduce(F a, Op op) {
        const __m256 eight = op(a.lo, a.hi);
        __m256 four = op(eight, _mm256_permute2f128_ps(eight, eight, 1));
        __m256 two = op(four, _mm256_permute_ps(four, 0x4e));
        return _mm256_cvtss_f32(op(two, _mm256_permute_ps(two, 0xb1)));
    }
    static float reduce_add(F a) { return reduce(a, [](__m256 x, __m256 y) { return _mm256_add_ps(x, y); }); }
    static float reduce_max(F a) { return reduce(a, [](__m256 x, __m256 y) { return _mm256_max_ps(x, y); }); }
    static void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }

    static constexpr int rows = 2;
    static __m256i load8(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
    static __m256i broadcast4(const int8_t* a) {
        int32_t four;
        std::memcpy(&four, a, 4);
        return _mm256_set1_epi32(four);
    }
    // Eight products of at most 15 * 127 * 2 fit a 16-bit sum (30480), so one widening per block is enough.
    template <int M, bool ZeroPoint>
    static void dot_q4(const uint8_t* w, const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&d)[M]) {
        const __m256i low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
        __m256i s[M][2];
        for (int i = 0; i < M; i++) s[i][0] = s[i][1] = _mm256_setzero_si256();
#pragma GCC unroll 4
        for (int g = 0; g < 4; g++)
#pragma GCC unroll 2
            for (int h = 0; h < 2; h++) {
                const __m256i v = load8(w + g * 64 + h * 32);
                const __m256i lo = _mm256_and_si256(v, low), hi = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
#pragma GCC unroll 8
                for (int i = 0; i < M; i++) {
                    s[i][h] = _mm256_add_epi16(s[i][h], _mm256_maddubs_epi16(lo, broadcast4(a + i * lda + 8 * g)));
                    s[i][h] = _mm256_add_epi16(s[i][h], _mm256_maddubs_epi16(hi, broadcast4(a + i * lda + 8 * g + 4)));
                }
            }
        for (int i = 0; i < M; i++) {
            const __m256i zero_point = _mm256_set1_epi32(ZeroPoint ? sum8[i * lds] : 0);
            d[i].lo = _mm256_add_epi32(_mm256_madd_epi16(s[i][0], ones), zero_point);
            d[i].hi = _mm256_add_epi32(_mm256_madd_epi16(s[i][1], ones), zero_point);
        }
    }
    static constexpr bool has_expanded = false;
    static I int_zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
    template <int M>
    static void add_q4p(const uint8_t* w, const uint8_t* steps, const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&total)[M]) {
        I d[M];
        dot_q4<M, true>(w, a, lda, sum8, lds, d);
        const __m128i packed = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(steps)), low = _mm_set1_epi8(15);
        const __m256i lo = _mm256_cvtepu8_epi32(_mm_and_si128(packed, low));
        const __m256i hi = _mm256_cvtepu8_epi32(_mm_and_si128(_mm_srli_epi16(packed, 4), low));
        for (int i = 0; i < M; i++) {
            total[i].lo = _mm256_add_epi32(total[i].lo, _mm256_madd_epi16(d[i].lo, lo));
            total[i].hi = _mm256_add_epi32(total[i].hi, _mm256_madd_epi16(d[i].hi, hi));
        }
    }
    // |w| <= 128 and |a| <= 127 keep a pair of products below 2^15; the sign of w moves to a.
    template <int M>
    static void dot_q8(const uint8_t* w, const int8_t* a, ptrdiff_t lda, const int32_t*, ptrdiff_t, I (&d)[M]) {
        const __m256i ones = _mm256_set1_epi16(1);
        for (int i = 0; i < M; i++) d[i] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
#pragma GCC unroll 8
        for (int g = 0; g < 8; g++) {
            const __m256i w0 = load8(w + g * 64), w1 = load8(w + g * 64 + 32);
            const __m256i m0 = _mm256_abs_epi8(w0), m1 = _mm256_abs_epi8(w1);
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) {
                const __m256i b = broadcast4(a + i * lda + 4 * g);
                const __m256i p0 = _mm256_madd_epi16(_mm256_maddubs_epi16(m0, _mm256_sign_epi8(b, w0)), ones);
                const __m256i p1 = _mm256_madd_epi16(_mm256_maddubs_epi16(m1, _mm256_sign_epi8(b, w1)), ones);
                d[i] = {_mm256_add_epi32(d[i].lo, p0), _mm256_add_epi32(d[i].hi, p1)};
            }
        }
    }
};

}  // namespace
}  // namespace pocketseek
