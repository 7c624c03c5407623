// Attention over latents (docs/moe.md): sixteen heads of one row, a bundle, are the lanes of a register, and every stored value is
// broadcast to them. A page holds, per layer (kv_layout.h), the latent and then the rotated values of each token in one run:
//
//     t0: l0 l1 ... r0 r1 ... | t1: l0 ...        score    one lane, values ascending: all l, then all r
//                                                 output   one lane, positions ascending, of l alone
//
// Within a span of 512 positions: scores, their maximum, p = exp(s - max), their sum in the order of all sums along a row, and the weighted
// latents. A bundle has one length, so no lane is ever masked: what it does not see is not computed, as in attention.h.
//
// Values are widened to f32 (and scaled, in int8 pages) into a piece that stays in the first-level cache, once for all bundles of the call:
// a few whole positions for scores, 64 values of the positions of a page for outputs.
//
// Expected rate: with B bundles a value is one conversion and B broadcasts, each for a multiply-add of sixteen lanes, so that with one
// bundle (decoding, 16 heads) 1088 multiply-adds of a V2-Lite position meet 1152 bytes: 1088 cycles on AVX2 with two fused multiply-adds
// a cycle, 544 on AVX-512. Reading (about one byte a cycle on AVX2) is not the limit as long as memory gives a core 2 bytes a cycle.
#pragma once

#include "attention.h"

