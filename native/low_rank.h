// The two products of an adapter, over the lanes of `Simd` (included after one simd_*.h, inside one translation unit). A row's results
// depend on the row alone:
//
//     A x         one lane per rank. Inputs in spans of 512 at absolute places; within a span four sums over index mod 4, each ascending
//                 by fused multiply-add, then (0 + 2) + (1 + 3); spans are added ascending
//     scale       one multiplication
//     B u         one lane per output, four sums over rank mod 4 in the same way, then added to the product's result
//
// Four sums because one would wait for its own latency (4 cycles). For few rows both are bound by reading the f16 values: 32 bytes per
// two fused multiply-adds of a row.
#pragma once

#include "table.h"

namespace pocketseek {
namespace {

template <int M> static inline void join_sums(const Simd::F (&sums)[M][4], Simd::F (&joined)[M]) {
    for (int i = 0; i < M; i++) joined[i] = Simd::add(Simd::add(sums[i][0], sums[i][2]), Simd::add(sums[i][1], sums[i][3]));
}

// joined[i] = sum over j < n of w[j][16] * x[i][j]
template <int M> static inline void low_rank_sums(const uint16_t* w, int n, const float* const* x, Simd::F (&joined)[M]) {
    Simd::F sums[M][4];
    for (int i = 0; i < M; i++) for (int c = 0; c < 4; c++) sums[i][c] = Simd::zero();
    int j = 0;
    for (; j + 4 <= n; j += 4)
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) {
            const Simd::F lanes = Simd::load_half(w + (j + c) * kTileRows);
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) sums[i][c] = Simd::fma(lanes, Simd::set1(x[i][j + c]), sums[i][c]);
        }
    for (int c = 0; j < n; j++, c++) {
        const Simd::F lanes = Simd::load_half(w + j * kTileRows);
        for (int i = 0; i < M; i++) sums[i][c] = Simd::fma(lanes, Simd::set1(x[i][j]), sums[i][c]);
    }
    join_sums<M>(sums, joined);
}

inline constexpr int kLowRankRows = Simd::accumulators >= 16 ? 4 : 1;  // whose sums are in registers together

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

// out[count][16] = one span of sixteen ranks: a [n][16] times x[i], n inputs of each of `count` rows
static void low_rank_project(const uint16_t* a, int n, const float* const* x, int count, float* out) {
    int i = 0;
    for (; i + kLowRankRows <= count; i += kLowRankRows) project_rows<kLowRankRows>(a, n, x + i, out + i * kTileRows);
    for (; i < count; i++) project_rows<1>(a, n, x + i, out + i * kTileRows);
}

// values[count][16] += b [rank][16] times u[i], `rank` values of each of `count` rows
static void low_rank_add(const uint16_t* b, int rank, const float* const* u, int count, float* values) {
    int i = 0;
    for (; i + kLowRankRows <= count; i += kLowRankRows) raise_rows<kLowRankRows>(b, rank, u + i, values + i * kTileRows);
    for (; i < count; i++) raise_rows<1>(b, rank, u + i, values + i * kTileRows);
}

// total[i] += span[i]; and in the end total[i] *= scale
static void low_rank_merge(float* total, const float* span, int count) {
    for (int i = 0; i < count; i++) Simd::store(total + i * kTileRows, Simd::add(Simd::load(total + i * kTileRows), Simd::load(span + i * kTileRows)));
}
static void low_rank_scale(float* total, float scale) { Simd::store(total, Simd::mul(Simd::load(total), Simd::set1(scale))); }

}  // namespace
}  // namespace pocketseek
