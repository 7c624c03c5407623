// The instruction behind the int8 products of the instruction set this file is compiled for, with its operands in registers.
//
//   V             a register (or what stands for one)
//   macs          multiply-adds of one dot
//   chains        independent sums that hide its latency, few enough to stay in registers beside w and a
//   fma_chains    the same for fused multiply-adds of sixteen lanes
//
// Chosen by the compiler's own feature macros, so that a new isa_*.cpp with flags of its own needs nothing here.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace pocketseek {
namespace {

#if defined(__AVX512VNNI__)
struct PeakDot {  // latency 5, at most two a cycle
    using V = __m512i;
    static constexpr int macs = 64, chains = 12, fma_chains = 12;
    static V filled() { return _mm512_set1_epi8(1); }
    static V dot(V sum, V w, V& a) { return _mm512_dpbusd_epi32(sum, w, a); }
};
#elif defined(__AVXVNNI__)
struct PeakDot {
    using V = __m256i;
    static constexpr int macs = 32, chains = 12, fma_chains = 6;
    static V filled() { return _mm256_set1_epi8(1); }
    static V dot(V sum, V w, V& a) { return _mm256_dpbusd_avx_epi32(sum, w, a); }
};
#elif defined(__AVX2__)
// Two instructions for 32 multiply-adds: eight products of four bits fit a 16-bit sum, and the widening to 32 bits that
// follows once per block of 32 inputs is left out, so no kernel can go faster.
struct PeakDot {
    using V = __m256i;
    static constexpr int macs = 32, chains = 8, fma_chains = 6;
    static V filled() { return _mm256_set1_epi8(1); }
    static V dot(V sum, V w, V& a) {
        asm volatile("" : "+x"(a), "+x"(sum));  // else the compiler multiplies once for all sums
        return _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, a));
    }
};
#elif defined(__ARM_FEATURE_MATMUL_INT8)
struct PeakDot {  // two rows of eight inputs times two outputs
    using V = int32x4_t;
    static constexpr int macs = 32, chains = 16, fma_chains = 6;
    static V filled() { return vreinterpretq_s32_s8(vdupq_n_s8(1)); }
    static V dot(V sum, V w, V& a) { return vmmlaq_s32(sum, vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(a)); }
};
#elif defined(__ARM_FEATURE_DOTPROD)
struct PeakDot {
    using V = int32x4_t;
    static constexpr int macs = 16, chains = 16, fma_chains = 6;
    static V filled() { return vreinterpretq_s32_s8(vdupq_n_s8(1)); }
    static V dot(V sum, V w, V& a) { return vdotq_s32(sum, vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(a)); }
};
#else
// As the scalar twin is written; what the compiler makes of it is what the twin gets.
struct PeakDot {
    struct V { int32_t lane[16]; };
    static constexpr int macs = 64, chains = 1, fma_chains = 1;
    static V filled() {
        V v;
        for (int32_t& lane : v.lane) lane = 0x01010101;
        return v;
    }
    static V dot(V sum, const V& w, V& a) {
        asm volatile("" ::"r"(&w), "r"(&a) : "memory");  // else the compiler multiplies once for all sums
        const auto *wb = reinterpret_cast<const int8_t*>(w.lane), *ab = reinterpret_cast<const int8_t*>(a.lane);
        for (int r = 0; r < 16; r++)
            for (int c = 0; c < 4; c++) sum.lane[r] += wb[r * 4 + c] * ab[c];
        return sum;
    }
};
#endif

}  // namespace
}  // namespace pocketseek
