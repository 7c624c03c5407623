#include "layer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "half.h"

namespace pocketseek {

namespace {

constexpr int kExpandRows = 32;  // from here on expanding a q4p tile pays

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
    const auto bytes = [](const auto&... buffers) { return (0 + ... + (buffers.capacity() * sizeof(buffers[0]))); };
    return bytes(int8_, wide_int8_, sum8_, wide_sum8_, panel_, pair_, wide_scale_, panel_scale_, scale_, sum_, x_, qkv_, mixed_, mlp_, scratch_, partial_) +
           bytes(tasks_, span_tasks_);
}

void Core::embed(const Matrix& table, const int32_t* ids, int rows, float* hidden) {
    expected_.reset();
    const ExactFloats exact;
    for (int row = 0; row < rows; row++) dequantise_row(table, ids[row], hidden + size_t(row) * table.cols);
}

// Buffers for the forms of the input that its consumers need. Many rows of the wide form go into a panel, group by group, if `expand`.
Activations Core::activations(int rows, int cols, std::initializer_list<const Matrix*> consumers, bool expand) {
    Activations a;
    a.blocks = div_up(cols, kBlock);
    bool narrow = false, wide = false, floats = false;
    for (const Matrix* m : consumers) {
        const bool is_wide = m->format == Format::q4p;
        wide |= is_wide, narrow |= is_quantised(m->format) && !is_wide, floats |= !is_quantised(m->format);
    }
    const size_t blocks = size_t(rows) * a.blocks;
    if (wide) {
        int wide_rows = rows;
        if (expand && table_.pair && rows >= kExpandRows) {
            const int group_rows = table_.pair_rows, groups = div_up(rows, group_rows);
            const size_t panels = size_t(groups) * group_rows * a.superblocks();
            a.panel = {groups, group_rows, aligned(grown(panel_, panels * kSuperBlocks * kBlock + 64)), grown(panel_scale_, panels)};
            wide_rows = group_rows * pool_.num_threads();
        }
        a.wide = {grown(wide_int8_, size_t(wide_rows) * a.blocks * kBlock), grown(wide_scale_, size_t(wide_rows) * a.superblocks()),
                  grown(wide_sum8_, size_t(wide_rows) * a.blocks)};
    }
    if (narrow) {
        a.q = grown(int8_, blocks * kBlock);
        a.scale = grown(scale_, blocks);
        a.sum8 = grown(sum8_, blocks);
        a.sum = grown(sum_, blocks);
    }
    if (floats) a.x = grown(x_, blocks * kBlock);
    return a;
}

// The rows of one group: its place in the buffers of all rows, and the worker's own rows of the wide form, to be packed.
static Activations rows_of_group(Activations a, int group, int worker) {
    const size_t first = size_t(group) * a.panel.group_rows, own = size_t(worker) * a.panel.group_rows, blocks = a.blocks;
    a.wide = {a.wide.q + own * blocks * kBlock, a.wide.scale + own * a.superblocks(), a.wide.sum8 + own * blocks};
    if (a.q) a.q += first * blocks * kBlock, a.scale += first * blocks, a.sum8 += first * blocks, a.sum += first * blocks;
    if (a.x) a.x += first * blocks * kBlock;
    return a;
}

// values(row, worker) gives n values of a row. A task is a whole row, or a group of rows if they go into a panel.
template <class Values>
void Core::quantise_rows(int n, int rows, const Activations& out, Values values) {
    const Panel& panel = out.panel;
    const int group_rows = panel.values ? panel.group_rows : 1, all = out.superblocks();
    pool_.run(div_up(rows, group_rows), 1, [&](int begin, int end, int worker) {
        for (int group = begin; group < end; group++) {
            const int first = group * group_rows, count = std::min(group_rows, rows - first);
            const Activations to = panel.values ? rows_of_group(out, group, worker) : out;
            for (int i = 0; i < count; i++) table_.quantise(values(first + i, worker), kTileRows, n, to, panel.values ? i : first + i, 0, all);
            if (panel.values) table_.pack(to, count, panel, group, 0, all);
        }
    });
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
void Core::begin_step(const ModelShape& s, const LayerWeights& w, LayerStep step, int rows, const float* hidden) {
    const int q_width = s.heads * s.head_dim, width = q_width + 2 * s.kv_heads * s.head_dim;
    switch (step) {
        case LayerStep::qkv:
            grown(qkv_, size_t(rows) * width);
            grown(mixed_, size_t(rows) * q_width);
            in_ = activations(rows, s.hidden, {&w.q, &w.k, &w.v});
            return normalise(hidden, w.attn_norm, s.eps, s.hidden, rows, nullptr, in_);
        case LayerStep::o:
            in_ = activations(rows, q_width, {&w.o});
            return quantise_rows(q_width, rows, in_, [&](int row, int) { return mixed_.data() + size_t(row) * q_width; });
        case LayerStep::gate: {
            in_ = activations(rows, s.hidden, {&w.gate, &w.up}, w.gate.format == w.up.format);
            normalise(hidden, w.mlp_norm, s.eps, s.hidden, rows, nullptr, in_);
            const int group_rows = in_.panel.values ? in_.panel.group_rows : kGroup, tiles = w.gate.tiles();
            mlp_rows_ = {group_rows, tiles, grown(mlp_, size_t(div_up(rows, group_rows)) * group_rows * tiles * kTileRows)};
            return;
        }
        case LayerStep::up: return;  // its input is gate's
        case LayerStep::down:
            in_ = activations(rows, s.intermediate, {&w.down});
            return quantise_mlp(s.intermediate, rows, in_, mlp_rows_);
    }
}

void Core::multiply_part(const ModelShape& s, const LayerWeights& w, const LayerPart& part, int rows, float* hidden) {
    const auto products = [&](const std::vector<Product>& all) { multiply(all, part.first_tile, part.num_tiles, in_, rows); };
    switch (part.step) {
        case LayerStep::qkv: {
            const int q_width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim, width = q_width + 2 * kv_width;
            float *q = qkv_.data(), *k = q + q_width, *v = k + kv_width;
            return products({{&w.q, q, width, Mode::store}, {&w.k, k, width, Mode::store}, {&w.v, v, width, Mode::store}});
        }
        case LayerStep::o: return products({{&w.o, hidden, s.hidden, Mode::add}});
        case LayerStep::gate: return multiply_gate(w.gate, part.first_tile, part.num_tiles, in_, rows, mlp_rows_);
        case LayerStep::up: return multiply_up(w.up, part.first_tile, part.num_tiles, in_, rows, mlp_rows_);
        case LayerStep::down: return products({{&w.down, hidden, s.hidden, Mode::add}});
    }
}

void Core::run_part(const ModelShape& s, const LayerWeights& w, int layer_index, const LayerPart& part, const Batch& batch, float* hidden) {
    if (part.first_tile == 0) begin_step(s, w, part.step, batch.rows, hidden);
    multiply_part(s, w, part, batch.rows, hidden);
    if (part.step == LayerStep::qkv && part.first_tile + part.num_tiles == step_tiles(s, part.step)) {
        store_keys_values(s, w, layer_index, batch);
        attend(s, layer_index, batch);
    }
}

void Core::layer(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch, float* hidden) {
    expected_.reset();
    if (!batch.rows) return;
    const ExactFloats exact;
    const auto run = [&](LayerStep step) { run_part(s, w, layer_index, {step, 0, step_tiles(s, step)}, batch, hidden); };
    run(LayerStep::qkv);
    run(LayerStep::o);
    begin_step(s, w, LayerStep::gate, batch.rows, hidden);
    multiply_swiglu(w.gate, w.up, in_, batch.rows, mlp_rows_);
    run(LayerStep::down);
}

void Core::check_expected(const ModelShape& s, const LayerWeights& w, int layer_index, const LayerPart& part, const Batch& batch, const float* hidden) const {
    const auto require = [](bool condition, const char* message) {
        if (!condition) throw std::invalid_argument(message);
    };
    require(part.num_tiles > 0 && part.first_tile >= 0 && part.first_tile <= step_tiles(s, part.step) - part.num_tiles, "a part is beyond the tiles of its step");
    if (!expected_ || expected_->pass != batch.id)
        return require(part.step == LayerStep::qkv && part.first_tile == 0, "a layer must begin with tile 0 of qkv");
    const Expected& e = *expected_;
    require(e.hidden == hidden && e.shape == s && e.formats == w.formats() && e.layer == layer_index, "a part must go on with the layer that was begun");
    require(e.step == part.step && e.tile == part.first_tile, "a part must begin where the one before ended");
}

void Core::layer_part(const ModelShape& s, const LayerWeights& w, int layer_index, const LayerPart& part, const Batch& batch, float* hidden) {
    check_expected(s, w, layer_index, part, batch, hidden);
    expected_.reset();
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
    expected_.reset();
    if (!num_chosen) return;
    const ExactFloats exact;
    const Activations in = activations(num_chosen, s.hidden, {&table});
    normalise(hidden, norm, s.eps, s.hidden, num_chosen, chosen, in);
    multiply({{&table, logits, table.rows, Mode::store}}, first_tile, num_tiles, in, num_chosen);
}

}  // namespace pocketseek
