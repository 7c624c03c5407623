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
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

#include "activations.h"
#include "experts.h"
#include "model.h"
#include "pool.h"
#include "table.h"

namespace pocketseek {

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

// Buffers that live from pass to pass and grow to the largest one seen.
class Core {
public:
    Core(const KernelTable& table, int num_threads) : table_(table), pool_(num_threads) {}

    void embed(const Matrix& table, const int32_t* ids, int rows, float* hidden);
    void layer(const ModelShape& shape, const LayerWeights& weights, int layer_index, const Batch& batch, float* hidden);
    // The first half of a layer, up to what o adds to `hidden`. A layer that is done in parts is ended.
    void attention_half(const ModelShape& shape, const LayerWeights& weights, int layer_index, const Batch& batch, float* hidden);
    // A layer with experts in steps (contract.py). Each throws std::invalid_argument, with nothing done, for what does not follow; whatever
    // else runs on this core ends the layer. `chosen`: [rows][experts_per_token].
    void attend_and_route(const ModelShape& shape, const LayerWeights& weights, int layer_index, const Batch& batch, float* hidden, int32_t* chosen);
    void shared_experts(const LayerWeights& weights);
    void experts(const std::vector<std::pair<int, const MlpWeights*>>& ready);
    void end_layer(float* hidden);
    // A part of a layer that has neither latents nor experts. Throws std::invalid_argument, with nothing done, unless it is what comes next: the first part of a layer, or what
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
        std::optional<Target> target = std::nullopt;  // what adapters call the matrix, if they may raise its outputs
    };
    struct AttentionTask { int span, first_row, num_rows, kv_head; };
    struct SpanTask { int task, start; size_t first_result; };
    struct AttentionScratch;

    using Results = std::array<float*, 2>;  // of a pair of tiles

    Activations activations(int rows, int cols, std::initializer_list<const Matrix*> consumers, bool expand = true, bool floats = false);
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
    // What the adapters of the pass bring to the products that are being done, in low_rank.cpp: u = scale * (A x) of every adapted row and
    // each of some targets, which are neighbours among Target. Values are raised where a tile of a product is finished.
    struct Targets { Target first; int count; };
    struct Raise {
        const Batch* batch = nullptr;  // null: nothing is raised
        int layer = 0, first_target = 0, num_targets = 0;
        int places = 0, width = 0;     // a place: a row, or a head of a row; width: floats of a place and target
        float* data = nullptr;         // [target][place][width]

        float* of(int target, int place) const { return data + (size_t(target - first_target) * places + place) * width; }
    };
    struct RaiseInput { const float* x; size_t stride; int first_row, num_rows; };  // x: of the first of these rows
    struct Projection { int group, target, tile, first, count; size_t partial; };  // rows [first, first + count) of the group
    static int widest_rank(const Batch& batch, int layer, Targets targets);
    static Targets targets_of(LayerStep step);
    bool plan_raise(const Batch& batch, int layer, Targets targets, int places);
    void project(Targets targets, const RaiseInput& input);
    void project_rows(Targets targets) { project(targets, {in_.x, size_t(in_.blocks) * kBlock, 0, raise_.batch->rows}); }  // all, from in_
    void project_span(const Projection& one, const RaiseInput& input, int span, float* out) const;
    void store_projection(const Projection& one, float* total) const;
    void raise(std::optional<Target> target, int tile, int row, int count, float* values) const;
    static std::pair<int, int> adapted_between(const AdaptedRows& group, int first_row, int num_rows);
    void multiply_gate(const Matrix& gate, int first_tile, int num_tiles, const Activations& in, int rows, const MlpRows& out);
    void multiply_up(const Matrix& up, int first_tile, int num_tiles, const Activations& in, int rows, const MlpRows& out);
    // Some rows of a pass through one MLP, in experts.cpp.
    struct MlpRun {
        const MlpWeights* weights;
        int inner;
        const int32_t* slots;  // of the rows; null: all rows, for the shared experts
        int count;
    };
    // At most a sweep of them; what it reads and where its results go.
    struct MlpJob {
        const MlpWeights* weights;
        int inner;
        const int32_t* slots;
        int first_row, rows;  // first_row: of x_, where the rows are neighbours there
        bool neighbours;
        Activations in, middle;  // of gate and up, and of down
        MlpRows inner_rows;
    };
    static Forms input_forms(const LayerWeights& w);
    void route(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch, const float* hidden);
    void take_input(const Forms& forms);
    MlpRun shared_run(const LayerWeights& w) const;
    MlpRun expert_run(int expert, const MlpWeights& w) const;
    void mixture_layer(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch, float* hidden);
    void mix(float* hidden);
    void run_mlps(const std::vector<MlpRun>& runs);
    void add_job(const MlpRun& run, int first, int count);
    void run_wave();
    void lay_out_jobs();
    void gather_inputs();
    void multiply_gates();
    void quantise_middles();
    void project_middles(const MlpJob& job);
    void multiply_downs();
    bool expands(int rows, const Matrix& matrix) const { return table_.pair && rows >= kExpandRows && matrix.format == Format::q4p; }
    bool expands_in(const MlpJob& job) const { return expands(job.rows, job.weights->gate) && expands(job.rows, job.weights->up); }
    WideActivations own_rows(int worker);
    template <class Count> int count_tasks(Count count);
    int job_of(int task) const;
    template <class Input, class Find, class Finish> void multiply_jobs(int tasks, size_t pair_bytes, int width, Input input, Find find, Finish finish);
    void multiply_swiglu(const Matrix& gate, const Matrix& up, const Activations& in, int rows, const MlpRows& out);
    // Whatever was done in parts or steps is over.
    void interrupt() { expected_.reset(), mixture_begun_ = false; }
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
    void run_step(const ModelShape& s, const LayerWeights& w, int layer_index, LayerStep step, const Batch& batch, float* hidden);
    void begin_step(const ModelShape& s, const LayerWeights& w, int layer_index, LayerStep step, const Batch& batch, const float* hidden);
    void prepare_input(const ModelShape& s, const LayerWeights& w, LayerStep step, int rows, const float* hidden, bool floats);
    void multiply_part(const ModelShape& s, const LayerWeights& w, const LayerPart& part, int rows, float* hidden);
    template <class Finish> void multiply_inner(const Matrix& matrix, const Activations& in, int rows, Finish finish);
    template <class Find, class Finish> void multiply_pairs(int pairs, size_t stride, const Activations& in, int rows, Find find, Finish finish);
    template <class Finish> void multiply_expanded(const TilePair& pair, const Activations& in, int first, int last, float* out, Finish& finish);
    size_t pair_floats(const Panel& panel) const;
    static bool is_expanded(const TilePair& pair, const Activations& in);
    template <class Find> static void gather(int begin, int end, int most, const Activations& in, Find& find, Together& all);
    void multiply_tiles(const Together& tiles, const Together* following, const Activations& in, int row, int count, float* out) const;
    template <class Find, class Finish>
    int multiply_together(int begin, int end, int piece_end, int num_pairs, const Activations& in, int first, int last, int worker, Find& find, Finish& finish);
    void store_keys_values(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch);
    void attend(const ModelShape& s, int layer_index, const Batch& batch);
    void plan_attention(const ModelShape& s, const Batch& batch, int block_rows);
    void pack_queries(const ModelShape& s, const AttentionTask& task, float* packed) const;
    void attend_chunk(const ModelShape& s, int layer_index, const RowSpan& span, const AttentionTask& task, int first, int start,
                      const AttentionScratch& scratch, float* sums, SpanState* state) const;
    float* attention_target(const ModelShape& s, const AttentionTask& task, int i);
    void attend_whole(const ModelShape& s, int layer_index, const RowSpan& span, const AttentionTask& task, const AttentionScratch& scratch);
    void attend_by_spans(const ModelShape& s, int layer_index, const Batch& batch, int block_queries);

