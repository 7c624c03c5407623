// What a layer with experts does with rows besides matrix products, written once over the lanes of `Simd`.
#pragma once

#include "elementwise.h"

namespace pocketseek {
namespace {

// x of one row becomes e^(x - largest), divided by the sum, whose order is that of all sums along a row.
static void softmax(float* x, int n) {
    float largest = x[0];
    for (int i = 1; i < n; i++) largest = x[i] > largest ? x[i] : largest;
    F sum = Simd::zero();
    for (int i = 0; i < n; i += 16) {
        Simd::store_n(x + i, exp_lanes(Simd::sub(Simd::load_n(x + i, n - i), Simd::set1(largest))), n - i);
        sum = Simd::add(sum, Simd::load_n(x + i, n - i));  // lanes behind the end add zero
    }
    const F total = Simd::set1(Simd::reduce_add(sum));
    for (int i = 0; i < n; i += 16) Simd::store_n(x + i, Simd::div(Simd::load_n(x + i, n - i), total), n - i);
}

static void sigmoid(float* x, int n) {
    const F one = Simd::set1(1.0f);
    for (int i = 0; i < n; i += 16) {
        const F e = exp_lanes(Simd::sub(Simd::zero(), Simd::load_n(x + i, n - i)));
        Simd::store_n(x + i, Simd::div(one, Simd::add(one, e)), n - i);
    }
}

// hidden += base (null: zeros) + weights[0] * outputs[0] + ..., one fused multiply-add after the other; outputs are `stride` apart.
static void mix_outputs(const float* base, const float* outputs, ptrdiff_t stride, const float* weights, int count, int n, float* hidden) {
    for (int i = 0; i < n; i += 16) {
        F sum = base ? Simd::load_n(base + i, n - i) : Simd::zero();
        for (int p = 0; p < count; p++) sum = Simd::fma(Simd::set1(weights[p]), Simd::load_n(outputs + p * stride + i, n - i), sum);
        Simd::store_n(hidden + i, Simd::add(Simd::load_n(hidden + i, n - i), sum), n - i);
    }
}

}  // namespace
}  // namespace pocketseek
