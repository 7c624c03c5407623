// Loops that do nothing but read, or nothing but multiply: the limits of the instruction set whose simd_*.h was included
// before this file. Their results are thrown away; the compiler must not notice.
#pragma once

#include "peak_dot.h"
#include "table.h"

namespace pocketseek {
namespace {

// Reads 64 bytes of each of eight streams in turn. The hardware prefetcher stops at the end of a page; with pages of 4 KiB
// one stream is a fifth slower than eight.
static uint64_t read_piece(const uint8_t* data) {
    using Lanes = uint64_t __attribute__((vector_size(__BIGGEST_ALIGNMENT__), may_alias));  // the widest register
    constexpr size_t line = 64, ahead = 512;
    Lanes sums[kReadStreams] = {};
    for (size_t i = 0; i < kReadStreamBytes; i += line)
#pragma GCC unroll 8
        for (int s = 0; s < kReadStreams; s++) {
            const uint8_t* from = data + s * kReadStreamBytes + i;
            __builtin_prefetch(from + ahead);
#pragma GCC unroll 4
            for (size_t part = 0; part < line; part += sizeof(Lanes)) sums[s] ^= *reinterpret_cast<const Lanes*>(from + part);
        }
    uint64_t all = 0;
    for (const Lanes& sum : sums)
        for (size_t i = 0; i < sizeof(Lanes) / 8; i++) all ^= sum[i];
    return all;
}

// Stands for a use of `value`.
template <class T> static void keep(const T& value) {
    const T kept = value;
    asm volatile("" ::"m"(kept));
}

inline constexpr int kLoopSteps = 8;  // per turn, so that what the compiler moves about between turns does not count

static uint64_t int8_dots(int turns) {
    const PeakDot::V w = PeakDot::filled();
    PeakDot::V a = w, sums[PeakDot::chains];
    for (PeakDot::V& sum : sums) sum = w;
    for (int turn = 0; turn < turns; turn++)
#pragma GCC unroll 8
        for (int step = 0; step < kLoopSteps; step++)
#pragma GCC unroll 16
            for (PeakDot::V& sum : sums) sum = PeakDot::dot(sum, w, a);
    for (const PeakDot::V& sum : sums) keep(sum);
    return uint64_t(turns) * kLoopSteps * PeakDot::chains * PeakDot::macs;
}

static uint64_t f32_fmas(int turns) {
    const Simd::F factor = Simd::set1(0.5f), one = Simd::set1(1.0f);
    Simd::F sums[PeakDot::fma_chains];
    for (Simd::F& sum : sums) sum = one;
    for (int turn = 0; turn < turns; turn++)
#pragma GCC unroll 8
        for (int step = 0; step < kLoopSteps; step++)
#pragma GCC unroll 16
            for (Simd::F& sum : sums) sum = Simd::fma(sum, factor, one);
    for (const Simd::F& sum : sums) keep(sum);
    return uint64_t(turns) * kLoopSteps * PeakDot::fma_chains * 16;
}

}  // namespace
}  // namespace pocketseek