    // Attention over latents. A task: bundles of one sequence, counted from the first row of a block of rows.
    struct LatentRows { int first, count; };
    struct LatentQueries {
        float* data;
        int stride;

        float* of(const ModelShape& s, int row, int head) const { return data + size_t(row) * stride + head * s.head_dim; }
    };
    struct LatentTask { int span, first_bundle, num_bundles, longest; };
    struct LatentPart { int task, start, first_result; };  // a span of a task
    struct LatentScratch;
    struct LatentResults;
    void latent_attention(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch, const float* hidden);
    LatentQueries latent_queries(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch, const float* hidden);
    void store_latents(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch, const LatentQueries& queries);
    template <class Values, class Finish>
    void multiply_heads(const Matrix& matrix, int heads, int cols, int rows, Values values, Finish finish);
    template <class Values> void project_heads(Target target, int heads, LatentRows block, Values values);
    void raise_head(Target target, int tile, int row, int place, float* values) const;
    void plan_latents(const ModelShape& s, const Batch& batch, LatentRows block);
    void pack_bundle(const ModelShape& s, LatentRows block, int bundle, const LatentQueries& queries, float* packed) const;
    LatentSpan latent_span(const ModelShape& s, int layer_index, const Batch& batch, LatentRows block, const LatentTask& task, int start) const;
    float* latent_target(const ModelShape& s, int bundle, int& heads);
    void attend_latents(const ModelShape& s, int layer_index, const Batch& batch, LatentRows block, const LatentQueries& queries);
    void latents_by_spans(const ModelShape& s, int layer_index, const Batch& batch, LatentRows block, const LatentQueries& queries);
    void run_latent_parts(const ModelShape& s, int layer_index, const Batch& batch, LatentRows block, const LatentResults& results);
    void merge_latent_parts(const ModelShape& s, const LatentResults& results, int end);

    const KernelTable& table_;
    Pool pool_;
    ActivationBuffers input_;
    PanelBuffers panel_;
    std::vector<float> pair_, qkv_, mixed_, mlp_, scratch_, partial_, q_, latents_, packed_, scores_;
    std::optional<Expected> expected_;  // within a layer that is done in parts
    Activations in_;                    // of the step that is being done
    MlpRows mlp_rows_;                  // of this layer, from gate on
    Raise raise_;                       // of the step that is being done
    std::vector<float> raise_inputs_, raise_partial_, raise_middles_;
    std::vector<Projection> projections_;
    std::vector<AttentionTask> tasks_;
    std::vector<SpanTask> span_tasks_;
    std::vector<LatentTask> latent_tasks_;
    std::vector<LatentPart> latent_parts_;
    Mixture mixture_;
    bool mixture_begun_ = false;
    Batch mixture_rows_;     // of the layer with experts: who has which adapter, for the shared experts
    int mixture_index_ = 0;  // which layer that is
    Forms x_forms_;   // that x_ has
    Activations x_;   // the normed rows of the layer with experts, as f32 and in the forms that were asked for so far
    ActivationBuffers x_buffers_, gathered_, middle_, own_;  // own_: of each worker, rows on their way into a panel
    int own_blocks_ = 0;  // of a worker's place in own_: jobs of unequal widths are done at the same time
    PanelBuffers middle_panel_;
    std::vector<float> scores_of_experts_, outputs_, shared_;
    std::vector<MlpJob> jobs_;    // of a wave
    std::vector<int> job_tasks_;  // where each job's tasks of a loop begin, and the end
};

}  // namespace pocketseek
