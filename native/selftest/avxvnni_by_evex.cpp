// The AVX-VNNI set with its two instructions in their AVX-512 form (EVEX instead of VEX): the same source computes the same bits, on a
// processor that has only that form. What it does not show: that the compiler's VEX code is right.
#include <immintrin.h>
#define _mm256_dpbusd_avx_epi32(sum, a, b) _mm256_dpbusd_epi32(sum, a, b)
#define _mm256_dpwssd_avx_epi32(sum, a, b) _mm256_dpwssd_epi32(sum, a, b)
#include "../isa_avxvnni.cpp"
