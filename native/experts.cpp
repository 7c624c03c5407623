// The second half of a layer with experts, at once or in steps (docs/moe.md, "Experts"):
//
//     norm > router > whom each row chooses          all rows
//     the MLPs: shared experts and chosen ones       at once, or as they are there; expert_jobs.cpp
//     weighted sum, added to the hidden rows         all rows
//
// Every expert's outputs have a place of their own until the end, so it does not matter which is there first.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "layer.h"
#include "quantise_rows.h"

namespace pocketseek {

namespace {

constexpr int kMixedColumns = 1024;  // of a row, summed up as one task
constexpr int kRowsPerPiece = 8;     // whose choice is one piece of a loop

void require(bool condition, const std::string& message) {
    if (!condition) throw std::invalid_argument(message);
}

}  // namespace

// Of the row after the norm, as far as it is known before anybody was chosen; f32 always, since other forms are made from it.
Forms Core::input_forms(const LayerWeights& w) {
    Forms forms{&w.router};
    forms.floats = true;
    if (w.shared.gate.present()) forms.add({&w.shared.gate, &w.shared.up});
    for (const MlpWeights& expert : w.experts) forms.add({&expert.gate, &expert.up});
    return forms;
}

// Forms of x_ that are not there yet.
void Core::take_input(const Forms& forms) {
    const Forms missing = forms.without(x_forms_);
    if (!missing.any()) return;
    const int rows = mixture_.rows, width = mixture_.width;
    Activations more = x_buffers_.take(missing, size_t(rows) * x_.blocks, size_t(rows) * x_.blocks, size_t(rows) * x_.superblocks());
    more.blocks = x_.blocks;
    quantise_rows(width, rows, more, [&](int row, int) { return x_.x + size_t(row) * x_.blocks * kBlock; });
    if (more.q) x_.q = more.q, x_.scale = more.scale, x_.sum8 = more.sum8, x_.sum = more.sum;
    if (more.wide.q) x_.wide = more.wide;
    x_forms_.add(missing);
}

// Norm, router and choice; room for what comes of it.
void Core::route(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch, const float* hidden) {
    const MoeShape& moe = s.moe;
    const int rows = batch.rows;
    Mixture& m = mixture_;
    mixture_index_ = layer_index;
    mixture_rows_.rows = rows, mixture_rows_.adapted = batch.adapted, mixture_rows_.adapter_of_row = batch.adapter_of_row;
    m.layer = w.id, m.hidden = hidden, m.shape = moe, m.width = s.hidden, m.rows = rows, m.shared_done = !moe.shared_size;
    m.chosen.resize(size_t(rows) * moe.experts_per_token), m.weights.resize(m.chosen.size());
    const int blocks = div_up(s.hidden, kBlock), superblocks = div_up(blocks, kSuperBlocks);
    x_forms_ = input_forms(w);
    x_ = x_buffers_.take(x_forms_, size_t(rows) * blocks, size_t(rows) * blocks, size_t(rows) * superblocks);
    x_.blocks = blocks;
    grown(outputs_, m.chosen.size() * s.hidden);
    if (moe.shared_size) grown(shared_, size_t(rows) * s.hidden);
    if (rows) {
        float* const scores = grown(scores_of_experts_, size_t(rows) * moe.num_experts);
        normalise(hidden, w.mlp_norm, s.eps, s.hidden, rows, nullptr, x_);
        multiply({{&w.router, scores, moe.num_experts, Mode::store}}, 0, w.router.tiles(), x_, rows);
        float* const wanted = grown(scratch_, size_t(pool_.num_threads()) * moe.num_experts);
        pool_.run(rows, kRowsPerPiece, [&](int begin, int end, int worker) {
            for (int row = begin; row < end; row++) {
                const size_t first = size_t(row) * moe.experts_per_token;
                choose_experts(table_, moe, w.router_bias, scores + size_t(row) * moe.num_experts, wanted + size_t(worker) * moe.num_experts, &m.chosen[first], &m.weights[first]);
            }
        });
    }
    m.sort_slots();
}

Core::MlpRun Core::shared_run(const LayerWeights& w) const { return {&w.shared, mixture_.shape.shared_size, nullptr, mixture_.rows}; }

Core::MlpRun Core::expert_run(int expert, const MlpWeights& w) const {
    return {&w, mixture_.shape.expert_size, mixture_.slots.data() + mixture_.first[expert], mixture_.count(expert)};
}

// hidden += shared outputs + weight * output, one chosen expert after the other.
void Core::mix(float* hidden) {
    const Mixture& m = mixture_;
    const int places = m.shape.experts_per_token, parts = div_up(m.width, kMixedColumns);
    pool_.run(m.rows * parts, 1, [&](int begin, int end, int) {
        for (int task = begin; task < end; task++) {
            const size_t row = task / parts, column = size_t(task % parts) * kMixedColumns, at = row * m.width + column;
            table_.mix_outputs(m.shape.shared_size ? shared_.data() + at : nullptr, outputs_.data() + row * places * m.width + column, m.width,
                               &m.weights[row * places], places, std::min(kMixedColumns, m.width - int(column)), hidden + at);
        }
    });
}

// Of a layer that holds all its experts.
void Core::mixture_layer(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch, float* hidden) {
    route(s, w, layer_index, batch, hidden);
    std::vector<MlpRun> runs;
    if (s.moe.shared_size) runs.push_back(shared_run(w));
    for (int expert = 0; expert < s.moe.num_experts; expert++)
        if (mixture_.count(expert)) runs.push_back(expert_run(expert, w.experts[expert]));
    run_mlps(runs);
    mix(hidden);
}

void Core::attend_and_route(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch, float* hidden, int32_t* chosen) {
    require(w.router.present(), "layer " + std::to_string(layer_index) + " has no experts");
    attention_half(s, w, layer_index, batch, hidden);
    const ExactFloats exact;
    route(s, w, layer_index, batch, hidden);
    std::copy(mixture_.chosen.begin(), mixture_.chosen.end(), chosen);
    mixture_begun_ = true;
}

static constexpr const char* kNotBegun = "no layer with experts was begun, or something else ran since";

void Core::shared_experts(const LayerWeights& w) {
    Mixture& m = mixture_;
    require(mixture_begun_, kNotBegun);
    require(w.id == m.layer, "another layer was begun");
    if (!m.shape.shared_size) return;
    require(!m.shared_done, "the shared experts of this layer are computed already");
    const ExactFloats exact;
    run_mlps({shared_run(w)});
    m.shared_done = true;
}

void Core::experts(const std::vector<std::pair<int, const MlpWeights*>>& ready) {
    Mixture& m = mixture_;
    require(mixture_begun_, kNotBegun);
    std::vector<MlpRun> runs;
    for (const auto& [expert, weights] : ready) {
        const bool wanted = expert >= 0 && expert < m.shape.num_experts && m.state[expert] == Mixture::State::missing;
        require(wanted, "expert " + std::to_string(expert) + " was chosen by no row, or is computed already");
        runs.push_back(expert_run(expert, *weights));
    }
    const ExactFloats exact;
    run_mlps(runs);
    for (const auto& one : ready) m.state[one.first] = Mixture::State::done;
}

void Core::end_layer(float* hidden) {
    const Mixture& m = mixture_;
    require(mixture_begun_, kNotBegun);
    require(hidden == m.hidden, "a layer ends in the hidden rows that it began with");
    require(m.shared_done, "the layer is not complete: its shared experts were not computed");
    const auto missing = std::find(m.state.begin(), m.state.end(), Mixture::State::missing);
    require(missing == m.state.end(), "the layer is not complete: expert " + std::to_string(missing - m.state.begin()) + " was not computed");
    const ExactFloats exact;
    mix(hidden);
    interrupt();
}

}  // namespace pocketseek
