// What adapters add to the products of a step: A x once for all its parts, before them; B's share of a tile when the tile is finished, on
// the thread that has it. Rows are worked on by groups that share an adapter, eight at a time, and no row depends on its neighbours.
//
//     few rows      a task is a span of 512 inputs times sixteen ranks; sums of spans are then added ascending, on the calling thread
//     many rows     a task is all spans of sixteen ranks for eight rows, added in the same order
#include <algorithm>

#include "layer.h"

namespace pocketseek {

namespace {

constexpr int kTasksPerThread = 4;  // fewer than that without cutting inputs into spans: cut them

}  // namespace

Core::Targets Core::targets_of(LayerStep step) {
    switch (step) {
        case LayerStep::qkv: return {Target::q, 3};
        case LayerStep::o: return {Target::o, 1};
        case LayerStep::gate: return {Target::gate, 2};
        case LayerStep::down: return {Target::down, 1};
        default: return {Target::up, 0};
    }
}

// Of these targets among the adapters of the pass, a multiple of 16; 0 if none has any.
int Core::widest_rank(const Batch& batch, int layer, Targets targets) {
    int widest = 0;
    for (const AdaptedRows& group : batch.adapted)
        for (int t = int(targets.first); t < int(targets.first) + targets.count; t++) widest = std::max(widest, group.adapter->of(layer, Target(t)).rank_tiles() * kTileRows);
    return widest;
}

bool Core::plan_raise(const Batch& batch, int layer, Targets targets, int places) {
    raise_ = {};
    const int width = widest_rank(batch, layer, targets);
    if (!width) return false;
    float* const data = grown(raise_inputs_, size_t(targets.count) * places * width);
    raise_ = {&batch, layer, int(targets.first), targets.count, places, width, data};
    return true;
}

// Which of the group's rows are among these: [first, end) of group.rows.
std::pair<int, int> Core::adapted_between(const AdaptedRows& group, int first_row, int num_rows) {
    const auto begin = group.rows.begin(), end = group.rows.end(), first = std::lower_bound(begin, end, first_row);
    return {int(first - begin), int(std::lower_bound(first, end, first_row + num_rows) - begin)};
}

// One span of sixteen ranks, for the rows of `one`.
void Core::project_span(const Projection& one, const RaiseInput& input, int span, float* out) const {
    const AdaptedRows& group = raise_.batch->adapted[one.group];
    const LowRank& part = group.adapter->of(raise_.layer, Target(one.target));
    const int begin = span * kLowRankSpan, count = std::min(kLowRankSpan, part.inputs - begin);
    const float* x[kGroup];
    for (int i = 0; i < one.count; i++) x[i] = input.x + size_t(group.rows[one.first + i] - input.first_row) * input.stride + begin;
    table_.low_rank_project(part.a_tile(one.tile) + size_t(begin) * kTileRows, count, x, one.count, out);
}

// The sums of all spans, [count][16], become B's input.
void Core::store_projection(const Projection& one, float* total) const {
    const AdaptedRows& group = raise_.batch->adapted[one.group];
    const float scale = group.adapter->of(raise_.layer, Target(one.target)).scale;
    for (int i = 0; i < one.count; i++) {
        table_.low_rank_scale(total + i * kTileRows, scale);
        std::copy_n(total + i * kTileRows, kTileRows, raise_.of(one.target, group.rows[one.first + i]) + one.tile * kTileRows);
    }
}

// These targets, which are among the planned ones, for these rows.
void Core::project(Targets targets, const RaiseInput& input) {
    projections_.clear();
    const auto spans_of = [&](const Projection& one) {
        return div_up(raise_.batch->adapted[one.group].adapter->of(raise_.layer, Target(one.target)).inputs, kLowRankSpan);
    };
    size_t partials = 0;
    for (int g = 0; g < int(raise_.batch->adapted.size()); g++) {
        const AdaptedRows& group = raise_.batch->adapted[g];
        const auto [begin, end] = adapted_between(group, input.first_row, input.num_rows);
        for (int t = int(targets.first); t < int(targets.first) + targets.count; t++)
            for (int tile = 0; tile < group.adapter->of(raise_.layer, Target(t)).rank_tiles(); tile++)
                for (int first = begin; first < end; first += kGroup) {
                    projections_.push_back({g, t, tile, first, std::min(kGroup, end - first), partials});
                    partials += size_t(spans_of(projections_.back()));
                }
    }
    const int all = int(projections_.size());
    if (!all) return;
    if (all >= kTasksPerThread * pool_.num_threads()) {
        pool_.run(all, 1, [&](int begin, int end, int) {
            alignas(64) float total[kGroup * kTileRows], next[kGroup * kTileRows];
            for (int task = begin; task < end; task++) {
                const Projection& one = projections_[task];
                project_span(one, input, 0, total);
                for (int span = 1; span < spans_of(one); span++) {
                    project_span(one, input, span, next);
                    table_.low_rank_merge(total, next, one.count);
                }
                store_projection(one, total);
            }
        });
        return;
    }
    constexpr size_t each = kGroup * kTileRows;
    float* const partial = grown(raise_partial_, partials * each);
    pool_.run(int(partials), 1, [&](int begin, int end, int) {
        for (int task = begin; task < end; task++) {
            const auto after = std::upper_bound(projections_.begin(), projections_.end(), size_t(task), [](size_t t, const Projection& p) { return t < p.partial; });
            const Projection& one = *(after - 1);
            project_span(one, input, task - int(one.partial), partial + task * each);
        }
    });
    for (const Projection& one : projections_) {
        float* const total = partial + one.partial * each;
        for (int span = 1; span < spans_of(one); span++) table_.low_rank_merge(total, total + span * each, one.count);
        store_projection(one, total);
    }
}

// values [count][16] of a tile of a product, for rows [row, row + count): those that have an adapter get its share.
void Core::raise(std::optional<Target> target, int tile, int row, int count, float* values) const {
    if (!raise_.batch || !target) return;
    const std::vector<int32_t>& group_of = raise_.batch->adapter_of_row;
    for (int i = 0; i < count;) {
        const int group = group_of[row + i], first = i;
        const float* u[kGroup];
        for (; i < count && i - first < kGroup && group_of[row + i] == group; i++)
            if (group >= 0) u[i - first] = raise_.of(int(*target), row + i);
        if (group < 0) continue;
        const LowRank& part = raise_.batch->adapted[group].adapter->of(raise_.layer, *target);
        if (part.present()) table_.low_rank_add(part.b_tile(tile), part.rank, u, i - first, values + first * kTileRows);
    }
}

}  // namespace pocketseek
