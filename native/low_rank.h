// The two products of an adapter, over the lanes of `Simd` (included after one simd_*.h, inside one translation unit). A row's results
// depend on the row alone:
//
//     A x         one lane per rank. Inputs in spans of 512 at absolute places; within a span a sum over the even ones and one over the
//                 odd ones, each ascending by fused multiply-add, then even + odd; spans are added ascending
//     scale       one multiplication
//     B u         one lane per output, two sums over the ranks in the same way, then added to the product's result
//
// Eight rows at once need 16 registers for their sums on AVX-512, and each value of A or B is widened once for all of them. With one row
// both are bound by reading f16 from memory (32 bytes per two multiply-adds), where the latency of two sums is hidden.
#pragma once

#include "table.h"

namespace pocketseek {
namespace {

// joined[i] = sum over j < n of w[j][16] * x[i][j]
template <int M> static inline void low_rank_sums(const uint16_t* w, int n, const float* const* x, Simd::F (&joined)[M]) {
    Simd::F even[M], odd[M];
    for (int i = 0; i < M; i++) even[i] = odd[i] = Simd::zero();
    int j = 0;
    for (; j + 2 <= n; j += 2) {
        const Simd::F first = Simd::load_half(w + j * kTileRows), second = Simd::load_half(w + (j + 1) * kTileRows);
#pragma GCC unroll 8
        for (int i = 0; i < M; i++) even[i] = Simd::fma(first, Simd::set1(x[i][j]), even[i]);
#pragma GCC unroll 8
        for (int i = 0; i < M; i++) odd[i] = Simd::fma(second, Simd::set1(x[i][j + 1]), odd[i]);
    }
    if (j < n) {
        const Simd::F first = Simd::load_half(w + j * kTileRows);
        for (int i = 0; i < M; i++) even[i] = Simd::fma(first, Simd::set1(x[i][j]), even[i]);
    }
    for (int i = 0; i < M; i++) joined[i] = Simd::add(even[i], odd[i]);
}

template <int M> static inline void project_rows(const uint16_t* a, int n, const float* const* x, float* out) {
    Simd::F joined[M];
    low_rank_sums<M>(a, n, x, joined);
    for (int i = 0; i < M; i++) Simd::store(out + i * kTileRows, joined[i]);
}
template <int M> static inline void raise_rows(const uint16_t* b, int rank, const float* const* u, float* values) {
    Simd::F joined[M];
    low_rank_sums<M>(b, rank, u, joined);
    for (int i = 0; i < M; i++) Simd::store(values + i * kTileRows, Simd::add(Simd::load(values + i * kTileRows), joined[i]));
}

inline constexpr int kLowRankRows = Simd::accumulators >= 16 ? 8 : 2;  // whose sums are in registers together

// out[count][16] = one span of sixteen ranks: a [n][16] times x[i], n inputs of each of `count` rows
static void low_rank_project(const uint16_t* a, int n, const float* const* x, int count, float* out) {
    int i = 0;
    for (; i + kLowRankRows <= count; i += kLowRankRows) project_rows<kLowRankRows>(a, n, x + i, out + i * kTileRows);
    for (; i + 2 <= count; i += 2) project_rows<2>(a, n, x + i, out + i * kTileRows);
    if (i < count) project_rows<1>(a, n, x + i, out + i * kTileRows);
}

// values[count][16] += b [rank][16] times u[i], `rank` values of each of `count` rows
static void low_rank_add(const uint16_t* b, int rank, const float* const* u, int count, float* values) {
    int i = 0;
    for (; i + kLowRankRows <= count; i += kLowRankRows) raise_rows<kLowRankRows>(b, rank, u + i, values + i * kTileRows);
    for (; i + 2 <= count; i += 2) raise_rows<2>(b, rank, u + i, values + i * kTileRows);
    if (i < count) raise_rows<1>(b, rank, u + i, values + i * kTileRows);
}

// total[i] += span[i]; and in the end total[i] *= scale
static void low_rank_merge(float* total, const float* span, int count) {
    for (int i = 0; i < count; i++) Simd::store(total + i * kTileRows, Simd::add(Simd::load(total + i * kTileRows), Simd::load(span + i * kTileRows)));
}
static void low_rank_scale(float* total, float scale) { Simd::store(total, Simd::mul(Simd::load(total), Simd::set1(scale))); }

}  // namespace
}  // namespace pocketseek
