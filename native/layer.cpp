#include "layer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "half.h"
#include "quantise_rows.h"

namespace pocketseek {

namespace {

// D * g of one row and block of q4p, exact in f32.
float two_level_scale(const uint8_t* tile, int blocks, int b, int r) {
    const uint8_t* steps = tile + size_t(blocks) * 256;
    const auto* scales = reinterpret_cast<const uint16_t*>(steps + size_t(blocks) * 8);
    const int step = r < 8 ? steps[b * 8 + r] & 15 : steps[b * 8 + r - 8] >> 4;
    return half_to_float(scales[b / kSuperBlocks * 16 + r]) * float(step);
}

// One row of a tiled matrix as f32, value by value as formats.py defines it.
void dequantise_row(const Matrix& m, int row, float* out) {
    const uint8_t* tile = m.tile(row / kTileRows);
    const int r = row % kTileRows, blocks = m.blocks();
    const auto* planes = reinterpret_cast<const uint16_t*>(tile + size_t(blocks) * quant_bytes(m.format));
    for (int k = 0; k < m.cols; k++) {
        const int b = k / kBlock, in = k % kBlock;
        const float d = is_quantised(m.format) && m.format != Format::q4p ? half_to_float(planes[b * 16 + r]) : 0;
        const uint8_t* block = tile + size_t(b) * quant_bytes(m.format);
        const int byte = block[(in / 8) * 64 + r * 4 + in % 4], nibble = in % 8 < 4 ? byte & 15 : byte >> 4;
        switch (m.format) {
            case Format::q4s: out[k] = d * float(nibble - 8); break;
            case Format::q4a: out[k] = std::fma(d, float(nibble), half_to_float(planes[(blocks + b) * 16 + r])); break;
            case Format::q4p: out[k] = two_level_scale(tile, blocks, b, r) * float(nibble - 8); break;
            case Format::q6s: out[k] = d * float((nibble | (block[256 + in / 16 * 64 + r * 4 + in % 4] >> in / 4 % 4 * 2 & 3) << 4) - 32); break;
            case Format::q8s: out[k] = d * float(int8_t(block[(in / 4) * 64 + r * 4 + in % 4])); break;
            case Format::f16: out[k] = half_to_float(reinterpret_cast<const uint16_t*>(tile)[k * 16 + r]); break;
            case Format::f32: out[k] = reinterpret_cast<const float*>(tile)[k * 16 + r]; break;
        }
    }
}

}  // namespace

size_t Core::workspace_bytes() const {
    return capacity_bytes(pair_, qkv_, mixed_, mlp_, scratch_, partial_, q_, latents_, packed_, scores_, tasks_, span_tasks_, latent_tasks_, latent_parts_) +
           capacity_bytes(scores_of_experts_, outputs_, shared_, jobs_, job_tasks_, raise_inputs_, raise_partial_, raise_middles_, projections_) + input_.bytes() + panel_.bytes() + mixture_.bytes() +
           x_buffers_.bytes() + gathered_.bytes() + middle_.bytes() + own_.bytes() + middle_panel_.bytes();
}

void Core::embed(const Matrix& table, const int32_t* ids, int rows, float* hidden) {
    interrupt();
    const ExactFloats exact;
    for (int row = 0; row < rows; row++) dequantise_row(table, ids[row], hidden + size_t(row) * table.cols);
}

// Buffers for the forms of the input that its consumers need; floats: f32 too. Many rows of the wide form go into a panel, group by group, if `expand`.
Activations Core::activations(int rows, int cols, std::initializer_list<const Matrix*> consumers, bool expand, bool floats) {
    Forms forms(consumers);
    forms.floats |= floats;
    const int blocks = div_up(cols, kBlock), superblocks = div_up(blocks, kSuperBlocks);
    Panel panel;
    int wide_rows = rows;
    if (forms.wide && expand && table_.pair && rows >= kExpandRows) {
        const int groups = div_up(rows, table_.pair_rows);
        panel = panel_from(panel_.take(size_t(groups) * superblocks, table_.pair_rows), 0, groups);
        wide_rows = table_.pair_rows * pool_.num_threads();
    }
    Activations a = input_.take(forms, size_t(rows) * blocks, size_t(wide_rows) * blocks, size_t(wide_rows) * superblocks);
    a.blocks = blocks, a.panel = panel;
    return a;
}

// A task is a superblock of a group of rows, which lies in one piece.
void Core::quantise_mlp(int n, int rows, const Activations& out, const MlpRows& mlp) {
    const Panel& panel = out.panel;
    const int group_rows = panel.values ? panel.group_rows : mlp.group_rows, groups = div_up(rows, group_rows), all = out.superblocks();
    pool_.run(groups * all, 1, [&](int begin, int end, int worker) {
        for (int task = begin; task < end; task++) {
            const int group = task / all, part = task % all, first = group * group_rows, count = std::min(group_rows, rows - first);
            const Activations to = panel.values ? rows_of_group(out, group, worker) : out;
            for (int i = 0; i < count; i++)
                table_.quantise(mlp.tile(first + i, 0), ptrdiff_t(mlp.group_rows) * kTileRows, n, to, panel.values ? i : first + i, part, part + 1);
            if (panel.values) table_.pack(to, count, panel, group, part, part + 1);
        }
    });
}

void Core::normalise(const float* x, const float* weight, float eps, int n, int rows, const int32_t* chosen, const Activations& out) {
    float* scratch = grown(scratch_, size_t(pool_.num_threads()) * n);
    quantise_rows(n, rows, out, [&](int row, int worker) {
        float* y = scratch + size_t(worker) * n;
        table_.rms_norm(x + size_t(chosen ? chosen[row] : row) * n, weight, eps, n, y);
        return y;
    });
}

// The input of a step, from what the steps before left.
void Core::begin_step(const ModelShape& s, const LayerWeights& w, int layer_index, LayerStep step, const Batch& batch, const float* hidden) {
    if (step == LayerStep::up) return;  // its input is gate's
    const bool raises = plan_raise(batch, layer_index, targets_of(step), batch.rows);
    prepare_input(s, w, step, batch.rows, hidden, raises);
    if (raises) project_rows(targets_of(step));
}

void Core::prepare_input(const ModelShape& s, const LayerWeights& w, LayerStep step, int rows, const float* hidden, bool floats) {
    const int q_width = s.heads * s.head_dim, width = q_width + 2 * s.kv_heads * s.head_dim;
    switch (step) {
        case LayerStep::qkv:
            grown(qkv_, size_t(rows) * width);
            grown(mixed_, size_t(rows) * q_width);
            in_ = activations(rows, s.hidden, {&w.q, &w.k, &w.v}, true, floats);
            return normalise(hidden, w.attn_norm, s.eps, s.hidden, rows, nullptr, in_);
        case LayerStep::o:
            in_ = activations(rows, s.attended(), {&w.o}, true, floats);
            return quantise_rows(s.attended(), rows, in_, [&](int row, int) { return mixed_.data() + size_t(row) * s.attended(); });
        case LayerStep::gate: {
            in_ = activations(rows, s.hidden, {&w.gate, &w.up}, w.gate.format == w.up.format, floats);
            normalise(hidden, w.mlp_norm, s.eps, s.hidden, rows, nullptr, in_);
            const int group_rows = in_.panel.values ? in_.panel.group_rows : kGroup, tiles = w.gate.tiles();
            mlp_rows_ = {group_rows, tiles, grown(mlp_, size_t(div_up(rows, group_rows)) * group_rows * tiles * kTileRows)};
            return;
        }
        case LayerStep::up: return;
        case LayerStep::down:
            in_ = activations(rows, s.intermediate, {&w.down}, true, floats);
            return quantise_mlp(s.intermediate, rows, in_, mlp_rows_);
    }
}

void Core::multiply_part(const ModelShape& s, const LayerWeights& w, const LayerPart& part, int rows, float* hidden) {
    const auto products = [&](const std::vector<Product>& all) { multiply(all, part.first_tile, part.num_tiles, in_, rows); };
    switch (part.step) {
        case LayerStep::qkv: {
            const int q_width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim, width = q_width + 2 * kv_width;
            float *q = qkv_.data(), *k = q + q_width, *v = k + kv_width;
            return products({{&w.q, q, width, Mode::store, Target::q}, {&w.k, k, width, Mode::store, Target::k}, {&w.v, v, width, Mode::store, Target::v}});
        }
        case LayerStep::o: return products({{&w.o, hidden, s.hidden, Mode::add, Target::o}});
        case LayerStep::gate: return multiply_gate(w.gate, part.first_tile, part.num_tiles, in_, rows, mlp_rows_);
        case LayerStep::up: return multiply_up(w.up, part.first_tile, part.num_tiles, in_, rows, mlp_rows_);
        case LayerStep::down: return products({{&w.down, hidden, s.hidden, Mode::add, Target::down}});
    }
}

void Core::run_part(const ModelShape& s, const LayerWeights& w, int layer_index, const LayerPart& part, const Batch& batch, float* hidden) {
    if (part.first_tile == 0) begin_step(s, w, layer_index, part.step, batch, hidden);
    multiply_part(s, w, part, batch.rows, hidden);
    if (part.step == LayerStep::qkv && part.first_tile + part.num_tiles == step_tiles(s, part.step)) {
        store_keys_values(s, w, layer_index, batch);
        attend(s, layer_index, batch);
    }
}

void Core::run_step(const ModelShape& s, const LayerWeights& w, int layer_index, LayerStep step, const Batch& batch, float* hidden) {
    run_part(s, w, layer_index, {step, 0, step_tiles(s, step)}, batch, hidden);
}

void Core::attention_half(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch, float* hidden) {
    interrupt();
    if (!batch.rows) return;
    const ExactFloats exact;
    if (s.latent.rank) latent_attention(s, w, layer_index, batch, hidden);
    else run_step(s, w, layer_index, LayerStep::qkv, batch, hidden);
    run_step(s, w, layer_index, LayerStep::o, batch, hidden);
}

void Core::layer(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch, float* hidden) {
    attention_half(s, w, layer_index, batch, hidden);
    if (!batch.rows) return;
    const ExactFloats exact;
    if (w.router.present()) return mixture_layer(s, w, layer_index, batch, hidden);
    begin_step(s, w, layer_index, LayerStep::gate, batch, hidden);
    multiply_swiglu(w.gate, w.up, in_, batch.rows, mlp_rows_);
    run_step(s, w, layer_index, LayerStep::down, batch, hidden);
}

void Core::check_expected(const ModelShape& s, const LayerWeights& w, int layer_index, const LayerPart& part, const Batch& batch, const float* hidden) const {
    const auto require = [](bool condition, const char* message) {
        if (!condition) throw std::invalid_argument(message);
    };
    require(!s.latent.rank, "layers with latents are not done in parts");
    require(!w.router.present(), "layers with experts are not done in parts");
    require(part.num_tiles > 0 && part.first_tile >= 0 && part.first_tile <= step_tiles(s, part.step) - part.num_tiles, "a part is beyond the tiles of its step");
    if (!expected_ || expected_->pass != batch.id)
        return require(part.step == LayerStep::qkv && part.first_tile == 0, "a layer must begin with tile 0 of qkv");
    const Expected& e = *expected_;
    require(e.hidden == hidden && e.shape == s && e.formats == w.formats() && e.layer == layer_index, "a part must go on with the layer that was begun");
    require(e.step == part.step && e.tile == part.first_tile, "a part must begin where the one before ended");
}

void Core::layer_part(const ModelShape& s, const LayerWeights& w, int layer_index, const LayerPart& part, const Batch& batch, float* hidden) {
    check_expected(s, w, layer_index, part, batch, hidden);
    interrupt();
    if (batch.rows) {
        const ExactFloats exact;
        run_part(s, w, layer_index, part, batch, hidden);
    }
    Expected next{batch.id, hidden, s, w.formats(), layer_index, part.step, part.first_tile + part.num_tiles};
    if (next.tile == step_tiles(s, part.step)) {
        if (part.step == LayerStep::down) return;
        next.step = LayerStep(int(part.step) + 1), next.tile = 0;
    }
    expected_ = next;
}

void Core::head(const ModelShape& s, const float* norm, const Matrix& table, const float* hidden, const int32_t* chosen, int num_chosen, float* logits) {
    head_part(s, norm, table, hidden, chosen, num_chosen, logits, 0, table.tiles());
}

void Core::head_part(const ModelShape& s, const float* norm, const Matrix& table, const float* hidden, const int32_t* chosen, int num_chosen, float* logits,
                     int first_tile, int num_tiles) {
    interrupt();
    if (!num_chosen) return;
    const ExactFloats exact;
    const Activations in = activations(num_chosen, s.hidden, {&table});
    normalise(hidden, norm, s.eps, s.hidden, num_chosen, chosen, in);
    multiply({{&table, logits, table.rows, Mode::store}}, first_tile, num_tiles, in, num_chosen);
}

}  // namespace pocketseek
