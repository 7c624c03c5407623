// The attention phases of a layer: keys and values into their pages, then every query over its sequence.
//
// A task is a block of rows of one sequence and one KV head. It goes through the spans of 512 positions in ascending order, a few
// queries at a time, so that a span's keys and values come from the second-level cache for all of them. Where there are fewer
// tasks than threads need (decoding with few KV heads), each span becomes a task of its own, and a second loop merges the
// spans of a query in the same ascending order: the same operations, so the same bits.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "layer.h"

namespace pocketseek {

namespace {

constexpr int kBlockQueries = 96;    // queries of a task: with a span of head size 128 they fill about 350 KB
constexpr int kTasksPerThread = 4;   // fewer, and threads wait for the slowest one

// Queries of a task in order of row, then head. A chunk is what shares one read of a page: whole rows where they fit.
int chunk_rows(const ModelShape& s) { return std::max(1, kMaxQueries / s.group()); }
int chunk_queries(const ModelShape& s) { return chunk_rows(s) * std::min(s.group(), kMaxQueries); }

}  // namespace

// Biases, q/k norms and rope on the rows of qkv_; keys and values rounded into their pages.
void Core::store_keys_values(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch) {
    const int q_width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim, width = q_width + 2 * kv_width, half = s.head_dim / 2;
    const KvShape kv = s.kv();
    auto prepare_heads = [&](float* x, int heads, const float* bias, const float* norm, int row) {
        if (bias) table_.add(x, bias, heads * s.head_dim);
        for (int h = 0; h < heads; h++) {
            float* head = x + h * s.head_dim;
            if (norm) table_.rms_norm(head, norm, s.eps, s.head_dim, head);
            table_.rotate(head, batch.cosine + size_t(row) * half, batch.sine + size_t(row) * half, half);
        }
    };
    pool_.run(batch.rows, 1, [&](int begin, int end, int) {
        for (int row = begin; row < end; row++) {
            const RowSpan& span = batch.span_of(row);
            const int position = span.first_position + row - span.first_row;
            float *q = qkv_.data() + size_t(row) * width, *k = q + q_width, *v = k + kv_width;
            prepare_heads(q, s.heads, w.q_bias, w.q_norm, row);
            prepare_heads(k, s.kv_heads, w.k_bias, w.k_norm, row);
            if (w.v_bias) table_.add(v, w.v_bias, kv_width);
            auto* page = const_cast<uint8_t*>(span.pages[position / kPageTokens]);
            for (int h = 0; h < s.kv_heads; h++)
                table_.write_kv[int(s.kv_format)](k + h * s.head_dim, v + h * s.head_dim, s.head_dim, kv.padded_dim(), position % kPageTokens,
                                                  kv.layout(layer_index, h), page);
        }
    });
}

// Scratch of one worker, and the buffers of one task's queries.
struct Core::AttentionScratch {
    float *scores, *queries, *sums, *span_sums;
    SpanState *state, *span_state;

