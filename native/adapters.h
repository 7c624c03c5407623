// Low-rank adapters (LoRA): what a row's adapter adds to the products of a layer, y += B (scale * (A x)).
#pragma once

#include <array>
#include <cstdint>
#include <iterator>
#include <vector>

#include "formats.h"

namespace pocketseek {

// In this order, so that those that have an input in common are neighbours: q_a and kv_a, kv_a and q, q to v, gate and up, shared ones.
// k_b and v_b are the halves of kv_b in absorbed form (docs/moe.md).
enum class Target { q_a, kv_a, q, k, v, o, gate, up, down, q_b, k_b, v_b, shared_gate, shared_up, shared_down };
inline constexpr const char* kTargetNames[] = {"q_a", "kv_a", "q", "k", "v", "o", "gate", "up", "down", "q_b", "k_b", "v_b", "shared_gate", "shared_up", "shared_down"};
inline constexpr int kNumTargets = int(std::size(kTargetNames));
inline constexpr int kMaxRank = 256;

// Both in f16, lanes side by side, and nothing but the rank padded:
//
//     a  [ranks / 16][inputs][16]        sixteen ranks of one input, ascending inputs
//     b  [outputs / 16][rank][16]        sixteen outputs of one rank, as a tile of the product's results
//
// Of k_b every head has an `a` of its own, one after the other, and all have the same b.
struct LowRank {
    int rank = 0, inputs = 0, outputs = 0;
    bool by_heads = false;  // one a for each head
    float scale = 0.0f;
    const uint16_t *a = nullptr, *b = nullptr;

    bool present() const { return rank > 0; }
    int rank_tiles() const { return div_up(rank, kTileRows); }
    const uint16_t* a_tile(int tile, int head = 0) const { return a + (size_t(by_heads ? head : 0) * rank_tiles() + tile) * inputs * kTileRows; }
    const uint16_t* b_tile(int tile) const { return b + size_t(tile) * rank * kTileRows; }
};

struct Adapter {
    std::vector<std::array<LowRank, kNumTargets>> layers;

    const LowRank& of(int layer, Target target) const { return layers[layer][int(target)]; }
};

// Rows of a pass that have the same adapter.
struct AdaptedRows {
    const Adapter* adapter;
    std::vector<int32_t> rows;  // ascending
};

}  // namespace pocketseek
