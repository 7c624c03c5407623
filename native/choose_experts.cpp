// Whom a row chooses: plain loops, the same on every instruction set.
#include <algorithm>
#include <cmath>

#include "experts.h"

namespace pocketseek {

namespace {

constexpr float kLeastSum = 1e-20f;  // what chosen weights are divided by is more

// The `count` largest of n values, of equal ones the first; ascending. Not a number counts as the smallest, wherever one has the choice.
void largest(const float* values, int n, int count, int32_t* found) {
    bool taken[kMaxExperts] = {};
    for (int i = 0; i < count; i++) {
        int best = -1;
        for (int j = 0; j < n; j++)
            if (!taken[j] && (best < 0 || values[j] > values[best] || (std::isnan(values[best]) && !std::isnan(values[j])))) best = j;
        taken[best] = true, found[i] = best;
    }
    std::sort(found, found + count);
}

// Minus infinity for all outside of the best groups.
void keep_best_groups(const MoeShape& s, float* wanted) {
    float worth[kMaxExperts];
    int32_t best[kMaxExperts];
    bool is_best[kMaxExperts] = {};
    const int size = s.num_experts / s.num_groups;
    for (int g = 0; g < s.num_groups; g++) {
        float first = -INFINITY, second = -INFINITY;
        for (const float* value = wanted + g * size; value < wanted + (g + 1) * size; value++) {
            if (*value > first) second = first, first = *value;
            else if (*value > second) second = *value;
        }
        worth[g] = s.best_two ? first + second : first;
    }
    largest(worth, s.num_groups, s.groups_per_token, best);
    for (int i = 0; i < s.groups_per_token; i++) is_best[best[i]] = true;
    for (int expert = 0; expert < s.num_experts; expert++)
        if (!is_best[expert / size]) wanted[expert] = -INFINITY;
}

}  // namespace

void choose_experts(const KernelTable& table, const MoeShape& s, const float* bias, float* scores, float* wanted, int32_t* chosen, float* weights) {
    (s.sigmoid ? table.sigmoid : table.softmax)(scores, s.num_experts);
    for (int i = 0; i < s.num_experts; i++) wanted[i] = bias ? scores[i] + bias[i] : scores[i];
    if (s.groups_per_token < s.num_groups) keep_best_groups(s, wanted);
    largest(wanted, s.num_experts, s.experts_per_token, chosen);
    float total = 0.0f;
    for (int i = 0; i < s.experts_per_token; i++) total += scores[chosen[i]];
    for (int i = 0; i < s.experts_per_token; i++) {
        const float weight = s.normalised ? scores[chosen[i]] / (total + kLeastSum) : scores[chosen[i]];
        weights[i] = weight * s.weight_factor;
    }
}

void Mixture::sort_slots() {
    first.assign(shape.num_experts + 1, 0);
    for (const int32_t expert : chosen) first[expert + 1]++;
    state.assign(shape.num_experts, State::unchosen);
    for (int expert = 0; expert < shape.num_experts; expert++) {
        if (first[expert + 1]) state[expert] = State::missing;
        first[expert + 1] += first[expert];
    }
    slots.resize(chosen.size());
    std::vector<int32_t> next(first.begin(), first.end() - 1);
    for (int32_t slot = 0; slot < int32_t(chosen.size()); slot++) slots[next[chosen[slot]]++] = slot;
}

}  // namespace pocketseek
