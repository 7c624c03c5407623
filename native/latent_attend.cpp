// Attention between k_b and v_b: the queries of a block of rows over the latents of their sequences. What is mixed takes the place of the
// queries in latents_.
//
// A task is up to four bundles (sixteen heads of one row) of one sequence, which share one reading of the latents. It goes through the
// spans of 512 positions in ascending order, so that the second reading of a span, for what is mixed, comes from a cache. Where there are
// fewer tasks than threads need (decoding), each span becomes a part of its own, and where these are few, too (short contexts), threads
// share the scores of a part by pages and its output by runs of values. Parts are merged in ascending order by the same operations on
// either way, so the bits are the same. They are done in waves, so that their results do not grow with the context.
#include <algorithm>
#include <cmath>

#include "layer.h"

namespace pocketseek {

namespace {

constexpr int kTasksPerThread = 4;  // fewer, and threads wait for the slowest one
constexpr int kPartsPerThread = 8;  // of a wave
constexpr int kSliceValues = 128;   // of a bundle's output, mixed and merged as one task
constexpr int kSpanPages = kSpan / kPageTokens;

int bundles_of_row(const ModelShape& s) { return div_up(s.heads, kBundle); }
int slices(const ModelShape& s) { return div_up(s.latent.rank, kSliceValues); }

}  // namespace

// Scratch of one worker: what a task needs besides where its queries come from.
struct Core::LatentScratch {
    float *queries, *scores, *values, *sums, *span_sums;
    LatentState *state, *span_state;

