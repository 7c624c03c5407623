// Attention of a few query vectors over one span of 512 positions; they share every key and value that is read.
//
// A page holds, per layer and KV head (kv_layout.h), keys as [head_dim][64] and values as [64][padded_dim]:
//
//     key    d0: t0 t1 ... t63 | d1: t0 ...        a score is one lane, inputs d ascending
//     value  t0: d0 d1 ...     | t1: d0 ...        an output is one lane, positions t ascending
//
// Within a span: scores, their maximum, p = exp(s - max), their sum, and the weighted values from the first position to the last.
// Spans are cut at absolute multiples of 512 and merged in ascending order. A query's result therefore depends on its own
// position and the pages only: not on the pass, the queries that share the call, or which thread did which span.
//
// int8 pages have a scale per token and head: a key's enters the score, a value's enters p, so the inner loops are the same.
//
// Expected rate: Q queries x T registers of 16 keys take T conversions (two instructions each) and Q * T multiply-adds; with six
// queries that share a KV head 24 of 32 instructions are multiply-adds.
#pragma once

#include <utility>

#include "elementwise.h"

namespace pocketseek {
namespace {

struct HalfPage {
    using Value = uint16_t;
    static F load(const uint16_t* p) { return Simd::load_half(p); }
    static constexpr bool scaled = false;
};
struct Int8Page {
    using Value = int8_t;
    static F load(const int8_t* p) { return Simd::load_int8(p); }
    static constexpr bool scaled = true;
};

inline constexpr int kAtOnce = Simd::accumulators < kMaxQueries ? Simd::accumulators : kMaxQueries;
template <int Q> inline constexpr int kRegisters = Simd::accumulators >= 4 * Q ? 4 : Simd::accumulators >= 2 * Q ? 2 : 1;  // of keys or values; divides a page

template <class Page> static const typename Page::Value* at(const SpanAttention& b, int page, size_t offset) {
    return reinterpret_cast<const typename Page::Value*>(b.pages[b.start / kPageTokens + page] + offset);
}
static const float* scales_at(const SpanAttention& b, int page, size_t offset) {
    return reinterpret_cast<const float*>(b.pages[b.start / kPageTokens + page] + offset);
}

// scores[q][t], t in a page, for the queries [first, first + Q)
template <class Page, int Q>
static void page_scores(const SpanAttention& b, int page, int first) {
    constexpr int T = kRegisters<Q>;
    const auto* keys = at<Page>(b, page, b.layout.key);
    const F scale = Simd::set1(b.scale);
    for (int t = 0; t < kPageTokens; t += 16 * T) {
        F acc[Q][T];
        for (int q = 0; q < Q; q++)
            for (int j = 0; j < T; j++) acc[q][j] = Simd::zero();
        const float* query = b.queries + first;
        for (int d = 0; d < b.head_dim; d++, query += kMaxQueries) {
            F k[T];
#pragma GCC unroll 4
            for (int j = 0; j < T; j++) k[j] = Page::load(keys + d * kPageTokens + t + 16 * j);
#pragma GCC unroll 12
            for (int q = 0; q < Q; q++) {
                const F x = Simd::set1(query[q]);
#pragma GCC unroll 4
                for (int j = 0; j < T; j++) acc[q][j] = Simd::fma(k[j], x, acc[q][j]);
            }
        }
        for (int j = 0; j < T; j++) {
            const int token = t + 16 * j;
            F factor = scale;
            if constexpr (Page::scaled) factor = Simd::mul(scale, Simd::load(scales_at(b, page, b.layout.key_scale) + token));
            for (int q = 0; q < Q; q++) Simd::store(b.scores + (first + q) * kScoreStride + page * kPageTokens + token, Simd::mul(acc[q][j], factor));
        }
    }
}

// out[q][d .. d + 16 D) += sum over t in [from, to) of p[q][t] * value[t][d ...]; p rows are kScoreStride apart
template <class Page, int Q, int D>
static void add_columns(const typename Page::Value* values, int padded_dim, const float* p, float* out, int from, int to) {
    F acc[Q][D];
    for (int q = 0; q < Q; q++)
        for (int j = 0; j < D; j++) acc[q][j] = Simd::load(out + q * padded_dim + 16 * j);
    for (int t = from; t < to; t++) {
        F v[D];
#pragma GCC unroll 4
        for (int j = 0; j < D; j++) v[j] = Page::load(values + t * padded_dim + 16 * j);
#pragma GCC unroll 12
        for (int q = 0; q < Q; q++) {
            const F x = Simd::set1(p[q * kScoreStride + t]);
#pragma GCC unroll 4
            for (int j = 0; j < D; j++) acc[q][j] = Simd::fma(v[j], x, acc[q][j]);
        }
    }
    for (int q = 0; q < Q; q++)
        for (int j = 0; j < D; j++) Simd::store(out + q * padded_dim + 16 * j, acc[q][j]);
}

template <class Page, int Q>
static void add_values(const typename Page::Value* values, int padded_dim, const float* p, float* out, int from, int to) {
    constexpr int D = kRegisters<Q>;
    int d = 0;
    for (; d + 16 * D <= padded_dim; d += 16 * D) add_columns<Page, Q, D>(values + d, padded_dim, p, out + d, from, to);
    for (; d < padded_dim; d += 16) add_columns<Page, Q, 1>(values + d, padded_dim, p, out + d, from, to);
}

// run(first, number as a constant) until `count` queries are done, in pieces of about equal size.
template <int Q = kAtOnce, class Run>
static void exactly(int first, int count, Run run) {
    if (count == Q) run(first, std::integral_constant<int, Q>());
    else if constexpr (Q > 1) exactly<Q - 1>(first, count, run);
}
template <class Run> static void in_pieces(int count, Run run) {
    for (int first = 0, pieces = div_up(count, kAtOnce); pieces; pieces--) {
        const int piece = div_up(count - first, pieces);
        exactly(first, piece, run);
        first += piece;
    }
}

// scores -> probabilities in place; count >= 1. Positions beyond `count` up to a whole register are overwritten.
static SpanState soften(float* s, int count) {
    for (int i = count; i % 16; i++) s[i] = s[0];
    F top = Simd::load(s);
    for (int i = 16; i < count; i += 16) top = Simd::max(top, Simd::load(s + i));
    const float maximum = Simd::reduce_max(top);
    const F shift = Simd::set1(maximum);
    F sum = Simd::zero();
    for (int i = 0; i < count; i += 16) {
        const int n = count - i;
        Simd::store_n(s + i, exp_lanes(Simd::sub(Simd::load(s + i), shift)), n);
        sum = Simd::add(sum, Simd::load_n(s + i, n));
    }
    return {maximum, Simd::reduce_add(sum)};
}

template <class Page> static void scale_by_values(const SpanAttention& b, float* p, int count) {
    for (int t = 0; t < count; t += 16)
        Simd::store(p + t, Simd::mul(Simd::load(p + t), Simd::load(scales_at(b, t / kPageTokens, b.layout.value_scale) + t % kPageTokens)));
}

// Weighted values, page by page. Positions that all live queries see are done together, the rest alone: adding a zero would not be
// the same bits. Longer queries come later, so the live ones are the last ones.
template <class Page>
static void span_values(const SpanAttention& b, const int* counts) {
    const int n = b.num_queries;
    for (int page = 0, live = 0; page * kPageTokens < counts[n - 1]; page++) {
        const int start = page * kPageTokens;
        while (counts[live] <= start) live++;
        const auto seen = [&](int q) { return counts[q] - start < kPageTokens ? counts[q] - start : kPageTokens; };
        const auto* values = at<Page>(b, page, b.layout.value);
        const int common = seen(live);
        in_pieces(n - live, [&]<int Q>(int first, std::integral_constant<int, Q>) {
            const int q = live + first;
            add_values<Page, Q>(values, b.padded_dim, b.scores + q * kScoreStride + start, b.out + q * b.padded_dim, 0, common);
        });
        for (int q = live; q < n; q++)
            if (seen(q) > common)
                add_values<Page, 1>(values, b.padded_dim, b.scores + q * kScoreStride + start, b.out + q * b.padded_dim, common, seen(q));
    }
}

template <class Page>
static void attend_span(const SpanAttention& b) {
    int counts[kMaxQueries];
    for (int q = 0; q < b.num_queries; q++) {
        const int left = b.length[q] - b.start;
        counts[q] = left < 0 ? 0 : left < kSpan ? left : kSpan;
    }
    for (int page = 0; page * kPageTokens < counts[b.num_queries - 1]; page++)
        in_pieces(b.num_queries, [&]<int Q>(int first, std::integral_constant<int, Q>) { page_scores<Page, Q>(b, page, first); });
    for (int q = 0; q < b.num_queries; q++) {
        for (int d = 0; d < b.padded_dim; d += 16) Simd::store(b.out + q * b.padded_dim + d, Simd::zero());
        b.state[q] = counts[q] ? soften(b.scores + q * kScoreStride, counts[q]) : SpanState{0, 0};
        if constexpr (Page::scaled) scale_by_values<Page>(b, b.scores + q * kScoreStride, counts[q]);
    }
    span_values<Page>(b, counts);
}

static float exp_one(float x) {
    float lanes[16];
    Simd::store(lanes, exp_lanes(Simd::set1(x)));
    return lanes[0];
}

// running = running and span together; a span that the query does not see has sum 0.
static void merge_span(SpanState& running, float* out, const SpanState& span, const float* span_out, int padded_dim) {
    if (span.sum == 0.0f) return;
    const float top = running.max > span.max ? running.max : span.max;
    const float old_factor = exp_one(running.max - top), new_factor = exp_one(span.max - top);
    running = {top, running.sum * old_factor + span.sum * new_factor};
    const F a = Simd::set1(old_factor), b = Simd::set1(new_factor);
    for (int d = 0; d < padded_dim; d += 16)
        Simd::store(out + d, Simd::add(Simd::mul(Simd::load(out + d), a), Simd::mul(Simd::load(span_out + d), b)));
}

static void finish_attention(const SpanState& state, const float* sums, int head_dim, float* out) {
    const F inverse = Simd::set1(1.0f / state.sum);
    for (int d = 0; d < head_dim; d += 16) Simd::store_n(out + d, Simd::mul(Simd::load(sums + d), inverse), head_dim - d);
}

// Keys and values of one token into slot `slot` of its page.
static void write_kv_half(const float* k, const float* v, int head_dim, int padded_dim, int slot, const KvLayout& layout, uint8_t* page) {
    auto* keys = reinterpret_cast<uint16_t*>(page + layout.key);
    auto* values = reinterpret_cast<uint16_t*>(page + layout.value) + slot * padded_dim;
    for (int d = 0; d < padded_dim; d += 16) {
        uint16_t half[16];
        Simd::store_half(half, Simd::load_n(k + d, head_dim - d));
        for (int j = 0; j < 16 && d + j < head_dim; j++) keys[(d + j) * kPageTokens + slot] = half[j];
        Simd::store_half(values + d, Simd::load_n(v + d, head_dim - d));
    }
}

static float peak_scale(const float* x, int n, float& inverse) {
    F peak = Simd::zero(), odd = Simd::zero();
    for (int i = 0; i < n; i += 16) {
        const F value = Simd::load_n(x + i, n - i);
        peak = Simd::max(peak, Simd::abs(value));
        odd = Simd::add(odd, not_finite(value));
    }
    const BlockScale s(Simd::reduce_max(peak), Simd::reduce_add(odd) == 0.0f);
    inverse = s.inverse;
    return s.scale;
}

static void write_kv_int8(const float* k, const float* v, int head_dim, int padded_dim, int slot, const KvLayout& layout, uint8_t* page) {
    auto* keys = reinterpret_cast<int8_t*>(page + layout.key);
    auto* values = reinterpret_cast<int8_t*>(page + layout.value) + slot * padded_dim;
    float key_inverse, value_inverse;
    reinterpret_cast<float*>(page + layout.key_scale)[slot] = peak_scale(k, head_dim, key_inverse);
    reinterpret_cast<float*>(page + layout.value_scale)[slot] = peak_scale(v, head_dim, value_inverse);
    for (int d = 0; d < padded_dim; d += 16) {
        int8_t quants[16];
        store_quants(quants, Simd::load_n(k + d, head_dim - d), key_inverse);
        for (int j = 0; j < 16 && d + j < head_dim; j++) keys[(d + j) * kPageTokens + slot] = quants[j];
        store_quants(values + d, Simd::load_n(v + d, head_dim - d), value_inverse);
    }
}

}  // namespace
}  // namespace pocketseek
