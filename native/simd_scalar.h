// The scalar twin: sixteen lanes as plain loops. It defines the bits that every other instruction set must give.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "half.h"

namespace pocketseek {
namespace {

struct Simd {
    static constexpr const char* name = "scalar";
    struct F { float v[16]; };
    struct I { int32_t v[16]; };

    template <class Op> static F each(Op op) { F r; for (int i = 0; i < 16; i++) r.v[i] = op(i); return r; }

    static F zero() { return each([](int) { return 0.0f; }); }
    static F set1(float x) { return each([=](int) { return x; }); }
    static F load(const float* p) { return each([=](int i) { return p[i]; }); }
    static F load_n(const float* p, int n) { return each([=](int i) { return i < n ? p[i] : 0.0f; }); }
    static void store(float* p, F a) { std::memcpy(p, a.v, 64); }
    static void store_n(float* p, F a, int n) { for (int i = 0; i < 16 && i < n; i++) p[i] = a.v[i]; }
    static F load_half(const uint16_t* p) { return each([=](int i) { return half_to_float(p[i]); }); }
    static constexpr int accumulators = 12;  // values of sixteen lanes that a loop may keep
    static F load_int8(const int8_t* p) { return each([=](int i) { return float(p[i]); }); }
    static void store_half(uint16_t* p, F a) { for (int i = 0; i < 16; i++) p[i] = float_to_half(a.v[i]); }
    static F add(F a, F b) { return each([&](int i) { return a.v[i] + b.v[i]; }); }
    static F sub(F a, F b) { return each([&](int i) { return a.v[i] - b.v[i]; }); }
    static F mul(F a, F b) { return each([&](int i) { return a.v[i] * b.v[i]; }); }
    static F div(F a, F b) { return each([&](int i) { return a.v[i] / b.v[i]; }); }
    static F fma(F a, F b, F c) { return each([&](int i) { return std::fma(a.v[i], b.v[i], c.v[i]); }); }
    static F max(F a, F b) { return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; }); }  // as vmaxps
    static F min(F a, F b) { return each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; }); }
    static F abs(F a) { return each([&](int i) { return std::fabs(a.v[i]); }); }
    static F round(F a) { return each([&](int i) { return std::nearbyint(a.v[i]); }); }
    static F scale2(F a, F n) {  // a * 2^n for whole n that keeps the result normal
        return each([&](int i) { return a.v[i] * std::bit_cast<float>((int32_t(n.v[i]) + 127) << 23); });
    }
    static F to_float(I a) { return each([&](int i) { return float(a.v[i]); }); }
    static void store_int8(int8_t* p, F a) { for (int i = 0; i < 16; i++) p[i] = int8_t(std::nearbyint(a.v[i])); }
    static float reduce_add(F a) {
        for (int half = 8; half; half /= 2) for (int i = 0; i < half; i++) a.v[i] = a.v[i] + a.v[i + half];
        return a.v[0];
    }
    static float reduce_max(F a) {
        for (int half = 8; half; half /= 2) for (int i = 0; i < half; i++) a.v[i] = a.v[i] > a.v[i + half] ? a.v[i] : a.v[i + half];
        return a.v[0];
    }
    static void prefetch(const void*) {}
    static void prefetch_far(const void*) {}

    static constexpr int tiles = 1;
    static constexpr int rows = 4;  // rows that the int8 tile kernels take at once
    // d[i] = sum of q * a[i] over one block, for row i of the activations; with ZeroPoint, of (q - 8) * a[i].
    template <int M, bool ZeroPoint>
    static void dot_q4(const uint8_t* w, const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&d)[M]) {
        for (int i = 0; i < M; i++)
            for (int r = 0; r < 16; r++) {
                int32_t sum = ZeroPoint ? sum8[i * lds] : 0;
                for (int g = 0; g < 4; g++)
                    for (int c = 0; c < 4; c++) {
                        const int byte = w[g * 64 + r * 4 + c];
                        sum += (byte & 15) * a[i * lda + 8 * g + c] + (byte >> 4) * a[i * lda + 8 * g + 4 + c];
                    }
                d[i].v[r] = sum;
            }
    }
    static constexpr bool has_expanded = false;
    static I int_zero() { return {}; }
    // total[i] += g * (sum of (q - 8) * a[i] over one block); steps: 16 four-bit g
    template <int M>
    static void add_q4p(const uint8_t* w, const uint8_t* steps, const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&total)[M]) {
        I d[M];
        dot_q4<M, true>(w, a, lda, sum8, lds, d);
        for (int i = 0; i < M; i++)
            for (int r = 0; r < 16; r++) total[i].v[r] += (r < 8 ? steps[r] & 15 : steps[r - 8] >> 4) * d[i].v[r];
    }
    // The sum of (q - 32) * a[i]: as above with the high two bits of four groups of inputs in each byte behind the low four.
    template <int M>
    static void dot_q6(const uint8_t* w, const int8_t* a, ptrdiff_t lda, const int32_t* sum8, ptrdiff_t lds, I (&d)[M]) {
        for (int i = 0; i < M; i++)
            for (int r = 0; r < 16; r++) {
                int32_t sum = 4 * sum8[i * lds];
                for (int j = 0; j < 8; j++)
                    for (int c = 0; c < 4; c++) {
                        const int low = w[j / 2 * 64 + r * 4 + c] >> j % 2 * 4 & 15, high = w[256 + j / 4 * 64 + r * 4 + c] >> j % 4 * 2 & 3;
                        sum += (low | high << 4) * a[i * lda + 4 * j + c];
                    }
                d[i].v[r] = sum;
            }
    }
    template <int M>
    static void dot_q8(const uint8_t* w, const int8_t* a, ptrdiff_t lda, const int32_t*, ptrdiff_t, I (&d)[M]) {
        for (int i = 0; i < M; i++)
            for (int r = 0; r < 16; r++) {
                int32_t sum = 0;
                for (int g = 0; g < 8; g++)
                    for (int c = 0; c < 4; c++) sum += int8_t(w[g * 64 + r * 4 + c]) * a[i * lda + 4 * g + c];
                d[i].v[r] = sum;
            }
    }
};

}  // namespace
}  // namespace pocketseek
