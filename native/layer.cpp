#include "layer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "half.h"

namespace pocketseek {

namespace {

constexpr size_t kPanelBytes = 768 * 1024;   // int8 activations that stay in the second-level cache beside a tile row
constexpr size_t kPieceBytes = 128 * 1024;   // weights handed to a thread at once

template <class T> T* grown(std::vector<T>& buffer, size_t n) {
    if (buffer.size() < n) buffer.resize(n);
    return buffer.data();
}

// One row of a tiled matrix as f32, value by value as formats.py defines it.
void dequantise_row(const Matrix& m, int row, float* out) {
    const uint8_t* tile = m.tile(row / kTileRows);
    const int r = row % kTileRows, blocks = m.blocks();
    const auto* planes = reinterpret_cast<const uint16_t*>(tile + size_t(blocks) * quant_bytes(m.format));
    for (int k = 0; k < m.cols; k++) {
        const int b = k / kBlock, in = k % kBlock;
        const float d = is_quantised(m.format) ? half_to_float(planes[b * 16 + r]) : 0;
        const uint8_t* block = tile + size_t(b) * quant_bytes(m.format);
        const int byte = block[(in / 8) * 64 + r * 4 + in % 4], nibble = in % 8 < 4 ? byte & 15 : byte >> 4;
        switch (m.format) {
            case Format::q4s: out[k] = d * float(nibble - 8); break;
            case Format::q4a: out[k] = std::fma(d, float(nibble), half_to_float(planes[(blocks + b) * 16 + r])); break;
            case Format::q8s: out[k] = d * float(int8_t(block[(in / 4) * 64 + r * 4 + in % 4])); break;
            case Format::f16: out[k] = half_to_float(reinterpret_cast<const uint16_t*>(tile)[k * 16 + r]); break;
            case Format::f32: out[k] = reinterpret_cast<const float*>(tile)[k * 16 + r]; break;
        }
    }
}

}  // namespace

size_t Core::workspace_bytes() const {
    return int8_.size() + 4 * (sum8_.size() + scale_.size() + sum_.size() + x_.size() + qkv_.size() + mixed_.size() + mlp_.size() + scratch_.size());
}

void Core::embed(const Matrix& table, const int32_t* ids, int rows, float* hidden) {
    const ExactFloats exact;
    for (int row = 0; row < rows; row++) dequantise_row(table, ids[row], hidden + size_t(row) * table.cols);
}

Activations Core::activations(int rows, int cols, bool quantised, bool floats) {
    Activations a;
    a.blocks = div_up(cols, kBlock);
    const size_t blocks = size_t(rows) * a.blocks;
    if (quantised) {
        a.q = grown(int8_, blocks * kBlock);
        a.scale = grown(scale_, blocks);
        a.sum8 = grown(sum8_, blocks);
        a.sum = grown(sum_, blocks);
    }
    if (floats) a.x = grown(x_, blocks * kBlock);
    return a;
}

void Core::normalise(const float* x, const float* weight, float eps, int n, int rows, const int32_t* chosen, const Activations& out) {
    float* scratch = grown(scratch_, size_t(pool_.num_threads()) * n);
    pool_.run(rows, std::max(1, rows / (4 * pool_.num_threads())), [&](int begin, int end, int worker) {
        float* y = scratch + size_t(worker) * n;
        for (int row = begin; row < end; row++) {
            table_.rms_norm(x + size_t(chosen ? chosen[row] : row) * n, weight, eps, n, y);
            table_.quantise(y, n, out, row);
        }
    });
}

// fn(tile, first_row, last_row) over tile rows x panels of rows; panels keep the activations in cache.
template <class Fn> void Core::for_tiles(int tiles, size_t stride, int cols, int rows, Fn fn) {
    const int panel = std::max(int(kPanelBytes / size_t(cols)) / kGroup * kGroup, 4 * kGroup);
    const int grain = std::max(1, std::min(tiles / (8 * pool_.num_threads()), int(kPieceBytes / stride)));
    for (int first = 0; first < rows; first += panel) {
        const int last = std::min(rows, first + panel);
        pool_.run(tiles, grain, [&](int begin, int end, int) {
            for (int tile = begin; tile < end; tile++) fn(tile, first, last);
        });
    }
}

void Core::multiply(const std::vector<Product>& products, const Activations& in, int rows) {
    int tiles = 0;
    for (const Product& p : products) tiles += p.matrix->tiles();
    for_tiles(tiles, products[0].matrix->stride(), in.blocks * kBlock, rows, [&](int tile, int first, int last) {
        const Product* p = products.data();
        while (tile >= p->matrix->tiles()) tile -= (p++)->matrix->tiles();
        const Matrix& m = *p->matrix;
        const uint8_t* weights = m.tile(tile);
        const int width = std::min(kTileRows, m.rows - tile * kTileRows);
        alignas(64) float out[kGroup * kTileRows];
        for (int row = first; row < last; row += kGroup) {
            const int count = std::min(kGroup, last - row);
            table_.tile[int(m.format)](weights, in, row, count, out);
            for (int i = 0; i < count; i++) {
                float* y = p->out + size_t(row + i) * p->stride + tile * kTileRows;
                if (p->mode == Mode::add) table_.add(y, out + i * kTileRows, width);
                else std::memcpy(y, out + i * kTileRows, size_t(width) * 4);
            }
        }
    });
}

void Core::multiply_swiglu(const Matrix& gate, const Matrix& up, const Activations& in, int rows, float* out) {
    for_tiles(gate.tiles(), gate.stride() + up.stride(), in.blocks * kBlock, rows, [&](int tile, int first, int last) {
        const uint8_t *gate_tile = gate.tile(tile), *up_tile = up.tile(tile);
        const int width = std::min(kTileRows, gate.rows - tile * kTileRows);
        alignas(64) float g[kGroup * kTileRows], u[kGroup * kTileRows];
        for (int row = first; row < last; row += kGroup) {
            const int count = std::min(kGroup, last - row);
            table_.tile[int(gate.format)](gate_tile, in, row, count, g);
            table_.tile[int(up.format)](up_tile, in, row, count, u);
            for (int i = 0; i < count; i++)
                table_.swiglu(g + i * kTileRows, u + i * kTileRows, out + size_t(row + i) * gate.rows + tile * kTileRows, width);
        }
    });
}

// Biases, q/k norms and rope on the rows of qkv_; keys and values rounded to f16 into their pages.
void Core::store_keys_values(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch) {
    const int q_width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim, width = q_width + 2 * kv_width, half = s.head_dim / 2;
    auto prepare_heads = [&](float* x, int heads, const float* bias, const float* norm, int row) {
        if (bias) table_.add(x, bias, heads * s.head_dim);
        for (int h = 0; h < heads; h++) {
            float* head = x + h * s.head_dim;
            if (norm) table_.rms_norm(head, norm, s.eps, s.head_dim, head);
            table_.rotate(head, batch.cosine + size_t(row) * half, batch.sine + size_t(row) * half, half);
        }
    };
    for (const RowSpan& span : batch.spans)
        pool_.run(span.num_rows, std::max(1, span.num_rows / (4 * pool_.num_threads())), [&](int begin, int end, int) {
            for (int i = begin; i < end; i++) {
                const int row = span.first_row + i, position = span.first_position + i;
                float *q = qkv_.data() + size_t(row) * width, *k = q + q_width, *v = k + kv_width;
                prepare_heads(q, s.heads, w.q_bias, w.q_norm, row);
                prepare_heads(k, s.kv_heads, w.k_bias, w.k_norm, row);
                if (w.v_bias) table_.add(v, w.v_bias, kv_width);
                auto* page = const_cast<uint8_t*>(span.pages[position / kPageTokens]) + layer_index * s.layer_bytes();
                for (int h = 0; h < s.kv_heads; h++, page += s.head_bytes())
                    table_.write_kv(k + h * s.head_dim, v + h * s.head_dim, s.head_dim, s.padded_dim(), position % kPageTokens,
                                    reinterpret_cast<uint16_t*>(page), reinterpret_cast<uint16_t*>(page + s.key_bytes()));
            }
        });
}

void Core::run_attention(const ModelShape& s, int layer_index, const RowSpan& span, const AttentionTask& task, float* scratch) {
    const int q_width = s.heads * s.head_dim, width = q_width + 2 * s.kv_heads * s.head_dim, padded = s.padded_dim();
    const int queries = task.num_rows * s.group();
    float* results = scratch + size_t(kMaxQueries) * (kSpan + padded);
    for (int first = 0; first < queries; first += kMaxQueries) {
        const float* query[kMaxQueries];
        float *out[kMaxQueries], *target[kMaxQueries];
        int length[kMaxQueries];
        const int count = std::min(kMaxQueries, queries - first);
        for (int i = 0; i < count; i++) {
            const int offset = (first + i) / s.group(), head = task.kv_head * s.group() + (first + i) % s.group();
            const int row = task.first_row + offset;
            query[i] = qkv_.data() + size_t(row) * width + head * s.head_dim;
            target[i] = mixed_.data() + size_t(row) * q_width + head * s.head_dim;
            out[i] = results + size_t(i) * padded;
            length[i] = span.first_position + (row - span.first_row) + 1;
        }
        const size_t base = layer_index * s.layer_bytes() + task.kv_head * s.head_bytes();
        table_.attend({.num_queries = count, .head_dim = s.head_dim, .padded_dim = padded, .query = query, .out = out, .length = length,
                       .pages = span.pages, .key_offset = base, .value_offset = base + s.key_bytes(),
                       .scale = 1.0f / std::sqrt(float(s.head_dim)), .scratch = scratch});
        for (int i = 0; i < count; i++) std::memcpy(target[i], out[i], size_t(s.head_dim) * 4);
    }
}

void Core::attend(const ModelShape& s, int layer_index, const Batch& batch) {
    const int rows_per_task = std::max(1, kMaxQueries / s.group());
    tasks_.clear();
    for (int index = 0; index < int(batch.spans.size()); index++) {
        const RowSpan& span = batch.spans[index];
        for (int row = 0; row < span.num_rows; row += rows_per_task)
            for (int head = 0; head < s.kv_heads; head++)
                tasks_.push_back({index, span.first_row + row, std::min(rows_per_task, span.num_rows - row), head});
    }
    const size_t each = attention_scratch_floats(s.padded_dim());
    float* scratch = grown(scratch_, each * pool_.num_threads());
    pool_.run(int(tasks_.size()), 1, [&](int begin, int end, int worker) {
        for (int i = begin; i < end; i++) run_attention(s, layer_index, batch.spans[tasks_[i].span], tasks_[i], scratch + worker * each);
    });
}

void Core::layer(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch, float* hidden) {
    const ExactFloats exact;
    const int rows = batch.rows, q_width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim, width = q_width + 2 * kv_width;
    auto inputs = [&](int cols, std::initializer_list<const Matrix*> consumers) {
        const bool quantised = std::any_of(consumers.begin(), consumers.end(), [](const Matrix* m) { return is_quantised(m->format); });
        const bool floats = std::any_of(consumers.begin(), consumers.end(), [](const Matrix* m) { return !is_quantised(m->format); });
        return activations(rows, cols, quantised, floats);
    };
    auto quantise_rows = [&](const float* x, int n, const Activations& out) {
        pool_.run(rows, std::max(1, rows / (4 * pool_.num_threads())), [&](int begin, int end, int) {
            for (int row = begin; row < end; row++) table_.quantise(x + size_t(row) * n, n, out, row);
        });
    };

    float* qkv = grown(qkv_, size_t(rows) * width);
    float* mixed = grown(mixed_, size_t(rows) * q_width);
    float* mlp = grown(mlp_, size_t(rows) * s.intermediate);

    Activations in = inputs(s.hidden, {&w.q, &w.k, &w.v});
    normalise(hidden, w.attn_norm, s.eps, s.hidden, rows, nullptr, in);
    multiply({{&w.q, qkv, width, Mode::store}, {&w.k, qkv + q_width, width, Mode::store}, {&w.v, qkv + q_width + kv_width, width, Mode::store}}, in, rows);
    store_keys_values(s, w, layer_index, batch);
    attend(s, layer_index, batch);
    in = inputs(q_width, {&w.o});
    quantise_rows(mixed, q_width, in);
    multiply({{&w.o, hidden, s.hidden, Mode::add}}, in, rows);

    in = inputs(s.hidden, {&w.gate, &w.up});
    normalise(hidden, w.mlp_norm, s.eps, s.hidden, rows, nullptr, in);
    multiply_swiglu(w.gate, w.up, in, rows, mlp);
    in = inputs(s.intermediate, {&w.down});
    quantise_rows(mlp, s.intermediate, in);
    multiply({{&w.down, hidden, s.hidden, Mode::add}}, in, rows);
}

void Core::head(const ModelShape& s, const float* norm, const Matrix& table, const float* hidden, const int32_t* chosen, int num_chosen, float* logits) {
    const ExactFloats exact;
    const bool quantised = is_quantised(table.format);
    const Activations in = activations(num_chosen, s.hidden, quantised, !quantised);
    normalise(hidden, norm, s.eps, s.hidden, num_chosen, chosen, in);
    multiply({{&table, logits, table.rows, Mode::store}}, in, num_chosen);
}

}  // namespace pocketseek
