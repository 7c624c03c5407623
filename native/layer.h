// One step of the pass: embedding, a transformer layer, the head. Phases over rows or tile rows, each a parallel loop.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "formats.h"
#include "kv_layout.h"
#include "pool.h"
#include "table.h"

namespace pocketseek {

struct ModelShape {
    int hidden, intermediate, heads, kv_heads, head_dim;
    float eps;
    KvFormat kv_format = KvFormat::f16;

    int group() const { return heads / kv_heads; }
    KvShape kv() const { return {kv_format, kv_heads, head_dim}; }
};

// Absent vectors (biases, q/k norms) are null.
struct LayerWeights {
    const float *attn_norm = nullptr, *mlp_norm = nullptr;
    const float *q_bias = nullptr, *k_bias = nullptr, *v_bias = nullptr, *q_norm = nullptr, *k_norm = nullptr;
    Matrix q, k, v, o, gate, up, down;
};

// Consecutive rows of the pass that belong to one sequence, at consecutive positions.
struct RowSpan {
    int first_row, num_rows, first_position;
    const uint8_t* const* pages;  // covering positions 0 .. first_position + num_rows - 1
};

struct Batch {
    int rows = 0;
    std::vector<RowSpan> spans;
    const float *cosine = nullptr, *sine = nullptr;  // [rows][head_dim / 2]
};

// Room for n values; what was there is lost when it grows, so that old and new never take memory together.
template <class T> T* grown(std::vector<T>& buffer, size_t n) {
    if (buffer.size() < n) {
        std::vector<T>().swap(buffer);
        buffer.resize(n);
    }
    return buffer.data();
}

// Buffers that live from pass to pass and grow to the largest one seen.
class Core {
public:
    Core(const KernelTable& table, int num_threads) : table_(table), pool_(num_threads) {}

    void embed(const Matrix& table, const int32_t* ids, int rows, float* hidden);
    void layer(const ModelShape& shape, const LayerWeights& weights, int layer_index, const Batch& batch, float* hidden);
    // logits[num_chosen][table.rows] of the chosen rows of hidden
    void head(const ModelShape& shape, const float* norm, const Matrix& table, const float* hidden, const int32_t* chosen, int num_chosen, float* logits);
    Pool& pool() { return pool_; }
    size_t workspace_bytes() const;
    const KernelTable& table() const { return table_; }

private:
    enum class Mode { store, add };
    struct Product {
        const Matrix* matrix;
        float* out;
        int stride;
        Mode mode;
    };
    struct AttentionTask { int span, first_row, num_rows, kv_head; };
    struct SpanTask { int task, start; size_t first_result; };
    struct AttentionScratch;

    using Results = std::array<const float*, 2>;  // of a pair of tiles

    Activations activations(int rows, int cols, std::initializer_list<const Matrix*> consumers, bool expand = true);
    template <class Values> void quantise_rows(int n, int rows, const Activations& out, Values values);
    void normalise(const float* x, const float* weight, float eps, int n, int rows, const int32_t* chosen, const Activations& out);
    // Two tile rows that are worked on together: neighbours in a matrix, or a gate tile and its up tile.
    struct TilePair {
        const Matrix* matrix[2];
        int tile[2];
        int count;  // 1 at the end of a matrix with an odd number, and where nothing is expanded

        Format format(int t) const { return matrix[t]->format; }
        const uint8_t* data(int t) const { return matrix[t]->tile(tile[t]); }
    };
    // The tiles of some pairs in a row, to be read together.
    struct Together {
        TilePair pairs[kTogether + 1];  // and one that did not fit
        Format format[kTogether];
        const uint8_t* tile[kTogether];
        int num_pairs, num_tiles;

        bool uniform() const { return std::all_of(format, format + num_tiles, [&](Format f) { return f == format[0]; }); }
    };
    void multiply(const std::vector<Product>& products, const Activations& in, int rows);
    // Rows of the feed-forward's inner width as they are computed: [group of rows][tile][row of the group][16], so that a tile's results
    // are written as one piece.
    struct MlpRows {
        int group_rows, tiles;
        float* data;

        float* tile(int row, int index) const { return data + ((size_t(row / group_rows) * tiles + index) * group_rows + row % group_rows) * kTileRows; }
    };
    void quantise_mlp(int n, int rows, const Activations& out, const MlpRows& mlp);
    void multiply_swiglu(const Matrix& gate, const Matrix& up, const Activations& in, int rows, const MlpRows& out);
    template <class Find, class Finish> void multiply_pairs(int pairs, size_t stride, const Activations& in, int rows, Find find, Finish finish);
    template <class Finish> void multiply_expanded(const TilePair& pair, const Activations& in, int first, int last, int worker, Finish& finish);
    size_t pair_floats(const Panel& panel) const;
    static bool is_expanded(const TilePair& pair, const Activations& in);
    template <class Find> static void gather(int begin, int end, int most, const Activations& in, Find& find, Together& all);
    void multiply_tiles(const Together& tiles, const Together* following, const Activations& in, int row, int count, float* out) const;
    template <class Find, class Finish>
    int multiply_together(int begin, int end, int num_pairs, const Activations& in, int first, int last, int worker, Find& find, Finish& finish);
    void store_keys_values(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch);
    void attend(const ModelShape& s, int layer_index, const Batch& batch);
    void plan_attention(const ModelShape& s, const Batch& batch, int block_rows);
    void pack_queries(const ModelShape& s, const AttentionTask& task, float* packed) const;
    void attend_chunk(const ModelShape& s, int layer_index, const RowSpan& span, const AttentionTask& task, int first, int start,
                      const AttentionScratch& scratch, float* sums, SpanState* state) const;
    float* attention_target(const ModelShape& s, const AttentionTask& task, int i);
    void attend_whole(const ModelShape& s, int layer_index, const RowSpan& span, const AttentionTask& task, const AttentionScratch& scratch);
    void attend_by_spans(const ModelShape& s, int layer_index, const Batch& batch, int block_queries);

    const KernelTable& table_;
    Pool pool_;
    std::vector<int8_t> int8_, wide_int8_;
    std::vector<int32_t> sum8_, wide_sum8_;
    std::vector<uint8_t> panel_;
    std::vector<float> pair_, wide_scale_, panel_scale_, scale_, sum_, x_, qkv_, mixed_, mlp_, scratch_, partial_;
    std::vector<AttentionTask> tasks_;
    std::vector<SpanTask> span_tasks_;
};

}  // namespace pocketseek
