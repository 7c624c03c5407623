// Causal attention over KV pages, for a few query vectors that share each page they read.
//
// A page holds, per layer and KV head, keys as [head_dim][64] and values as [64][padded_dim], both f16:
//
//     key    d0: t0 t1 ... t63 | d1: t0 ...        a score is one lane, inputs d ascending
//     value  t0: d0 d1 ...     | t1: d0 ...        an output is one lane, positions t ascending
//
// Positions are cut at absolute multiples of 512 (spans). Within a span: scores, their maximum, p = exp(s - max), their sum, and
// the weighted values from the first position to the last. Spans are merged in ascending order. A query's result therefore
// depends on its own position and the pages only: not on the pass, nor on the queries that share the call.
#pragma once

#include "elementwise.h"

namespace pocketseek {
namespace {

struct SpanState { float max, sum; };

// scores[q][0..63] for one page
template <int Q>
static void page_scores(const AttentionBlock& b, int first, const uint16_t* keys, float* const* scores) {
    const F scale = Simd::set1(b.scale);
    for (int t = 0; t < kPageTokens; t += 16) {
        F acc[Q];
        for (int q = 0; q < Q; q++) acc[q] = Simd::zero();
        for (int d = 0; d < b.head_dim; d++) {
            const F k = Simd::load_half(keys + d * kPageTokens + t);
#pragma GCC unroll 8
            for (int q = 0; q < Q; q++) acc[q] = Simd::fma(k, Simd::set1(b.query[first + q][d]), acc[q]);
        }
        for (int q = 0; q < Q; q++) Simd::store(scores[first + q] + t, Simd::mul(acc[q], scale));
    }
}

// out[q][:] += sum over t in [from, to) of p[q][t] * value[t][:]
template <int Q>
static void add_values(const uint16_t* values, int padded_dim, const float* const* p, float* const* out, int from, int to) {
    for (int d = 0; d < padded_dim; d += 16) {
        F acc[Q];
        for (int q = 0; q < Q; q++) acc[q] = Simd::load(out[q] + d);
        for (int t = from; t < to; t++) {
            const F v = Simd::load_half(values + t * padded_dim + d);
#pragma GCC unroll 8
            for (int q = 0; q < Q; q++) acc[q] = Simd::fma(v, Simd::set1(p[q][t]), acc[q]);
        }
        for (int q = 0; q < Q; q++) Simd::store(out[q] + d, acc[q]);
    }
}

template <int Q>
static void all_scores(const AttentionBlock& b, int first, const uint16_t* keys, float* const* scores) {
    const int left = b.num_queries - first;
    if (left >= Q) {
        page_scores<Q>(b, first, keys, scores);
        if (left > Q) all_scores<Q>(b, first + Q, keys, scores);
    } else if constexpr (Q > 1) {
        all_scores<Q / 2>(b, first, keys, scores);
    }
}

template <int Q>
static void all_values(int count, const uint16_t* values, int padded_dim, const float* const* p, float* const* out, int to) {
    if (count >= Q) {
        add_values<Q>(values, padded_dim, p, out, 0, to);
        if (count > Q) all_values<Q>(count - Q, values, padded_dim, p + Q, out + Q, to);
    } else if constexpr (Q > 1) {
        all_values<Q / 2>(count, values, padded_dim, p, out, to);
    }
}

// scores -> probabilities in place; count >= 1
static SpanState soften(float* s, int count) {
    float top = s[0];
    for (int i = 1; i < count; i++) top = s[i] > top ? s[i] : top;
    const F shift = Simd::set1(top);
    F sum = Simd::zero();
    for (int i = 0; i < count; i += 16) {
        const int n = count - i;
        Simd::store_n(s + i, exp_lanes(Simd::sub(Simd::load_n(s + i, n), shift)), n);
        sum = Simd::add(sum, Simd::load_n(s + i, n));
    }
    return {top, Simd::reduce_add(sum)};
}

static float exp_one(float x) {
    float lanes[16];
    Simd::store(lanes, exp_lanes(Simd::set1(x)));
    return lanes[0];
}

// running = running and span together
static void merge(SpanState& running, float* out, const SpanState& span, const float* span_out, int padded_dim) {
    const float top = running.max > span.max ? running.max : span.max;
    const float old_factor = exp_one(running.max - top), new_factor = exp_one(span.max - top);
    running = {top, running.sum * old_factor + span.sum * new_factor};
    const F a = Simd::set1(old_factor), b = Simd::set1(new_factor);
    for (int d = 0; d < padded_dim; d += 16)
        Simd::store(out + d, Simd::add(Simd::mul(Simd::load(out + d), a), Simd::mul(Simd::load(span_out + d), b)));
}

// Weighted values of one span for every query that reaches into it. Positions seen by all are done together, the rest alone:
// adding a zero would not be the same bits.
static void span_values(const AttentionBlock& b, int span_start, const int* counts, float* const* scores, float* const* out) {
    const float* p[kMaxQueries];
    float* o[kMaxQueries];
    for (int page = 0; page * kPageTokens < kSpan; page++) {
        const int start = page * kPageTokens;
        int live = 0, common = kPageTokens;
        int queries[kMaxQueries];
        for (int q = 0; q < b.num_queries; q++) {
            if (counts[q] <= start) continue;
            const int here = counts[q] - start;
            common = here < common ? here : common;
            p[live] = scores[q] + start;
            o[live] = out[q];
            queries[live++] = q;
        }
        if (!live) return;
        const auto* values = reinterpret_cast<const uint16_t*>(b.pages[(span_start + start) / kPageTokens] + b.value_offset);
        all_values<kMaxQueries>(live, values, b.padded_dim, p, o, common);
        for (int j = 0; j < live; j++) {
            const int here = counts[queries[j]] - start;
            const int to = here < kPageTokens ? here : kPageTokens;
            if (to > common) add_values<1>(values, b.padded_dim, p + j, o + j, common, to);
        }
    }
}

static void attend(const AttentionBlock& b) {
    float *scores[kMaxQueries], *span_out[kMaxQueries], *running_out[kMaxQueries];
    SpanState running[kMaxQueries];
    int longest = 0;
    for (int q = 0; q < b.num_queries; q++) {
        scores[q] = b.scratch + size_t(q) * (kSpan + b.padded_dim);
        span_out[q] = scores[q] + kSpan;
        running_out[q] = b.out[q];
        longest = b.length[q] > longest ? b.length[q] : longest;
    }
    for (int start = 0; start < longest; start += kSpan) {
        int counts[kMaxQueries];
        float* target[kMaxQueries];
        const int end = longest - start < kSpan ? longest - start : kSpan;
        for (int t = 0; t < end; t += kPageTokens) {
            float* page_score[kMaxQueries];
            for (int q = 0; q < b.num_queries; q++) page_score[q] = scores[q] + t;
            all_scores<kMaxQueries>(b, 0, reinterpret_cast<const uint16_t*>(b.pages[(start + t) / kPageTokens] + b.key_offset), page_score);
        }
        SpanState span[kMaxQueries];
        for (int q = 0; q < b.num_queries; q++) {
            const int left = b.length[q] - start;
            counts[q] = left < 0 ? 0 : left < kSpan ? left : kSpan;
            target[q] = start == 0 ? running_out[q] : span_out[q];
            if (!counts[q]) continue;
            for (int d = 0; d < b.padded_dim; d += 16) Simd::store(target[q] + d, Simd::zero());
            span[q] = soften(scores[q], counts[q]);
        }
        span_values(b, start, counts, scores, target);
        for (int q = 0; q < b.num_queries; q++) {
            if (!counts[q]) continue;
            if (start == 0) running[q] = span[q];
            else merge(running[q], running_out[q], span[q], span_out[q], b.padded_dim);
        }
    }
    for (int q = 0; q < b.num_queries; q++) {
        const F inverse = Simd::set1(1.0f / running[q].sum);
        for (int d = 0; d < b.padded_dim; d += 16) Simd::store(running_out[q] + d, Simd::mul(Simd::load(running_out[q] + d), inverse));
    }
}

}  // namespace
}  // namespace pocketseek
