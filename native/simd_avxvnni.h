// AVX-VNNI (VEX vpdpbusd, 256 bits): the lanes of lanes256.h with four products per 32-bit lane and instruction.
//
// Expected rate with four rows of q4: per block and row 16 vpdpbusd + 2 vpdpwssd, next to 8 shifts for all rows, on two ports:
// 10 cycles for 512 multiply-adds, 51 per cycle of the 64 that the ports allow. Many rows of q4p: 61 (128 of 134 instructions per
// superblock, row and tile are products). Half a tile at a time for eight rows is slower: every product then wants a load of its own.
// Unmeasured since activations are packed into panels.
#pragma once

#include "lanes256.h"
#include "vnni_expand.h"

namespace pocketseek {
namespace {

struct Simd : Lanes256 {
    static constexpr const char* name = "avx-vnni";

    static __m256i dot4(__m256i sum, __m256i w, __m256i a) { return _mm256_dpbusd_avx_epi32(sum, w, a); }
    static __m256i dot2(__m256i sum, __m256i a, __m256i b) { return _mm256_dpwssd_avx_epi32(sum, a, b); }
    static I dot4(I sum, I w, __m256i a) { return {dot4(sum.lo, w.lo, a), dot4(sum.hi, w.hi, a)}; }
    static I set1_int(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }

    static constexpr int tiles = 1;
    static constexpr int rows = 4;  // 8 accumulators, 4 registers of weights, the mask and a broadcast
    template <int M, bool ZeroPoint>
    static void dot_q4(const uint8_t* w, const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&d)[M]) {
        const __m256i low = _mm256_set1_epi8(15);
        for (int i = 0; i < M; i++) d[i] = set1_int(ZeroPoint ? sum8[i * lds] : 0);
#pragma GCC unroll 4
        for (int g = 0; g < 4; g++) {
            const __m256i v0 = load8(w + g * 64), v1 = load8(w + g * 64 + 32);
            const I lo = {_mm256_and_si256(v0, low), _mm256_and_si256(v1, low)};
            const I hi = {_mm256_and_si256(_mm256_srli_epi16(v0, 4), low), _mm256_and_si256(_mm256_srli_epi16(v1, 4), low)};
#pragma GCC unroll 4
            for (int i = 0; i < M; i++) {
                d[i] = dot4(d[i], lo, broadcast4(a + i * lda + 8 * g));
                d[i] = dot4(d[i], hi, broadcast4(a + i * lda + 8 * g + 4));
            }
        }
    }
    template <int M>
    static void add_q4p(const uint8_t* w, const uint8_t* steps, const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&total)[M]) {
        I d[M];
        dot_q4<M, true>(w, a, lda, sum8, lds, d);
        const I g = steps16(steps);  // low half of each lane; the high half of d meets 0
#pragma GCC unroll 4
        for (int i = 0; i < M; i++) total[i] = {dot2(total[i].lo, d[i].lo, g.lo), dot2(total[i].hi, d[i].hi, g.hi)};
    }
    // Unsigned as they are: 32 is taken back by 4 * (-8 * sum(a)).
    template <int M>
    static void dot_q6(const uint8_t* w, const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&d)[M]) {
        for (int i = 0; i < M; i++) d[i] = set1_int(4 * sum8[i * lds]);
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) {
            const I v = {six_bits(w, j), six_bits(w + 32, j)};
#pragma GCC unroll 4
            for (int i = 0; i < M; i++) d[i] = dot4(d[i], v, broadcast4(a + i * lda + 4 * j));
        }
    }
    // The instruction wants unsigned weights: w + 128, taken back by 16 * (-8 * sum(a)).
    template <int M>
    static void dot_q8(const uint8_t* w, const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&d)[M]) {
        const __m256i flip = _mm256_set1_epi8(char(0x80));
        for (int i = 0; i < M; i++) d[i] = set1_int(16 * sum8[i * lds]);
#pragma GCC unroll 8
        for (int g = 0; g < 8; g++) {
            const I v = {_mm256_xor_si256(load8(w + g * 64), flip), _mm256_xor_si256(load8(w + g * 64 + 32), flip)};
#pragma GCC unroll 4
            for (int i = 0; i < M; i++) d[i] = dot4(d[i], v, broadcast4(a + i * lda + 4 * g));
        }
    }

    static constexpr bool has_expanded = true;
    static constexpr int expanded_tiles = 1, expanded_rows = 6;  // 12 accumulators, 2 registers of weights and a broadcast
    static constexpr int panel_unit = 4, panel_flip = 0x80;      // vpdpbusd wants one side unsigned: a + 128
    static void expand_block(const uint8_t* w, const uint8_t* steps, uint8_t* out) {
        typedef uint16_t Lanes __attribute__((vector_size(32)));
        const I g = steps16(steps);
        const auto twice = [](__m256i x) { return Lanes(_mm256_or_si256(x, _mm256_slli_epi32(x, 16))); };
        expand_nibbles<Lanes>(w, {twice(g.lo), twice(g.hi)}, out);
    }
    static I start_sums(const uint8_t* expanded, int blocks) {
        const __m256i offset = _mm256_set1_epi8(char(0x80));
        I sum = int_zero();
        for (int k = 0; k < 8 * blocks; k++)
            sum = {dot4(sum.lo, offset, load8(expanded + 64 * k)), dot4(sum.hi, offset, load8(expanded + 64 * k + 32))};
        return {_mm256_sub_epi32(_mm256_setzero_si256(), sum.lo), _mm256_sub_epi32(_mm256_setzero_si256(), sum.hi)};
    }
    static void add_expanded(const uint8_t* w, int blocks, const uint8_t* panel, I (&c)[1][expanded_rows]) {
        for (int block = 0; block < blocks; block++, w += 512, panel += 32 * expanded_rows)
#pragma GCC unroll 8
            for (int k = 0; k < 8; k++) {
                const __m256i lo = load8(w + 64 * k), hi = load8(w + 64 * k + 32);
#pragma GCC unroll 8
                for (int i = 0; i < expanded_rows; i++) {
                    const __m256i a = broadcast4(panel + (k * expanded_rows + i) * 4);
                    c[0][i] = {dot4(c[0][i].lo, a, lo), dot4(c[0][i].hi, a, hi)};
                }
            }
    }
};

}  // namespace
}  // namespace pocketseek
