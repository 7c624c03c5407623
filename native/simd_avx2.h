// AVX2 + FMA + F16C: the lanes of lanes256.h with dot products of 16-bit pairs.
//
// Expected rate of q4 with four rows: per block and row 16 vpmaddubsw + 16 vpaddw + 8 for the block's end, next to 24 instructions
// that unpack for all rows: 46 on three ports, 15 cycles for 512 multiply-adds, 33 per cycle. Measured: 27 (39 per 2.6 GHz tick at
// a clock of 3.8). Not used: bytes g * (q - 8), whose pairs need a widening each, half the products per instruction.
#pragma once

#include "lanes256.h"

namespace pocketseek {
namespace {

struct Simd : Lanes256 {
    static constexpr const char* name = "avx2";

    static constexpr int tiles = 1;
    static constexpr int rows = 4;  // 8 accumulators, 4 registers of weights, the mask, a broadcast and a product
    static I add_products(I sum, I w, __m256i a) {
        return {in_order(_mm256_add_epi16(sum.lo, _mm256_maddubs_epi16(w.lo, a))), in_order(_mm256_add_epi16(sum.hi, _mm256_maddubs_epi16(w.hi, a)))};
    }
    // Sums of q * a over one block as two 16-bit sums per output: eight vpmaddubsw of at most 2 * 15 * 127 each stay below 2^15
    // (30480), so one widening per block is enough.
    template <int M>
    static void q4_sums(const uint8_t* w, const int8_t* a, ptrdiff_t lda, I (&s)[M]) {
        const __m256i low = _mm256_set1_epi8(15);
        for (int i = 0; i < M; i++) s[i] = int_zero();
#pragma GCC unroll 4
        for (int g = 0; g < 4; g++) {
            const __m256i v0 = load8(w + g * 64), v1 = load8(w + g * 64 + 32);
            const I lo = {_mm256_and_si256(v0, low), _mm256_and_si256(v1, low)};
            const I hi = {_mm256_and_si256(_mm256_srli_epi16(v0, 4), low), _mm256_and_si256(_mm256_srli_epi16(v1, 4), low)};
#pragma GCC unroll 4
            for (int i = 0; i < M; i++) {
                s[i] = add_products(s[i], lo, broadcast4(a + i * lda + 8 * g));
                s[i] = add_products(s[i], hi, broadcast4(a + i * lda + 8 * g + 4));
            }
        }
    }
    template <int M, bool ZeroPoint>
    static void dot_q4(const uint8_t* w, const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&d)[M]) {
        const __m256i ones = _mm256_set1_epi16(1);
        I s[M];
        q4_sums<M>(w, a, lda, s);
#pragma GCC unroll 4
        for (int i = 0; i < M; i++) {
            const __m256i zero_point = _mm256_set1_epi32(ZeroPoint ? sum8[i * lds] : 0);
            d[i] = {_mm256_add_epi32(_mm256_madd_epi16(s[i].lo, ones), zero_point), _mm256_add_epi32(_mm256_madd_epi16(s[i].hi, ones), zero_point)};
        }
    }
    template <int M>
    static void add_q4p(const uint8_t* w, const uint8_t* steps, const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&total)[M]) {
        I s[M];
        q4_sums<M>(w, a, lda, s);
        const I once = steps16(steps);
        const I twice = {_mm256_or_si256(once.lo, _mm256_slli_epi32(once.lo, 16)), _mm256_or_si256(once.hi, _mm256_slli_epi32(once.hi, 16))};
#pragma GCC unroll 4
        for (int i = 0; i < M; i++) {  // g times both sums, and times the zero point, which fits the low 16 bits
            const __m256i zero_point = _mm256_set1_epi32(sum8[i * lds]);
            total[i].lo = _mm256_add_epi32(total[i].lo, _mm256_add_epi32(_mm256_madd_epi16(s[i].lo, twice.lo), _mm256_madd_epi16(zero_point, once.lo)));
            total[i].hi = _mm256_add_epi32(total[i].hi, _mm256_add_epi32(_mm256_madd_epi16(s[i].hi, twice.hi), _mm256_madd_epi16(zero_point, once.hi)));
        }
    }
    // Two groups of inputs are at most 4 * 63 * 127 = 32004 in a 16-bit sum, so they share a widening; 32 is taken back by 4 * (-8 * sum(a)).
    template <int M>
    static void dot_q6(const uint8_t* w, const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&d)[M]) {
        const __m256i ones = _mm256_set1_epi16(1);
        for (int i = 0; i < M; i++) d[i].lo = d[i].hi = _mm256_set1_epi32(4 * sum8[i * lds]);
#pragma GCC unroll 4
        for (int g = 0; g < 4; g++) {
            const I one = {six_bits(w, 2 * g), six_bits(w + 32, 2 * g)}, two = {six_bits(w, 2 * g + 1), six_bits(w + 32, 2 * g + 1)};
#pragma GCC unroll 4
            for (int i = 0; i < M; i++) {
                const __m256i a1 = broadcast4(a + i * lda + 8 * g), a2 = broadcast4(a + i * lda + 8 * g + 4);
                const auto products = [&](__m256i w1, __m256i w2) { return _mm256_add_epi16(_mm256_maddubs_epi16(w1, a1), _mm256_maddubs_epi16(w2, a2)); };
                d[i].lo = in_order(_mm256_add_epi32(d[i].lo, _mm256_madd_epi16(products(one.lo, two.lo), ones)));
                d[i].hi = in_order(_mm256_add_epi32(d[i].hi, _mm256_madd_epi16(products(one.hi, two.hi), ones)));
            }
        }
    }
    // |w| <= 128 and |a| <= 127 keep a pair of products below 2^15; the sign of w moves to a.
    template <int M>
    static void dot_q8(const uint8_t* w, const int8_t* a, ptrdiff_t lda, const int32_t*, ptrdiff_t, I (&d)[M]) {
        const __m256i ones = _mm256_set1_epi16(1);
        const auto product = [&](__m256i v, __m256i size, __m256i b) {
            return _mm256_madd_epi16(_mm256_maddubs_epi16(size, _mm256_sign_epi8(b, v)), ones);
        };
        for (int i = 0; i < M; i++) d[i] = int_zero();
#pragma GCC unroll 8
        for (int g = 0; g < 8; g++) {
            const I v = {load8(w + g * 64), load8(w + g * 64 + 32)}, size = {_mm256_abs_epi8(v.lo), _mm256_abs_epi8(v.hi)};
#pragma GCC unroll 4
            for (int i = 0; i < M; i++) {
                const __m256i b = broadcast4(a + i * lda + 4 * g);
                d[i].lo = in_order(_mm256_add_epi32(d[i].lo, product(v.lo, size.lo, b)));
                d[i].hi = in_order(_mm256_add_epi32(d[i].hi, product(v.hi, size.hi, b)));
            }
        }
    }
    static constexpr bool has_expanded = false;
};

}  // namespace
}  // namespace pocketseek
