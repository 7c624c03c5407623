// Layers with experts (docs/moe.md, "Experts"): their shape, their weights, and what is known of the one that was begun.
#pragma once

#include <cstdint>
#include <vector>

#include "formats.h"
#include "table.h"

namespace pocketseek {

inline constexpr int kMaxExperts = 4096;

// MoeShape of shapes.py, where each is explained. num_experts 0: the model has none, and nothing here means anything.
struct MoeShape {
    int num_experts = 0, experts_per_token = 0, expert_size = 0, shared_size = 0;
    bool sigmoid = false;  // or softmax
    int num_groups = 1, groups_per_token = 1;
    bool best_two = false;  // a group is as good as the sum of its best two, or as its best one
    bool normalised = false;
    float weight_factor = 1.0f;

    bool operator==(const MoeShape&) const = default;
};

struct MlpWeights {
    Matrix gate, up, down;
};

// One row: whom it chooses by `scores` (in: the router's outputs), ascending, and with what weights. `wanted`: num_experts of scratch.
void choose_experts(const KernelTable& table, const MoeShape& shape, const float* bias, float* scores, float* wanted, int32_t* chosen, float* weights);

// A layer between its router and its end. A slot is a place of a row: row * experts_per_token + place.
struct Mixture {
    enum class State : uint8_t { unchosen, missing, done };

    uint64_t layer = 0;  // the id of its weights
    const float* hidden = nullptr;
    MoeShape shape;
    int width = 0, rows = 0;  // of hidden
    bool shared_done = false;
    std::vector<int32_t> chosen;  // [rows][experts_per_token], ascending in a row
    std::vector<float> weights;   // likewise
    std::vector<int32_t> slots;   // of expert after expert, ascending
    std::vector<int32_t> first;   // [num_experts + 1] where an expert's slots begin
    std::vector<State> state;     // of each expert

    int count(int expert) const { return first[expert + 1] - first[expert]; }
    void sort_slots();  // from `chosen`: slots, first and state
    size_t bytes() const { return capacity(chosen) + capacity(weights) + capacity(slots) + capacity(first) + capacity(state); }

private:
    template <class T> static size_t capacity(const std::vector<T>& buffer) { return buffer.capacity() * sizeof(T); }
};

}  // namespace pocketseek
