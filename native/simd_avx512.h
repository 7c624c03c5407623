// AVX-512 (F, BW, DQ, VL) with VNNI: sixteen lanes in one register, four products per lane and instruction.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace pocketseek {
namespace {

struct Simd {
    static constexpr const char* name = "avx512";
    using F = __m512;
    using I = __m512i;

    static F zero() { return _mm512_setzero_ps(); }
    static F set1(float x) { return _mm512_set1_ps(x); }
    static F load(const float* p) { return _mm512_loadu_ps(p); }
    static __mmask16 mask(int n) { return n >= 16 ? __mmask16(0xffff) : __mmask16((1u << n) - 1); }
    static F load_n(const float* p, int n) { return _mm512_maskz_loadu_ps(mask(n), p); }
    static void store(float* p, F a) { _mm512_storeu_ps(p, a); }
    static void store_n(float* p, F a, int n) { _mm512_mask_storeu_ps(p, mask(n), a); }
    static F load_half(const uint16_t* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
    static void store_half(uint16_t* p, F a) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
    static F add(F a, F b) { return _mm512_add_ps(a, b); }
    static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
    static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
    static F div(F a, F b) { return _mm512_div_ps(a, b); }
    static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
    static F max(F a, F b) { return _mm512_max_ps(a, b); }
    static F min(F a, F b) { return _mm512_min_ps(a, b); }
    static F abs(F a) { return _mm512_abs_ps(a); }
    static F round(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    static F scale2(F a, F n) {
        const __m512i biased = _mm512_add_epi32(_mm512_cvttps_epi32(n), _mm512_set1_epi32(127));
        return _mm512_mul_ps(a, _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23)));
    }
    static F to_float(I a) { return _mm512_cvtepi32_ps(a); }
    static void store_int8(int8_t* p, F a) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(a)));
    }
    template <class Op> static float reduce(F a, Op op) {
        F s = op(a, _mm512_shuffle_f32x4(a, a, 0x4e));  // lanes i and i + 8
        s = op(s, _mm512_shuffle_f32x4(s, s, 0xb1));    // i and i + 4
        s = op(s, _mm512_permute_ps(s, 0x4e));          // i and i + 2
        s = op(s, _mm512_permute_ps(s, 0xb1));          // i and i + 1
        return _mm512_cvtss_f32(s);
    }
    static float reduce_add(F a) { return reduce(a, [](F x, F y) { return _mm512_add_ps(x, y); }); }
    static float reduce_max(F a) { return reduce(a, [](F x, F y) { return _mm512_max_ps(x, y); }); }
    static void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }

    static constexpr int rows = 8;
    static __m512i broadcast4(const int8_t* a) {
        int32_t four;
        std::memcpy(&four, a, 4);
        return _mm512_set1_epi32(four);
    }
    template <int M, bool ZeroPoint>
    static void dot_q4(const uint8_t* w, const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&d)[M]) {
        const __m512i low = _mm512_set1_epi8(15);
        for (int i = 0; i < M; i++) d[i] = ZeroPoint ? _mm512_set1_epi32(sum8[i * lds]) : _mm512_setzero_si512();
#pragma GCC unroll 4
        for (int g = 0; g < 4; g++) {
            const __m512i v = _mm512_loadu_si512(w + g * 64);
            const __m512i lo = _mm512_and_si512(v, low), hi = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) d[i] = _mm512_dpbusd_epi32(d[i], lo, broadcast4(a + i * lda + 8 * g));
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) d[i] = _mm512_dpbusd_epi32(d[i], hi, broadcast4(a + i * lda + 8 * g + 4));
        }
    }
    // The instruction wants unsigned weights: w + 128, taken back by 16 * (-8 * sum(a)).
    template <int M>
    static void dot_q8(const uint8_t* w, const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&d)[M]) {
        const __m512i flip = _mm512_set1_epi8(char(0x80));
        for (int i = 0; i < M; i++) d[i] = _mm512_set1_epi32(16 * sum8[i * lds]);
#pragma GCC unroll 8
        for (int g = 0; g < 8; g++) {
            const __m512i v = _mm512_xor_si512(_mm512_loadu_si512(w + g * 64), flip);
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) d[i] = _mm512_dpbusd_epi32(d[i], v, broadcast4(a + i * lda + 4 * g));
        }
    }
};

}  // namespace
}  // namespace pocketseek
