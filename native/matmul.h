// One tile row (16 outputs) times up to eight rows of activations, for every tensor format.
//
// An output is one lane from the first input to the last: blocks of 32 in ascending order, each an exact int32 sum that enters
// the f32 accumulator by one fused multiply-add. Nothing depends on how many rows share the call.
//
// Expected rate on AVX-512 VNNI with eight rows: per block and row 8 vpdpbusd + 1 convert + 1 multiply + 1 fma on two ports,
// 5.5 cycles for 512 multiply-adds, plus about 16 instructions per block to unpack weights for all eight rows:
// 80 of the 128 multiply-adds per cycle that the ports allow. With one row the tile is bound by memory.
#pragma once

#include "table.h"

namespace pocketseek {
namespace {

inline constexpr int kPrefetchBytes = 2048;

template <Format format, int M>
static void quantised_tile(const uint8_t* tile, const Activations& in, int first, float* out) {
    const int blocks = in.blocks;
    const uint8_t* w = tile;
    const uint8_t* plane = tile + size_t(blocks) * quant_bytes(format);
    const auto* scales = reinterpret_cast<const uint16_t*>(plane);
    const uint16_t* minima = scales + size_t(blocks) * 16;
    const size_t lds = blocks;
    const ptrdiff_t lda = ptrdiff_t(blocks) * kBlock;
    const int8_t* a = in.q + size_t(first) * lda;
    const float* as = in.scale + size_t(first) * lds;
    const int32_t* sum8 = in.sum8 + size_t(first) * lds;
    const float* sum = in.sum + size_t(first) * lds;

    F acc[M];
    for (int i = 0; i < M; i++) acc[i] = Simd::zero();
    for (int b = 0; b < blocks; b++) {
        Simd::I d[M];
        for (size_t line = 0; line < quant_bytes(format); line += 64) Simd::prefetch(w + kPrefetchBytes + line);
        if constexpr (format == Format::q8s) Simd::template dot_q8<M>(w, a, lda, sum8, lds, d);
        else Simd::template dot_q4<M, format == Format::q4s>(w, a, lda, sum8, lds, d);
        const F scale = Simd::load_half(scales);
#pragma GCC unroll 8
        for (int i = 0; i < M; i++) acc[i] = Simd::fma(Simd::to_float(d[i]), Simd::mul(scale, Simd::set1(as[i * lds])), acc[i]);
        if constexpr (format == Format::q4a) {
            const F minimum = Simd::load_half(minima);
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) acc[i] = Simd::fma(minimum, Simd::set1(sum[i * lds]), acc[i]);
            minima += 16;
        }
        w += quant_bytes(format);
        scales += 16;
        a += kBlock;
        as++, sum8++, sum++;
    }
    for (int i = 0; i < M; i++) Simd::store(out + 16 * i, acc[i]);
}

template <Format format, int M>
static void float_tile(const uint8_t* tile, const Activations& in, int first, float* out) {
    const int cols = in.blocks * kBlock;
    const float* x = in.x + size_t(first) * cols;
    F acc[M];
    for (int i = 0; i < M; i++) acc[i] = Simd::zero();
    for (int k = 0; k < cols; k++) {
        F w;
        if constexpr (format == Format::f16) w = Simd::load_half(reinterpret_cast<const uint16_t*>(tile) + 16 * k);
        else w = Simd::load(reinterpret_cast<const float*>(tile) + 16 * k);
#pragma GCC unroll 8
        for (int i = 0; i < M; i++) acc[i] = Simd::fma(w, Simd::set1(x[size_t(i) * cols + k]), acc[i]);
    }
    for (int i = 0; i < M; i++) Simd::store(out + 16 * i, acc[i]);
}

template <Format format, int M>
static void tile_rows(const uint8_t* tile, const Activations& in, int first, float* out) {
    if constexpr (is_quantised(format)) quantised_tile<format, M>(tile, in, first, out);
    else float_tile<format, M>(tile, in, first, out);
}

template <Format format, int M>
static void tile_up_to(const uint8_t* tile, const Activations& in, int first, int count, float* out) {
    while (count >= M) {
        tile_rows<format, M>(tile, in, first, out);
        first += M, count -= M, out += 16 * M;
    }
    if constexpr (M > 1) if (count) tile_up_to<format, M / 2>(tile, in, first, count, out);
}

template <Format format>
static void tile_any(const uint8_t* tile, const Activations& in, int first, int count, float* out) {
    switch (Simd::rows == kGroup ? count : 0) {  // exact sizes where all rows fit the registers
        case 3: return tile_rows<format, 3>(tile, in, first, out);
        case 5: return tile_rows<format, 5>(tile, in, first, out);
        case 6: return tile_rows<format, 6>(tile, in, first, out);
        case 7: return tile_rows<format, 7>(tile, in, first, out);
        default: return tile_up_to<format, Simd::rows>(tile, in, first, count, out);
    }
}

}  // namespace
}  // namespace pocketseek