    static size_t sums_floats(const ModelShape& s) { return size_t(kMaxBundles) * s.latent.rank * kBundle; }
    static size_t query_floats(const ModelShape& s) { return size_t(kMaxBundles) * s.latent.stored() * kBundle; }
    static size_t floats(const ModelShape& s) {
        return query_floats(s) + size_t(kMaxBundles) * kSpan * kBundle + latent_values(s.latent_pages().padded_dim()) + 2 * sums_floats(s) + 2 * kMaxBundles * 2 * kBundle + 16;
    }
    LatentScratch(float* memory, const ModelShape& s) {
        memory = aligned(memory);
        queries = memory, memory += query_floats(s);
        scores = memory, memory += size_t(kMaxBundles) * kSpan * kBundle;
        sums = memory, memory += sums_floats(s);
        span_sums = memory, memory += sums_floats(s);
        state = reinterpret_cast<LatentState*>(memory), memory += kMaxBundles * 2 * kBundle;
        span_state = reinterpret_cast<LatentState*>(memory), memory += kMaxBundles * 2 * kBundle;
        values = memory;
    }
};

// Of a wave of parts, and what is merged so far of every bundle of a block. A part's bundles follow each other in the results.
struct Core::LatentResults {
    float *packed, *merged, *sums, *scores;  // scores: of all parts, if threads share them
    LatentState *merged_state, *state;
    LatentFactors* factors;
};

// Tasks of a block of rows, longest contexts first.
void Core::plan_latents(const ModelShape& s, const Batch& batch, LatentRows block) {
    const int each = bundles_of_row(s);
    latent_tasks_.clear();
    for (int index = 0; index < int(batch.spans.size()); index++) {
        const RowSpan& span = batch.spans[index];
        const int first = std::max(span.first_row, block.first), last = std::min(span.first_row + span.num_rows, block.first + block.count);
        const int end = (last - block.first) * each;
        for (int bundle = (first - block.first) * each; bundle < end; bundle += kMaxBundles) {
            const int count = std::min(kMaxBundles, end - bundle), row = block.first + (bundle + count - 1) / each;
            latent_tasks_.push_back({index, bundle, count, span.first_position + row - span.first_row + 1});
        }
    }
    std::stable_sort(latent_tasks_.begin(), latent_tasks_.end(), [](const LatentTask& a, const LatentTask& b) { return a.longest > b.longest; });
}

// packed[stored][kBundle]: the heads' queries among the latents, and their rotated values.
void Core::pack_bundle(const ModelShape& s, LatentRows block, int bundle, const LatentQueries& queries, float* packed) const {
    const int row = bundle / bundles_of_row(s), first = bundle % bundles_of_row(s) * kBundle, rank = s.latent.rank;
    for (int lane = 0; lane < kBundle; lane++) {
        const int head = std::min(first + lane, s.heads - 1);  // lanes behind the last head compute it again, for nobody
        const float* latent = latents_.data() + (size_t(row) * s.heads + head) * rank;
        const float* rotated = queries.of(s, block.first + row, head) + s.latent.nope_dim;
        for (int d = 0; d < rank; d++) packed[size_t(d) * kBundle + lane] = latent[d];
        for (int d = 0; d < s.latent.rope_dim; d++) packed[size_t(rank + d) * kBundle + lane] = rotated[d];
    }
}

// Without its buffers.
LatentSpan Core::latent_span(const ModelShape& s, int layer_index, const Batch& batch, LatentRows block, const LatentTask& task, int start) const {
    const RowSpan& span = batch.spans[task.span];
    LatentSpan b{};
    b.num_bundles = task.num_bundles, b.rank = s.latent.rank, b.rope_dim = s.latent.rope_dim, b.padded_dim = s.latent_pages().padded_dim(), b.start = start;
    for (int i = 0; i < task.num_bundles; i++)
        b.length[i] = span.first_position + block.first + (task.first_bundle + i) / bundles_of_row(s) - span.first_row + 1;
    b.pages = span.pages, b.layout = s.latent_pages().layout(layer_index);
    b.scale = s.latent.score_factor / std::sqrt(float(s.head_dim));
    return b;
}

// Where what a bundle mixes belongs in latents_, and how many heads it has.
float* Core::latent_target(const ModelShape& s, int bundle, int& heads) {
    const int row = bundle / bundles_of_row(s), first = bundle % bundles_of_row(s) * kBundle;
    heads = std::min(kBundle, s.heads - first);
    return latents_.data() + (size_t(row) * s.heads + first) * s.latent.rank;
}

void Core::attend_latents(const ModelShape& s, int layer_index, const Batch& batch, LatentRows block, const LatentQueries& queries) {
    const int threads = pool_.num_threads(), kv = int(s.kv_format), rank = s.latent.rank;
    const size_t each = LatentScratch::floats(s), bundle_sums = size_t(rank) * kBundle, bundle_queries = size_t(s.latent.stored()) * kBundle;
    plan_latents(s, batch, block);
    float* const memory = grown(scratch_, each * threads);
    if (threads > 1 && int(latent_tasks_.size()) < kTasksPerThread * threads) return latents_by_spans(s, layer_index, batch, block, queries);
    pool_.run(int(latent_tasks_.size()), 1, [&](int begin, int end, int worker) {
        const LatentScratch scratch(memory + worker * each, s);
        for (int index = begin; index < end; index++) {
            const LatentTask& task = latent_tasks_[index];
            for (int i = 0; i < task.num_bundles; i++) pack_bundle(s, block, task.first_bundle + i, queries, scratch.queries + i * bundle_queries);
            for (int start = 0; start < task.longest; start += kSpan) {
                LatentSpan b = latent_span(s, layer_index, batch, block, task, start);
                b.queries = scratch.queries, b.scores = scratch.scores, b.values = scratch.values;
                b.out = start ? scratch.span_sums : scratch.sums, b.state = start ? scratch.span_state : scratch.state;
                table_.score_latents[kv](b, 0, kSpanPages);
                for (int i = 0; i < task.num_bundles; i++) table_.soften_latents(b, i);
                table_.mix_latents[kv](b, 0, rank);
                for (int i = 0; start && i < task.num_bundles; i++) {
                    if (b.state[i].sum[0] == 0.0f) continue;
                    LatentFactors factors;
                    table_.merge_latent_states(scratch.state[i], b.state[i], factors);
                    table_.merge_latent_sums(factors, scratch.sums + i * bundle_sums, b.out + i * bundle_sums, rank);
                }
            }
            for (int i = 0; i < task.num_bundles; i++) {
                int heads;
                float* const out = latent_target(s, task.first_bundle + i, heads);
                table_.finish_latents(scratch.state[i], scratch.sums + i * bundle_sums, rank, heads, out, rank);
            }
        }
    });
}

void Core::latents_by_spans(const ModelShape& s, int layer_index, const Batch& batch, LatentRows block, const LatentQueries& queries) {
    const int tasks = int(latent_tasks_.size()), bundles = block.count * bundles_of_row(s), longest = latent_tasks_[0].longest;
    const int wave = div_up(kPartsPerThread * pool_.num_threads(), tasks) * kSpan;  // positions whose parts are done before they are merged
    const size_t bundle_sums = size_t(s.latent.rank) * kBundle, bundle_queries = size_t(s.latent.stored()) * kBundle;
    const auto plan = [&](int from) {
        int results = 0;
        latent_parts_.clear();
        for (int i = 0; i < tasks; i++)
            for (int start = from; start < std::min(from + wave, latent_tasks_[i].longest); start += kSpan, results += latent_tasks_[i].num_bundles)
                latent_parts_.push_back({i, start, results});
        return size_t(results);
    };
    const size_t results = plan(0), states = (bundles + results) * 2 * kBundle, factors = results * 2 * kBundle;  // the first wave has the most
    LatentResults r{};
    r.packed = grown(packed_, bundles * bundle_queries);
    r.merged = grown(partial_, (bundles + results) * bundle_sums + states + factors);
    r.sums = r.merged + bundles * bundle_sums;
    r.merged_state = reinterpret_cast<LatentState*>(r.sums + results * bundle_sums), r.state = r.merged_state + bundles;
    r.factors = reinterpret_cast<LatentFactors*>(r.state + results);
    pool_.run(bundles, 1, [&](int begin, int end, int) {
        for (int bundle = begin; bundle < end; bundle++) pack_bundle(s, block, bundle, queries, r.packed + bundle * bundle_queries);
    });
    for (int from = 0; from < longest; from += wave) {
        const size_t count = plan(from);
        const bool shared = int(latent_parts_.size()) < kTasksPerThread * pool_.num_threads();
        r.scores = shared ? grown(scores_, count * kSpan * kBundle) : nullptr;
        run_latent_parts(s, layer_index, batch, block, r);
        merge_latent_parts(s, r, from + wave);
    }
}

// All parts of a wave, each by one thread; or its scores by pages, then its probabilities by bundles, then its output by slices.
void Core::run_latent_parts(const ModelShape& s, int layer_index, const Batch& batch, LatentRows block, const LatentResults& r) {
    const int parts = int(latent_parts_.size()), kv = int(s.kv_format), rank = s.latent.rank;
    const auto each_of = [&](int per_part, auto run) {  // run(part, span, number)
        pool_.run(parts * per_part, 1, [&](int begin, int end, int worker) {
            const LatentScratch scratch(scratch_.data() + worker * LatentScratch::floats(s), s);
            for (int i = begin; i < end; i++) {
                const LatentPart& part = latent_parts_[i / per_part];
                const LatentTask& task = latent_tasks_[part.task];
                LatentSpan b = latent_span(s, layer_index, batch, block, task, part.start);
                b.queries = r.packed + size_t(task.first_bundle) * s.latent.stored() * kBundle;
                b.scores = r.scores ? r.scores + size_t(part.first_result) * kSpan * kBundle : scratch.scores;
                b.values = scratch.values, b.out = r.sums + size_t(part.first_result) * rank * kBundle, b.state = r.state + part.first_result;
                run(b, i % per_part);
            }
        });
    };
    const auto soften = [&](const LatentSpan& b, int bundle) {
        if (bundle < b.num_bundles) table_.soften_latents(b, bundle);
    };
    const auto mix = [&](const LatentSpan& b, int slice) { table_.mix_latents[kv](b, slice * kSliceValues, std::min(rank, (slice + 1) * kSliceValues)); };
    if (r.scores) {
        each_of(kSpanPages, [&](const LatentSpan& b, int page) { table_.score_latents[kv](b, page, page + 1); });
        each_of(kMaxBundles, soften);
        each_of(slices(s), mix);
    } else {
        each_of(1, [&](const LatentSpan& b, int) {
            table_.score_latents[kv](b, 0, kSpanPages);
            for (int i = 0; i < b.num_bundles; i++) soften(b, i);
            table_.mix_latents[kv](b, 0, rank);
        });
    }
}

// The parts of a wave into what is merged of the waves before, in ascending order; tasks that end before position `end` are
// finished with it. What sums are multiplied by is worked out first, so that threads can share a bundle's sums.
void Core::merge_latent_parts(const ModelShape& s, const LatentResults& r, int end) {
    const int rank = s.latent.rank, parts = int(latent_parts_.size()), per_bundle = slices(s);
    const size_t bundle_sums = size_t(rank) * kBundle;
    std::vector<int> first_part;  // of each task that has one, and the end
    for (int i = 0; i < parts; i++)
        if (!i || latent_parts_[i].task != latent_parts_[i - 1].task) first_part.push_back(i);
    first_part.push_back(parts);
    for (int i = 0; i < parts; i++) {
        const LatentPart& part = latent_parts_[i];
        const LatentTask& task = latent_tasks_[part.task];
        for (int b = 0; b < task.num_bundles; b++) {
            LatentState& merged = r.merged_state[task.first_bundle + b];
            const int result = part.first_result + b;
            if (part.start == 0) merged = r.state[result];
            else if (r.state[result].sum[0] != 0.0f) table_.merge_latent_states(merged, r.state[result], r.factors[result]);
        }
    }
    const int per_task = kMaxBundles * per_bundle;
    pool_.run((int(first_part.size()) - 1) * per_task, 1, [&](int begin_index, int end_index, int) {
        for (int index = begin_index; index < end_index; index++) {
            const int which = index / per_task, b = index % per_task / per_bundle, first = index % per_bundle * kSliceValues, count = std::min(kSliceValues, rank - first);
            const LatentTask& task = latent_tasks_[latent_parts_[first_part[which]].task];
            if (b >= task.num_bundles) continue;
            const int bundle = task.first_bundle + b;
            float* const merged = r.merged + bundle * bundle_sums + size_t(first) * kBundle;
            for (int i = first_part[which]; i < first_part[which + 1]; i++) {
                const int result = latent_parts_[i].first_result + b;
                const float* const sums = r.sums + result * bundle_sums + size_t(first) * kBundle;
                if (latent_parts_[i].start == 0) std::copy_n(sums, size_t(count) * kBundle, merged);
                else if (r.state[result].sum[0] != 0.0f) table_.merge_latent_sums(r.factors[result], merged, sums, count);
            }
            if (task.longest > end) continue;
            int heads;
            float* const out = latent_target(s, bundle, heads);
            table_.finish_latents(r.merged_state[bundle], merged, count, heads, out + first, rank);
        }
    });
}

}  // namespace pocketseek
