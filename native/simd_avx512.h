// AVX-512 (F, BW, DQ, VL) with VNNI: sixteen lanes in one register, four products per lane and instruction.
//
// The expected rates are in matmul.h (few rows) and expanded.h (many). Measured on Zen 4, whose ports allow 64 multiply-adds a cycle: 50
// with eight rows, 64 in the loop over expanded bytes (docs/lab-notes.md).
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "formats.h"
#include "vnni_expand.h"

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
    static constexpr int accumulators = 24;  // of 32 registers
    static F load_int8(const int8_t* p) { return to_float(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))); }
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
    // Four vectors become one of their sums within each quarter, then the quarters are added.
    static __m128 sum_four(F a, F b, F c, F d) {
        const auto halves = [](F x, F y) { return _mm512_add_ps(_mm512_unpacklo_ps(x, y), _mm512_unpackhi_ps(x, y)); };
        const __m512d ab = _mm512_castps_pd(halves(a, b)), cd = _mm512_castps_pd(halves(c, d));
        const F quarters = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)), _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
        const __m256 two = _mm256_add_ps(_mm512_castps512_ps256(quarters), _mm512_extractf32x8_ps(quarters, 1));
        return _mm_add_ps(_mm256_castps256_ps128(two), _mm256_extractf128_ps(two, 1));
    }
    static void sum_lanes(const F (&v)[8], float* sums) {
        _mm_storeu_ps(sums, sum_four(v[0], v[1], v[2], v[3]));
        _mm_storeu_ps(sums + 4, sum_four(v[4], v[5], v[6], v[7]));
    }
    static void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
    static void prefetch_far(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }

    static constexpr int rows = 8;
    static __m512i broadcast4(const void* a) {
        int32_t four;
        std::memcpy(&four, a, 4);
        return _mm512_set1_epi32(four);
    }
    static constexpr int tiles = 2;  // worked on together, so that every broadcast of activations serves both
    template <bool ZeroPoint, int T, int M>
    static void dot_q4(const uint8_t* const (&w)[T], const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&d)[T][M]) {
        const __m512i low = _mm512_set1_epi8(15);
#pragma GCC unroll 8
        for (int i = 0; i < M; i++)
            for (int t = 0; t < T; t++) d[t][i] = ZeroPoint ? _mm512_set1_epi32(sum8[i * lds]) : _mm512_setzero_si512();
#pragma GCC unroll 4
        for (int g = 0; g < 4; g++) {
            __m512i half[2][T];
            for (int t = 0; t < T; t++) {
                const __m512i v = _mm512_loadu_si512(w[t] + g * 64);
                half[0][t] = _mm512_and_si512(v, low), half[1][t] = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
            }
#pragma GCC unroll 2
            for (int h = 0; h < 2; h++)
#pragma GCC unroll 8
                for (int i = 0; i < M; i++) {
                    const __m512i four = broadcast4(a + i * lda + 8 * g + 4 * h);
#pragma GCC unroll 2
                    for (int t = 0; t < T; t++) d[t][i] = _mm512_dpbusd_epi32(d[t][i], half[h][t], four);
                }
        }
    }
    static I int_zero() { return _mm512_setzero_si512(); }
    static __m128i nibbles16(const uint8_t* steps) {  // sixteen four-bit numbers as bytes
        const __m128i packed = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(steps)), low = _mm_set1_epi8(15);
        return _mm_unpacklo_epi64(_mm_and_si128(packed, low), _mm_and_si128(_mm_srli_epi16(packed, 4), low));
    }

    static constexpr bool has_expanded = true;
    static constexpr int expanded_tiles = 2, expanded_rows = 8;  // 16 accumulators hide the latency better than 12; 24 gain no more
    static constexpr int panel_unit = 4, panel_flip = 0x80;      // vpdpbusd wants one side unsigned: a + 128
    static void expand_block(const uint8_t* w, const uint8_t* steps, uint8_t* out) {
        typedef uint16_t Lanes __attribute__((vector_size(64)));
        const __m512i g = _mm512_cvtepu8_epi32(nibbles16(steps));
        expand_nibbles<Lanes>(w, {Lanes(_mm512_or_si512(g, _mm512_slli_epi32(g, 16)))}, out);
    }
    static I start_sums(const uint8_t* expanded, int blocks) {
        const __m512i offset = _mm512_set1_epi8(char(0x80));
        __m512i even = _mm512_setzero_si512(), odd = even;
        for (int k = 0; k < 8 * blocks; k += 2) {
            even = _mm512_dpbusd_epi32(even, offset, _mm512_load_si512(expanded + 64 * k));
            odd = _mm512_dpbusd_epi32(odd, offset, _mm512_load_si512(expanded + 64 * k + 64));
        }
        return _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_add_epi32(even, odd));
    }
    static void add_expanded(const uint8_t* w, int blocks, const uint8_t* panel, I (&c)[2][expanded_rows]) {
        // Unrolled by a block: GCC 12 copies all accumulators once per iteration, which must not be once per group.
        for (int block = 0; block < blocks; block++, w += 512, panel += 32 * expanded_rows)
#pragma GCC unroll 8
            for (int k = 0; k < 8; k++) {
                const __m512i w0 = _mm512_load_si512(w + 64 * k), w1 = _mm512_load_si512(w + 64 * k + kExpandedBytes);
#pragma GCC unroll 12
                for (int i = 0; i < expanded_rows; i++) {
                    const __m512i a = broadcast4(panel + (k * expanded_rows + i) * 4);
                    c[0][i] = _mm512_dpbusd_epi32(c[0][i], a, w0);
                    c[1][i] = _mm512_dpbusd_epi32(c[1][i], a, w1);
                }
            }
    }
    template <int T, int M>
    static void add_q4p(const uint8_t* const (&w)[T], const uint8_t* const (&steps)[T], const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&total)[T][M]) {
        I d[T][M];
        dot_q4<true, T, M>(w, a, lda, sum8, lds, d);
#pragma GCC unroll 2
        for (int t = 0; t < T; t++) {
            const __m512i g = _mm512_cvtepu8_epi32(nibbles16(steps[t]));  // low half of each lane; the high half of d meets 0
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) total[t][i] = _mm512_dpwssd_epi32(total[t][i], d[t][i], g);
        }
    }
    // Group j of a q6s block, 0..63: bits from v where `low` has ones, else from h.
    static __m512i six_bits(__m512i v, __m512i h, int j) {
        const __m512i low = _mm512_set1_epi8(15), two = _mm512_set1_epi8(0x30);
        const __m512i nibbles = j % 2 ? _mm512_srli_epi16(v, 4) : v;
        const __m512i high = j % 4 == 0 ? _mm512_slli_epi16(h, 4) : j % 4 == 1 ? _mm512_slli_epi16(h, 2) : j % 4 == 2 ? h : _mm512_srli_epi16(h, 2);
        return _mm512_ternarylogic_epi32(low, nibbles, _mm512_and_si512(high, two), 0xca);
    }
    // Unsigned as they are: 32 is taken back by 4 * (-8 * sum(a)).
    template <int T, int M>
    static void dot_q6(const uint8_t* const (&w)[T], const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&d)[T][M]) {
#pragma GCC unroll 8
        for (int i = 0; i < M; i++)
            for (int t = 0; t < T; t++) d[t][i] = _mm512_set1_epi32(4 * sum8[i * lds]);
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) {
            __m512i v[T];
            for (int t = 0; t < T; t++) v[t] = six_bits(_mm512_loadu_si512(w[t] + j / 2 * 64), _mm512_loadu_si512(w[t] + 256 + j / 4 * 64), j);
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) {
                const __m512i four = broadcast4(a + i * lda + 4 * j);
#pragma GCC unroll 2
                for (int t = 0; t < T; t++) d[t][i] = _mm512_dpbusd_epi32(d[t][i], v[t], four);
            }
        }
    }
    // The instruction wants unsigned weights: w + 128, taken back by 16 * (-8 * sum(a)).
    template <int T, int M>
    static void dot_q8(const uint8_t* const (&w)[T], const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&d)[T][M]) {
        const __m512i flip = _mm512_set1_epi8(char(0x80));
#pragma GCC unroll 8
        for (int i = 0; i < M; i++)
            for (int t = 0; t < T; t++) d[t][i] = _mm512_set1_epi32(16 * sum8[i * lds]);
#pragma GCC unroll 8
        for (int g = 0; g < 8; g++) {
            __m512i v[T];
            for (int t = 0; t < T; t++) v[t] = _mm512_xor_si512(_mm512_loadu_si512(w[t] + g * 64), flip);
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) {
                const __m512i four = broadcast4(a + i * lda + 4 * g);
#pragma GCC unroll 2
                for (int t = 0; t < T; t++) d[t][i] = _mm512_dpbusd_epi32(d[t][i], v[t], four);
            }
        }
    }
};

}  // namespace
}  // namespace pocketseek
