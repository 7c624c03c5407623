// Low-rank adapters (LoRA): what a row's adapter adds to the products of a layer, y += B (scale * (A x)).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "formats.h"

namespace pocketseek {

enum class Target { q, k, v, o, gate, up, down };
inline constexpr int kNumTargets = 7;
inline constexpr const char* kTargetNames[] = {"q", "k", "v", "o", "gate", "up", "down"};
inline constexpr int kMaxRank = 256;

// Both in f16, lanes side by side, and nothing but the rank padded:
//
//     a  [ranks / 16][inputs][16]        sixteen ranks of one input, ascending inputs
//     b  [outputs / 16][rank][16]        sixteen outputs of one rank, as a tile of the product's results
struct LowRank {
    int rank = 0, inputs = 0, outputs = 0;
    float scale = 0.0f;
    const uint16_t *a = nullptr, *b = nullptr;

    bool present() const { return rank > 0; }
    int rank_tiles() const { return div_up(rank, kTileRows); }
    const uint16_t* a_tile(int tile) const { return a + size_t(tile) * inputs * kTileRows; }
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
