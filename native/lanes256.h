// Sixteen f32 lanes as two 256-bit registers (AVX2, FMA, F16C), shared by every set with 256-bit registers: each adds its integer
// dot products.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace pocketseek {
namespace {

struct Lanes256 {
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
    static void prefetch_far(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }

    static I int_zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
    static __m256i load8(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
    static __m256i broadcast4(const void* a) {
        int32_t four;
        std::memcpy(&four, a, 4);
        return _mm256_set1_epi32(four);
    }
    // Group j of a q6s block, 0..63: four inputs of the first eight outputs, or of the other eight if w is 32 bytes further.
    static __m256i six_bits(const uint8_t* w, int j) {
        const __m256i low = _mm256_set1_epi8(15), two = _mm256_set1_epi8(0x30);
        const __m256i v = load8(w + j / 2 * 64), h = load8(w + 256 + j / 4 * 64);
        const __m256i nibbles = j % 2 ? _mm256_srli_epi16(v, 4) : v;
        const __m256i high = j % 4 == 0 ? _mm256_slli_epi16(h, 4) : j % 4 == 1 ? _mm256_slli_epi16(h, 2) : j % 4 == 2 ? h : _mm256_srli_epi16(h, 2);
        return _mm256_or_si256(_mm256_and_si256(nibbles, low), _mm256_and_si256(high, two));
    }
    // A chain of sums stays a chain: GCC 12 would make a tree of it, with more terms at once than there are registers.
    static __m256i in_order(__m256i sum) {
        asm("" : "+x"(sum));
        return sum;
    }
    // The steps g of a q4p block, one per lane: sixteen four-bit numbers.
    static I steps16(const uint8_t* steps) {
        const __m128i packed = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(steps)), low = _mm_set1_epi8(15);
        return {_mm256_cvtepu8_epi32(_mm_and_si128(packed, low)), _mm256_cvtepu8_epi32(_mm_and_si128(_mm_srli_epi16(packed, 4), low))};
    }
};

}  // namespace
}  // namespace pocketseek