namespace pocketseek {
namespace {

inline constexpr int kLatentSums = Simd::accumulators >= 8 ? 8 : 4;  // positions or values whose sums are in registers; divides 16
static_assert(kLatentSums <= kLatentPositions);

static int seen_latents(const LatentSpan& b, int bundle) {
    const int left = b.length[bundle] - b.start;
    return left < 0 ? 0 : left < kSpan ? left : kSpan;
}

// out[count][stride] = values [from, to) of the positions from `slot` of a page on. All of them have one scale per position.
template <class Page>
static void widen(const LatentSpan& b, int page, size_t scale_offset, int slot, int count, int from, int to, float* out, int stride) {
    const uint8_t* const base = b.pages[b.start / kPageTokens + page];
    const auto* values = reinterpret_cast<const typename Page::Value*>(base + b.layout.latent) + size_t(slot) * b.padded_dim;
    const float* scales = reinterpret_cast<const float*>(base + scale_offset) + slot;
    for (int t = 0; t < count; t++, values += b.padded_dim, out += stride) {
        F scale = Simd::zero();
        if constexpr (Page::scaled) scale = Simd::set1(scales[t]);
        for (int d = from; d < to; d += 16) {
            F v = Page::load(values + d);
            if constexpr (Page::scaled) v = Simd::mul(v, scale);
            Simd::store(out + d - from, v);
        }
    }
}

// scores[t][16] of kLatentSums positions
static void score_positions(const float* values, int stride, const float* query, int dim, float scale, float* scores) {
    F acc[kLatentSums];
#pragma GCC unroll 8
    for (int t = 0; t < kLatentSums; t++) acc[t] = Simd::zero();
    for (int d = 0; d < dim; d++) {
        const F q = Simd::load(query + 16 * d);
#pragma GCC unroll 8
        for (int t = 0; t < kLatentSums; t++) acc[t] = Simd::fma(Simd::set1(values[t * stride + d]), q, acc[t]);
    }
    const F by = Simd::set1(scale);
#pragma GCC unroll 8
    for (int t = 0; t < kLatentSums; t++) Simd::store(scores + 16 * t, Simd::mul(acc[t], by));
}

// Pages [first, last) of the span. Scores behind a bundle's last position are those of whatever lies there.
template <class Page>
static void score_latents(const LatentSpan& b, int first, int last) {
    const int dim = b.rank + b.rope_dim;
    for (int position = first * kPageTokens; position < last * kPageTokens; position += kLatentSums) {
        if (position >= seen_latents(b, b.num_bundles - 1)) return;
        const int page = position / kPageTokens, slot = position % kPageTokens;
        widen<Page>(b, page, b.layout.latent_scale, slot, kLatentSums, 0, b.rank, b.values, b.padded_dim);
        widen<Page>(b, page, b.layout.rotary_scale, slot, kLatentSums, b.rank, b.padded_dim, b.values + b.rank, b.padded_dim);
        for (int i = 0; i < b.num_bundles; i++)
            if (seen_latents(b, i) > position)
                score_positions(b.values, b.padded_dim, b.queries + size_t(i) * dim * kBundle, dim, b.scale, b.scores + size_t(i * kSpan + position) * kBundle);
    }
}

// scores -> probabilities in place. A lane's sum is that of `soften`: 16 partial sums over position mod 16, then the tree.
static void soften_latents(const LatentSpan& b, int bundle) {
    const int count = seen_latents(b, bundle);
    float* const s = b.scores + size_t(bundle) * kSpan * kBundle;
    LatentState& state = b.state[bundle];
    F sums[16];
    for (int i = 0; i < 16; i++) sums[i] = Simd::zero();
    F top = count ? Simd::load(s) : Simd::zero();
    for (int t = 1; t < count; t++) top = Simd::max(top, Simd::load(s + kBundle * t));
    for (int t = 0; t < count; t++) {
        const F p = exp_lanes(Simd::sub(Simd::load(s + kBundle * t), top));
        Simd::store(s + kBundle * t, p);
        sums[t % 16] = Simd::add(sums[t % 16], p);
    }
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++) sums[i] = Simd::add(sums[i], sums[i + half]);
    Simd::store(state.max, top);
    Simd::store(state.sum, sums[0]);
}

// out[d][16] += sum over `count` positions of value d, ascending, times the position's probabilities
static void mix_values(const float* values, int stride, const float* p, int count, int width, float* out) {
    for (int d = 0; d < width; d += kLatentSums) {
        F acc[kLatentSums];
#pragma GCC unroll 8
        for (int j = 0; j < kLatentSums; j++) acc[j] = Simd::load(out + 16 * (d + j));
        for (int t = 0; t < count; t++) {
            const F weight = Simd::load(p + kBundle * t);
#pragma GCC unroll 8
            for (int j = 0; j < kLatentSums; j++) acc[j] = Simd::fma(Simd::set1(values[t * stride + d + j]), weight, acc[j]);
        }
#pragma GCC unroll 8
        for (int j = 0; j < kLatentSums; j++) Simd::store(out + 16 * (d + j), acc[j]);
    }
}

// Values [first, last) of the latents, multiples of 16.
template <class Page>
static void mix_latents(const LatentSpan& b, int first, int last) {
    for (int i = 0; i < b.num_bundles; i++)
        for (int d = first; d < last; d++) Simd::store(b.out + (size_t(i) * b.rank + d) * kBundle, Simd::zero());
    for (int start = 0; start < seen_latents(b, b.num_bundles - 1); start += kPageTokens) {
        const auto seen = [&](int i) {
            const int left = seen_latents(b, i) - start;
            return left < 0 ? 0 : left < kPageTokens ? left : kPageTokens;
        };
        for (int d = first; d < last; d += kMixedValues) {
            const int width = last - d < kMixedValues ? last - d : kMixedValues;
            widen<Page>(b, start / kPageTokens, b.layout.latent_scale, 0, seen(b.num_bundles - 1), d, d + width, b.values, kMixedValues);
            for (int i = 0; i < b.num_bundles; i++)
                mix_values(b.values, kMixedValues, b.scores + size_t(i * kSpan + start) * kBundle, seen(i), width, b.out + (size_t(i) * b.rank + d) * kBundle);
        }
    }
}

// running = running and span together, and what the sums of both have to be multiplied by. The bundle sees some of the span.
static void merge_latent_states(LatentState& running, const LatentState& span, LatentFactors& factors) {
    const F old_max = Simd::load(running.max), new_max = Simd::load(span.max), top = Simd::max(old_max, new_max);
    const F old_factor = exp_lanes(Simd::sub(old_max, top)), new_factor = exp_lanes(Simd::sub(new_max, top));
    Simd::store(running.sum, Simd::add(Simd::mul(Simd::load(running.sum), old_factor), Simd::mul(Simd::load(span.sum), new_factor)));
    Simd::store(running.max, top);
    Simd::store(factors.running, old_factor);
    Simd::store(factors.span, new_factor);
}

static void merge_latent_sums(const LatentFactors& factors, float* sums, const float* span_sums, int count) {
    const F a = Simd::load(factors.running), b = Simd::load(factors.span);
    for (int d = 0; d < count; d++)
        Simd::store(sums + kBundle * d, Simd::add(Simd::mul(Simd::load(sums + kBundle * d), a), Simd::mul(Simd::load(span_sums + kBundle * d), b)));
}

// out[head * stride + d] = sums[d][head] / sum, of the first `heads` lanes
static void finish_latents(const LatentState& state, const float* sums, int count, int heads, float* out, ptrdiff_t stride) {
    const F inverse = Simd::div(Simd::set1(1.0f), Simd::load(state.sum));
    for (int first = 0; first < count; first += 16) {
        alignas(64) float tile[16][kBundle];
        for (int d = 0; d < 16; d++) Simd::store(tile[d], Simd::mul(Simd::load(sums + kBundle * (first + d)), inverse));
        for (int head = 0; head < heads; head++)
            for (int d = 0; d < 16; d++) out[head * stride + first + d] = tile[d][head];
    }
}

// The latent and the rotated values of one token into slot `slot` of its page.
template <class Page>
static void write_latent(const float* x, int rank, int rope_dim, int slot, const LatentLayout& layout, uint8_t* page) {
    const int padded = div_up(rank + rope_dim, 16) * 16;
    auto* to = reinterpret_cast<typename Page::Value*>(page + layout.latent) + size_t(slot) * padded;
    if constexpr (!Page::scaled) {
        for (int d = 0; d < padded; d += 16) Simd::store_half(to + d, Simd::load_n(x + d, rank + rope_dim - d));
    } else {
        const auto write = [&](size_t scale_offset, int first, int count) {
            float inverse;
            reinterpret_cast<float*>(page + scale_offset)[slot] = peak_scale(x + first, count, inverse);
            for (int d = 0; d < count; d += 16) store_quants(to + first + d, Simd::load_n(x + first + d, count - d), inverse);
        };
        write(layout.latent_scale, 0, rank);
        write(layout.rotary_scale, rank, rope_dim);
    }
}

}  // namespace
}  // namespace pocketseek
