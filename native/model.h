// What passes between a model and the core: its shape, the weights of a layer, the rows of a pass.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "adapters.h"
#include "experts.h"
#include "formats.h"
#include "kv_layout.h"

namespace pocketseek {

// Sizes of attention over latents (docs/moe.md). A head's query has nope_dim values and then rope_dim rotated ones; the cache holds a
// latent of `rank` values, and rope_dim rotated ones, for all heads; a head's output has value_dim. q_rank: of the vector that queries
// are made from; 0: that is the row itself. rank 0: the model has keys and values of its own, and nothing here means anything.
struct LatentShape {
    int rank = 0, nope_dim = 0, rope_dim = 0, value_dim = 0, q_rank = 0;
    float score_factor = 1.0f;

    int stored() const { return rank + rope_dim; }
    bool operator==(const LatentShape&) const = default;
};

struct ModelShape {
    int hidden, intermediate, heads, kv_heads, head_dim;
    float eps;
    KvFormat kv_format = KvFormat::f16;
    LatentShape latent{};
    MoeShape moe{};

    int group() const { return heads / kv_heads; }
    KvShape kv() const { return {kv_format, kv_heads, head_dim}; }
    LatentPages latent_pages() const { return {kv_format, latent.rank, latent.rope_dim}; }
    size_t layer_bytes() const { return latent.rank ? latent_pages().layer_bytes() : kv().layer_bytes(); }  // of a page
    int rotated() const { return latent.rank ? latent.rope_dim : head_dim; }                                // values of a head that rope is for
    int attended() const { return heads * (latent.rank ? latent.value_dim : head_dim); }                    // what goes into o
    bool operator==(const ModelShape&) const = default;
};

inline uint64_t next_id() {
    static std::atomic<uint64_t> last{0};
    return ++last;
}

// Absent vectors (biases, q/k norms) are null.
struct LayerWeights {
    uint64_t id = next_id();
    const float *attn_norm = nullptr, *mlp_norm = nullptr;
    const float *q_bias = nullptr, *k_bias = nullptr, *v_bias = nullptr, *q_norm = nullptr, *k_norm = nullptr;
    Matrix q, k, v, o, gate, up, down;
    // Latent attention has these instead of k and v, and q_a and q_b instead of q if there is a q_rank. A head's rows of k_b
    // (rank of them) and v_b (value_dim) are whole tile rows.
    const float *q_a_norm = nullptr, *kv_a_norm = nullptr;
    Matrix q_a, q_b, kv_a, k_b, v_b;
    // A layer with experts has these instead of gate, up and down. experts: all of them, or none if they come one by one.
    Matrix router;
    const float* router_bias = nullptr;
    MlpWeights shared;
    std::vector<MlpWeights> experts;

    std::array<Format, 7> formats() const { return {q.format, k.format, v.format, o.format, gate.format, up.format, down.format}; }
};

// Consecutive rows of the pass that belong to one sequence, at consecutive positions.
struct RowSpan {
    int first_row, num_rows, first_position;
    const uint8_t* const* pages;  // covering positions 0 .. first_position + num_rows - 1
};

struct Batch {
    uint64_t id = next_id();  // of the pass
    int rows = 0;
    std::vector<RowSpan> spans;
    const float *cosine = nullptr, *sine = nullptr;  // [rows][head_dim / 2]
    std::vector<AdaptedRows> adapted;    // none: no row has an adapter
    std::vector<int32_t> adapter_of_row; // [rows] index into `adapted`, or -1; empty if there are none

    const RowSpan& span_of(int row) const {
        const auto after = std::upper_bound(spans.begin(), spans.end(), row, [](int r, const RowSpan& span) { return r < span.first_row; });
        return *(after - 1);
    }
    // The next rows, all of one sequence; adapter: null for none.
    void add_rows(int count, const Adapter* adapter) {
        int group = -1;
        if (adapter) {
            const auto same = std::find_if(adapted.begin(), adapted.end(), [=](const AdaptedRows& one) { return one.adapter == adapter; });
            group = int(same - adapted.begin());
            if (same == adapted.end()) adapted.push_back({adapter, {}});
        }
        if (adapter || !adapted.empty()) adapter_of_row.resize(rows, -1);
        for (int i = 0; i < count; i++, rows++)
            if (!adapted.empty()) adapter_of_row.push_back(group), group < 0 ? void() : adapted[group].rows.push_back(rows);
    }
};

}  // namespace pocketseek
