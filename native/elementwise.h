// Row functions written once over the lanes of `Simd` (included after one simd_*.h, inside one translation unit).
//
// A sum along a row uses one order everywhere: sixteen partial sums over index mod 16, then the tree of reduce_add
// (i + i+8, i + i+4, i + i+2, i + i+1).
#pragma once

#include <cmath>

#include "table.h"

namespace pocketseek {
namespace {

using F = Simd::F;

// e^x, relative error about 1e-7: x = n ln2 + r, e^r by its degree-6 Taylor-like polynomial in Horner form (Cephes expf
// coefficients). Clamped so that 2^n stays normal; x below -87.3 gives about 1e-38, not 0.
static inline F exp_lanes(F x) {
    x = Simd::max(Simd::set1(-87.3f), Simd::min(Simd::set1(88.0f), x));  // in this order NaN stays NaN
    const F n = Simd::round(Simd::mul(x, Simd::set1(1.44269504088896341f)));
    F r = Simd::fma(n, Simd::set1(-0.693359375f), x);
    r = Simd::fma(n, Simd::set1(2.12194440e-4f), r);
    F p = Simd::set1(1.9875691500e-4f);
    p = Simd::fma(p, r, Simd::set1(1.3981999507e-3f));
    p = Simd::fma(p, r, Simd::set1(8.3334519073e-3f));
    p = Simd::fma(p, r, Simd::set1(4.1665795894e-2f));
    p = Simd::fma(p, r, Simd::set1(1.6666665459e-1f));
    p = Simd::fma(p, r, Simd::set1(5.0000001201e-1f));
    p = Simd::fma(Simd::mul(p, r), r, r);
    return Simd::scale2(Simd::add(p, Simd::set1(1.0f)), n);
}

static void rms_norm(const float* x, const float* weight, float eps, int n, float* out) {
    F sum = Simd::zero();
    for (int i = 0; i < n; i += 16) {
        const F v = Simd::load_n(x + i, n - i);
        sum = Simd::fma(v, v, sum);
    }
    const float mean = Simd::reduce_add(sum) / float(n);
    const F factor = Simd::set1(1.0f / std::sqrt(mean + eps));
    for (int i = 0; i < n; i += 16)
        Simd::store_n(out + i, Simd::mul(Simd::mul(Simd::load_n(x + i, n - i), factor), Simd::load_n(weight + i, n - i)), n - i);
}

// Whole numbers have no NaN: where an input is not finite, the scale is NaN and the values 0, so that the row's products become
// NaN (and the request an error) on every instruction set.
struct BlockScale {
    float scale, inverse;  // value = scale * q, q = value * inverse
    BlockScale(float top, bool finite) {
        const bool live = top >= 1e-30f;
        scale = !finite ? __builtin_nanf("") : live ? top / 127.0f : 0.0f;
        inverse = finite && live ? 127.0f / top : 0.0f;
    }
};
static inline F not_finite(F x) { return Simd::sub(x, x); }  // 0 or NaN

// Whole numbers from -127 to 127; 0 where the scale is 0 or NaN.
static inline F rounded(F x, float inverse) { return inverse == 0.0f ? Simd::zero() : Simd::round(Simd::mul(x, Simd::set1(inverse))); }
static inline void store_quants(int8_t* q, F x, float inverse) { Simd::store_int8(q, rounded(x, inverse)); }

// One block; returns the sums of what was stored (in f32 lanes: exact in any order, and nothing just stored has to be read back).
static inline F quantise_pair(int8_t* q, F lo, F hi, float inverse) {
    const F a = rounded(lo, inverse), b = rounded(hi, inverse);
    Simd::store_int8(q, a);
    Simd::store_int8(q + 16, b);
    return Simd::add(a, b);
}

// sums[i] = all lanes of v[i]; whole numbers, so that any order will do. Eight at once take a set with wide registers a third of the time.
template <class S>
static inline void sum_lanes(const typename S::F (&v)[kSuperBlocks], float* sums) {
    if constexpr (requires { S::sum_lanes(v, sums); }) S::sum_lanes(v, sums);
    else for (int i = 0; i < kSuperBlocks; i++) sums[i] = S::reduce_add(v[i]);
}

// One block of 32: scale = max|x| / 127, q = x * (127 / max|x|) rounded to nearest even. Blocks below 1e-30 become zero.
static inline void quantise_block(F lo, F hi, const Activations& out, size_t block) {
    const float top = Simd::reduce_max(Simd::max(Simd::abs(lo), Simd::abs(hi)));
    const BlockScale s(top, Simd::reduce_add(Simd::add(not_finite(lo), not_finite(hi))) == 0.0f);
    const int32_t sum = int32_t(Simd::reduce_add(quantise_pair(out.q + block * kBlock, lo, hi, s.inverse)));
    out.scale[block] = s.scale;
    out.sum8[block] = -8 * sum;
    out.sum[block] = s.scale * float(sum);
}

// One superblock of up to 256: the rule of quantise_block with one scale for all of it. load(i): sixteen values from index i.
template <class Load>
static inline void quantise_superblock(Load load, const Activations& out, int row, int superblock) {
    const int first_block = superblock * kSuperBlocks;
    const int last_block = first_block + kSuperBlocks < out.blocks ? first_block + kSuperBlocks : out.blocks;
    F peak[2] = {Simd::zero(), Simd::zero()}, odd[2] = {Simd::zero(), Simd::zero()};
    for (int i = first_block * kBlock; i < last_block * kBlock; i += kBlock)
        for (int j = 0; j < 2; j++) {
            const F v = load(i + 16 * j);
            peak[j] = Simd::max(peak[j], Simd::abs(v));
            odd[j] = Simd::add(odd[j], not_finite(v));
        }
    const BlockScale scale(Simd::reduce_max(Simd::max(peak[0], peak[1])), Simd::reduce_add(Simd::add(odd[0], odd[1])) == 0.0f);
    const WideActivations& wide = out.wide;
    wide.scale[size_t(row) * out.superblocks() + superblock] = scale.scale;
    F lanes[kSuperBlocks];
    const size_t block = size_t(row) * out.blocks;
    for (int i = 0; i < kSuperBlocks; i++) lanes[i] = Simd::zero();
    for (int b = first_block; b < last_block; b++)
        lanes[b - first_block] = quantise_pair(wide.q + (block + b) * kBlock, load(b * kBlock), load(b * kBlock + 16), scale.inverse);
    float sums[kSuperBlocks];
    sum_lanes<Simd>(lanes, sums);
    for (int b = first_block; b < last_block; b++) wide.sum8[block + b] = -8 * int32_t(sums[b - first_block]);
}

// Value i is x[i / 16 * step + i % 16].
static void quantise(const float* x, ptrdiff_t step, int n, const Activations& out, int row, int first, int last) {
    constexpr int size = kSuperBlocks * kBlock;
    const auto load = [=](int i) { return Simd::load(x + i / 16 * step); };
    const auto load_padded = [=](int i) { return n > i ? Simd::load_n(x + i / 16 * step, n - i) : Simd::zero(); };
    if (out.wide.q)
        for (int s = first; s < last; s++) {
            if ((s + 1) * size <= n) quantise_superblock(load, out, row, s);
            else quantise_superblock(load_padded, out, row, s);
        }
    if (!out.q && !out.x) return;
    for (int b = first * kSuperBlocks; b < out.blocks && b < last * kSuperBlocks; b++) {
        const int start = b * kBlock;
        const bool whole = start + kBlock <= n;
        const F lo = whole ? load(start) : load_padded(start), hi = whole ? load(start + 16) : load_padded(start + 16);
        const size_t block = size_t(row) * out.blocks + b;
        if (out.q) quantise_block(lo, hi, out, block);
        if (out.x) {
            Simd::store(out.x + block * kBlock, lo);
            Simd::store(out.x + block * kBlock + 16, hi);
        }
    }
}

static void add(float* y, const float* x, int n) {
    for (int i = 0; i < n; i += 16) Simd::store_n(y + i, Simd::add(Simd::load_n(y + i, n - i), Simd::load_n(x + i, n - i)), n - i);
}

static void store_tile(float* y, ptrdiff_t stride, const float* values, int count, int width) {
    if (width == 16) for (int i = 0; i < count; i++) Simd::store(y + i * stride, Simd::load(values + 16 * i));
    else for (int i = 0; i < count; i++) Simd::store_n(y + i * stride, Simd::load(values + 16 * i), width);
}

static void add_tile(float* y, ptrdiff_t stride, const float* values, int count, int width) {
    if (width == 16) for (int i = 0; i < count; i++) Simd::store(y + i * stride, Simd::add(Simd::load(y + i * stride), Simd::load(values + 16 * i)));
    else for (int i = 0; i < count; i++) add(y + i * stride, values + 16 * i, width);
}

static void swiglu(const float* gate, const float* up, float* y, int n) {
    for (int i = 0; i < n; i += 16) {
        const F g = Simd::load_n(gate + i, n - i);
        const F e = exp_lanes(Simd::sub(Simd::zero(), g));
        const F silu = Simd::div(g, Simd::add(Simd::set1(1.0f), e));
        Simd::store_n(y + i, Simd::mul(silu, Simd::load_n(up + i, n - i)), n - i);
    }
}

static void rotate(float* head, const float* cosine, const float* sine, int half) {
    for (int i = 0; i < half; i += 16) {
        const int n = half - i;
        const F a = Simd::load_n(head + i, n), b = Simd::load_n(head + half + i, n);
        const F c = Simd::load_n(cosine + i, n), s = Simd::load_n(sine + i, n);
        Simd::store_n(head + i, Simd::sub(Simd::mul(a, c), Simd::mul(b, s)), n);
        Simd::store_n(head + half + i, Simd::add(Simd::mul(b, c), Simd::mul(a, s)), n);
    }
}

}  // namespace
}  // namespace pocketseek