    static size_t packed(const ModelShape& s, int block_queries) { return size_t(div_up(block_queries, chunk_queries(s))) * kMaxQueries; }
    static size_t floats(const ModelShape& s, int block_queries) {
        const size_t padded = s.kv().padded_dim();
        return kMaxQueries * (kScoreStride + padded + 2) + packed(s, block_queries) * s.head_dim + block_queries * (padded + 2) + 16;
    }
    AttentionScratch(float* memory, const ModelShape& s, int block_queries) {
        const size_t padded = s.kv().padded_dim();
        memory += (-reinterpret_cast<uintptr_t>(memory) & 63) / 4;
        scores = memory, memory += size_t(kMaxQueries) * kScoreStride;
        span_sums = memory, memory += kMaxQueries * padded;
        sums = memory, memory += block_queries * padded;
        queries = memory, memory += packed(s, block_queries) * s.head_dim;
        span_state = reinterpret_cast<SpanState*>(memory), memory += 2 * kMaxQueries;
        state = reinterpret_cast<SpanState*>(memory);
    }
};

// queries[chunk][head_dim][kMaxQueries]
void Core::pack_queries(const ModelShape& s, const AttentionTask& task, float* packed) const {
    const int width = (s.heads + 2 * s.kv_heads) * s.head_dim, chunk = chunk_queries(s), count = task.num_rows * s.group();
    for (int i = 0; i < count; i++) {
        const int row = task.first_row + i / s.group(), head = task.kv_head * s.group() + i % s.group();
        const float* query = qkv_.data() + size_t(row) * width + head * s.head_dim;
        float* to = packed + size_t(i / chunk) * s.head_dim * kMaxQueries + i % chunk;
        for (int d = 0; d < s.head_dim; d++) to[size_t(d) * kMaxQueries] = query[d];
    }
}

// One chunk of a task's queries over one span.
void Core::attend_chunk(const ModelShape& s, int layer_index, const RowSpan& span, const AttentionTask& task, int first, int start,
                        const AttentionScratch& scratch, float* sums, SpanState* state) const {
    const int count = std::min(chunk_queries(s), task.num_rows * s.group() - first);
    int length[kMaxQueries];
    for (int i = 0; i < count; i++) length[i] = span.first_position + (task.first_row - span.first_row) + (first + i) / s.group() + 1;
    table_.attend_span[int(s.kv_format)]({.num_queries = count, .head_dim = s.head_dim, .padded_dim = s.kv().padded_dim(), .start = start,
        .queries = scratch.queries + size_t(first / chunk_queries(s)) * s.head_dim * kMaxQueries, .length = length, .pages = span.pages,
        .layout = s.kv().layout(layer_index, task.kv_head), .scale = 1.0f / std::sqrt(float(s.head_dim)), .scores = scratch.scores, .out = sums, .state = state});
}

// Where query i of a task belongs in mixed_: [row][head][head_dim].
float* Core::attention_target(const ModelShape& s, const AttentionTask& task, int i) {
    const int row = task.first_row + i / s.group(), head = task.kv_head * s.group() + i % s.group();
    return mixed_.data() + (size_t(row) * s.heads + head) * s.head_dim;
}

void Core::attend_whole(const ModelShape& s, int layer_index, const RowSpan& span, const AttentionTask& task, const AttentionScratch& scratch) {
    const int count = task.num_rows * s.group(), chunk = chunk_queries(s), padded = s.kv().padded_dim();
    const int longest = span.first_position + (task.first_row - span.first_row) + task.num_rows;
    pack_queries(s, task, scratch.queries);
    for (int start = 0; start < longest; start += kSpan)
        for (int first = 0; first < count; first += chunk) {
            float* sums = scratch.sums + size_t(first) * padded;
            if (start == 0) {
                attend_chunk(s, layer_index, span, task, first, 0, scratch, sums, scratch.state + first);
                continue;
            }
            attend_chunk(s, layer_index, span, task, first, start, scratch, scratch.span_sums, scratch.span_state);
            for (int i = 0; i < std::min(chunk, count - first); i++)
                table_.merge_span(scratch.state[first + i], sums + size_t(i) * padded, scratch.span_state[i], scratch.span_sums + size_t(i) * padded, padded);
        }
    for (int i = 0; i < count; i++) table_.finish_attention(scratch.state[i], scratch.sums + size_t(i) * padded, s.head_dim, attention_target(s, task, i));
}

// Tasks for blocks of at most `block_rows` rows, longest contexts first.
void Core::plan_attention(const ModelShape& s, const Batch& batch, int block_rows) {
    tasks_.clear();
    for (int index = 0; index < int(batch.spans.size()); index++) {
        const RowSpan& span = batch.spans[index];
        for (int row = 0; row < span.num_rows; row += block_rows)
            for (int head = 0; head < s.kv_heads; head++)
                tasks_.push_back({index, span.first_row + row, std::min(block_rows, span.num_rows - row), head});
    }
    const auto length = [&](const AttentionTask& t) { return batch.spans[t.span].first_position + t.first_row - batch.spans[t.span].first_row + t.num_rows; };
    std::stable_sort(tasks_.begin(), tasks_.end(), [&](const AttentionTask& a, const AttentionTask& b) { return length(a) > length(b); });
}

void Core::attend(const ModelShape& s, int layer_index, const Batch& batch) {
    const int threads = pool_.num_threads(), step = chunk_rows(s);
    const int most_rows = std::max(1, kBlockQueries / (step * s.group())) * step;
    const auto tasks_with = [&](int rows) {
        int blocks = 0;
        for (const RowSpan& span : batch.spans) blocks += div_up(span.num_rows, rows);
        return blocks * s.kv_heads;
    };
    int block_rows = most_rows;
    while (block_rows > step && tasks_with(block_rows) < kTasksPerThread * threads) block_rows -= step;
    plan_attention(s, batch, block_rows);

    const int block_queries = block_rows * s.group();
    const size_t each = AttentionScratch::floats(s, block_queries);
    float* memory = grown(scratch_, each * threads);
    if (threads > 1 && int(tasks_.size()) < kTasksPerThread * threads) return attend_by_spans(s, layer_index, batch, block_queries);
    pool_.run(int(tasks_.size()), 1, [&](int begin, int end, int worker) {
        const AttentionScratch scratch(memory + worker * each, s, block_queries);
        for (int i = begin; i < end; i++) attend_whole(s, layer_index, batch.spans[tasks_[i].span], tasks_[i], scratch);
    });
}

void Core::attend_by_spans(const ModelShape& s, int layer_index, const Batch& batch, int block_queries) {
    const size_t padded = s.kv().padded_dim(), each = AttentionScratch::floats(s, block_queries), result = padded + 2;  // sums, state
    span_tasks_.clear();
    size_t results = 0;
    for (int i = 0; i < int(tasks_.size()); i++) {
        const RowSpan& span = batch.spans[tasks_[i].span];
        const int longest = span.first_position + (tasks_[i].first_row - span.first_row) + tasks_[i].num_rows;
        const size_t queries = size_t(tasks_[i].num_rows) * s.group();
        for (int start = 0; start < longest; start += kSpan, results += queries) span_tasks_.push_back({i, start, results});
    }
    float* partial = grown(partial_, results * result);
    float* states = partial + results * padded;
    pool_.run(int(span_tasks_.size()), 1, [&](int begin, int end, int worker) {
        const AttentionScratch scratch(scratch_.data() + worker * each, s, block_queries);
        for (int i = begin; i < end; i++) {
            const SpanTask& part = span_tasks_[i];
            const AttentionTask& task = tasks_[part.task];
            pack_queries(s, task, scratch.queries);
            for (int first = 0; first < task.num_rows * s.group(); first += chunk_queries(s))
                attend_chunk(s, layer_index, batch.spans[task.span], task, first, part.start, scratch, partial + (part.first_result + first) * padded,
                             reinterpret_cast<SpanState*>(states) + part.first_result + first);
        }
    });
    const auto state = [&](size_t index) -> SpanState& { return reinterpret_cast<SpanState*>(states)[index]; };
    for (size_t i = 0, next; i < span_tasks_.size(); i = next) {
        const AttentionTask& task = tasks_[span_tasks_[i].task];
        const int queries = task.num_rows * s.group();
        const size_t base = span_tasks_[i].first_result;
        for (next = i + 1; next < span_tasks_.size() && span_tasks_[next].task == span_tasks_[i].task; next++)
            for (int q = 0; q < queries; q++) {
                const size_t other = span_tasks_[next].first_result + q;
                table_.merge_span(state(base + q), partial + (base + q) * padded, state(other), partial + other * padded, int(padded));
            }
        for (int q = 0; q < queries; q++)
            table_.finish_attention(state(base + q), partial + (base + q) * padded, s.head_dim, attention_target(s, task, q));
    }
}

}  // namespace pocketseek
