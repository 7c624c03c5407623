// One step of the pass: embedding, a transformer layer, the head. Phases over rows or tile rows, each a parallel loop.
//
// A layer is five steps with a product of matrices in each. A step can be done in parts, some tile rows at a time, so that weights can
// be read from storage meanwhile; only the tile rows of a part are read from memory by it:
//
//     step      begins with              tile rows                  ends with
//     qkv       norm                     of q, then k, then v       rope, keys and values into their pages, attention
//     o         attention's output       of o
//     gate      norm                     of gate
//     up                                 of up                      silu(gate) * up
//     down      gate's and up's output   of down
//
// The bits are the same however a step is cut, since an output is one sum over the inputs whatever is computed beside it. The parts follow
// the order in which matrices lie in a file, so that reading them is one long run; a whole layer does gate and up together, tile by tile.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <optional>
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
    bool operator==(const ModelShape&) const = default;
};

// Absent vectors (biases, q/k norms) are null.
struct LayerWeights {
    const float *attn_norm = nullptr, *mlp_norm = nullptr;
    const float *q_bias = nullptr, *k_bias = nullptr, *v_bias = nullptr, *q_norm = nullptr, *k_norm = nullptr;
    Matrix q, k, v, o, gate, up, down;

    std::array<Format, 7> formats() const { return {q.format, k.format, v.format, o.format, gate.format, up.format, down.format}; }
};

enum class LayerStep { qkv, o, gate, up, down };
inline constexpr const char* kStepNames[] = {"qkv", "o", "gate", "up", "down"};
inline constexpr int kNumSteps = 5;

inline int step_tiles(const ModelShape& s, LayerStep step) {
    const auto tiles = [](int outputs) { return div_up(outputs, kTileRows); };
    switch (step) {
        case LayerStep::qkv: return tiles(s.heads * s.head_dim) + 2 * tiles(s.kv_heads * s.head_dim);
        case LayerStep::gate:
        case LayerStep::up: return tiles(s.intermediate);
        default: return tiles(s.hidden);
    }
}

// Parts of a step come in ascending order, without gaps: tile 0 begins the step, the last tile ends it.
struct LayerPart {
    LayerStep step;
    int first_tile, num_tiles;
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

    static uint64_t next_id() {
        static std::atomic<uint64_t> last{0};
        return ++last;
    }
};

// Room for n values; what was there is lost when it grows, so that old and new never take memory together.
template <class T> T* grown(std::vector<T>& buffer, size_t n) {
    if (buffer.size() < n) {
        std::vector<T>().swap(buffer);
        buffer.resize(n);
    }
    return buffer.data();
}

// The first address from p on that begins a cache line.
template <class T> T* aligned(T* p) { return p + (-reinterpret_cast<uintptr_t>(p) & 63) / sizeof(T); }

// Buffers that live from pass to pass and grow to the largest one seen.
class Core {
public:
    Core(const KernelTable& table, int num_threads) : table_(table), pool_(num_threads) {}

    void embed(const Matrix& table, const int32_t* ids, int rows, float* hidden);
    void layer(const ModelShape& shape, const LayerWeights& weights, int layer_index, const Batch& batch, float* hidden);
    // A part of a layer. Throws std::invalid_argument, with nothing done, unless it is what comes next: the first part of a layer, or what
    // follows the part before of the same pass. Whatever else runs between two parts ends the layer, as does an exception of another kind.
    void layer_part(const ModelShape& shape, const LayerWeights& weights, int layer_index, const LayerPart& part, const Batch& batch, float* hidden);
    // logits[num_chosen][table.rows] of the chosen rows of hidden
    void head(const ModelShape& shape, const float* norm, const Matrix& table, const float* hidden, const int32_t* chosen, int num_chosen, float* logits);
    // The columns of some tile rows of the table; the others stay as they are.
    void head_part(const ModelShape& shape, const float* norm, const Matrix& table, const float* hidden, const int32_t* chosen, int num_chosen, float* logits,
                   int first_tile, int num_tiles);
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
    void multiply(const std::vector<Product>& whole, int first_tile, int num_tiles, const Activations& in, int rows);
    // Rows of the feed-forward's inner width as they are computed: [group of rows][tile][row of the group][16], so that a tile's results
    // are written as one piece.
    struct MlpRows {
        int group_rows = 0, tiles = 0;
        float* data = nullptr;

        float* tile(int row, int index) const { return data + ((size_t(row / group_rows) * tiles + index) * group_rows + row % group_rows) * kTileRows; }
    };
    void quantise_mlp(int n, int rows, const Activations& out, const MlpRows& mlp);
    // out = values of gate; out = silu(out) * values of up; or both at once
    void multiply_gate(const Matrix& gate, int first_tile, int num_tiles, const Activations& in, int rows, const MlpRows& out);
    void multiply_up(const Matrix& up, int first_tile, int num_tiles, const Activations& in, int rows, const MlpRows& out);
    void multiply_swiglu(const Matrix& gate, const Matrix& up, const Activations& in, int rows, const MlpRows& out);
    // What comes after the parts of a layer that are done.
    struct Expected {
        uint64_t pass;
        const float* hidden;
        ModelShape shape;
        std::array<Format, 7> formats;
        int layer;
        LayerStep step;
        int tile;
    };
    void check_expected(const ModelShape& s, const LayerWeights& w, int layer_index, const LayerPart& part, const Batch& batch, const float* hidden) const;
    void run_part(const ModelShape& s, const LayerWeights& w, int layer_index, const LayerPart& part, const Batch& batch, float* hidden);
    void begin_step(const ModelShape& s, const LayerWeights& w, LayerStep step, int rows, const float* hidden);
    void multiply_part(const ModelShape& s, const LayerWeights& w, const LayerPart& part, int rows, float* hidden);
    template <class Finish> void multiply_inner(const Matrix& matrix, const Activations& in, int rows, Finish finish);
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
    std::optional<Expected> expected_;  // within a layer that is done in parts
    Activations in_;                    // of the step that is being done
    MlpRows mlp_rows_;                  // of this layer, from gate on
    std::vector<AttentionTask> tasks_;
    std::vector<SpanTask> span_tasks_;
};

}  // namespace pocketseek
