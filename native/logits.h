// What sampling does with a row of logits, written once over the lanes of `Simd`: the same bits on every instruction set, so that a
// phone draws the tokens that a PC draws.
#pragma once

#include "elementwise.h"

namespace pocketseek {
namespace {

// e^((x - best) / divisor), 0 where that is below e^-87. out may be x.
static void exp_weights(const float* x, int n, float best, float divisor, float* out) {
    const F top = Simd::set1(best), by = Simd::set1(divisor);
    for (int i = 0; i < n; i += 16) {
        alignas(64) float exponent[16], weight[16];
        const F e = Simd::div(Simd::sub(Simd::load_n(x + i, n - i), top), by);
        Simd::store(exponent, e);
        Simd::store(weight, exp_lanes(e));
        for (int j = 0; j < 16 && i + j < n; j++) out[i + j] = exponent[j] < -87.0f ? 0.0f : weight[j];
    }
}

// Sum of e^((x - best) / divisor): sixteen f32 sums over 128 values each, whose trees are added in f64. What lies below e^-87 counts as that.
static double exp_mass(const float* x, int n, float best, float divisor) {
    constexpr int run = 128;
    const F top = Simd::set1(best), by = Simd::set1(divisor);
    const auto weights = [=](F v) { return exp_lanes(Simd::div(Simd::sub(v, top), by)); };
    double mass = 0;
    int i = 0;
    for (; i + run <= n; i += run) {
        F sum = Simd::zero();
        for (int j = i; j < i + run; j += 16) sum = Simd::add(sum, weights(Simd::load(x + j)));
        mass += double(Simd::reduce_add(sum));
    }
    for (; i < n; i += 16) {
        alignas(64) float lanes[16];
        Simd::store(lanes, weights(Simd::load_n(x + i, n - i)));
        for (int j = 0; j < 16 && i + j < n; j++) mass += double(lanes[j]);
    }
    return mass;
}

// Indices of the values that reach `threshold`, ascending; returns how many, or most + 1 as soon as there are more than `most`.
static int at_least(const float* x, int n, float threshold, int32_t* found, int most) {
    int count = 0;
    const auto look = [&](int begin, int end) {
        for (int i = begin; i < end; i++) {
            if (!(x[i] >= threshold)) continue;
            if (count == most) return false;
            found[count++] = i;
        }
        return true;
    };
    int i = 0;
    for (; i + 64 <= n; i += 64) {
        const F a = Simd::max(Simd::load(x + i), Simd::load(x + i + 16)), b = Simd::max(Simd::load(x + i + 32), Simd::load(x + i + 48));
        if (Simd::reduce_max(Simd::max(a, b)) >= threshold && !look(i, i + 64)) return most + 1;
    }
    return look(i, n) ? count : most + 1;
}

}  // namespace
}  // namespace pocketseek
