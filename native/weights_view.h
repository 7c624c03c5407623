// Matrices, layers and experts as Python gives them: views of its arrays, which they keep alive, with shapes that were checked once.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "model.h"

namespace nb = nanobind;

namespace pocketseek {
namespace {

using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Halves = nb::ndarray<const uint16_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void require(bool condition, const char* message) {
    if (!condition) throw std::invalid_argument(message);
}

Format format_of(const std::string& name) {
    for (int i = 0; i < kNumFormats; i++)
        if (name == kFormatNames[i]) return Format(i);
    throw std::invalid_argument("unknown tensor format " + name);
}

struct PyMatrix {
    Matrix matrix;
    std::vector<Bytes> owners;

    PyMatrix(const std::string& format, int rows, int cols, std::vector<std::tuple<int, Bytes>> parts) {
        require(rows > 0 && cols > 0, "a matrix needs rows and columns");
        matrix.format = format_of(format), matrix.rows = rows, matrix.cols = cols;
        int next = 0;
        for (auto& [first_tile, data] : parts) {
            require(first_tile == next && data.size() && data.size() % matrix.stride() == 0, "parts must be whole tile rows in order");
            const int count = int(data.size() / matrix.stride());
            matrix.add_part(count, data.data());
            owners.push_back(data);
            next += count;
        }
        require(next == matrix.tiles(), "parts do not cover the matrix");
    }
};

// One expert, or the shared ones; `prefix`: of the names in entries.
MlpWeights mlp_of(const ModelShape& s, const nb::dict& entries, const std::string& prefix, int inner, std::vector<PyMatrix>& owners) {
    const auto take = [&](const char* name, int rows, int cols) {
        owners.push_back(nb::cast<PyMatrix&>(entries[(prefix + name).c_str()]));
        const Matrix& m = owners.back().matrix;
        require(m.rows == rows && m.cols == cols, "an expert's matrix does not have the model's shape");
        return m;
    };
    return {take("gate", inner, s.hidden), take("up", inner, s.hidden), take("down", s.hidden, inner)};
}

struct PyExpert {
    MlpWeights weights;
    std::vector<PyMatrix> matrices;

    PyExpert(const ModelShape& s, const nb::dict& entries) {
        require(s.moe.num_experts, "the model has no experts");
        weights = mlp_of(s, entries, "", s.moe.expert_size, matrices);
    }
};

struct PyLayer {
    LayerWeights weights;
    std::vector<PyMatrix> matrices;
    std::vector<Floats> vectors;

    PyLayer(const ModelShape& s, const nb::dict& entries) {
        matrices.reserve(9);
        if (s.latent.rank) take_latents(s, entries);
        else take_keys_values(s, entries);
        weights.o = matrix(entries, "o", s.hidden, s.attended());
        if (entries.contains("router")) take_experts(s, entries);
        else {
            weights.gate = matrix(entries, "gate", s.intermediate, s.hidden), weights.up = matrix(entries, "up", s.intermediate, s.hidden);
            weights.down = matrix(entries, "down", s.hidden, s.intermediate);
        }
        weights.attn_norm = vector(entries, "attn_norm", s.hidden, true), weights.mlp_norm = vector(entries, "mlp_norm", s.hidden, true);
    }

private:
    void take_keys_values(const ModelShape& s, const nb::dict& entries) {
        const int q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
        weights.q = matrix(entries, "q", q, s.hidden), weights.k = matrix(entries, "k", kv, s.hidden), weights.v = matrix(entries, "v", kv, s.hidden);
        weights.q_bias = vector(entries, "q_bias", q, false), weights.k_bias = vector(entries, "k_bias", kv, false);
        weights.v_bias = vector(entries, "v_bias", kv, false);
        weights.q_norm = vector(entries, "q_norm", s.head_dim, false), weights.k_norm = vector(entries, "k_norm", s.head_dim, false);
    }
    void take_latents(const ModelShape& s, const nb::dict& entries) {
        const LatentShape& l = s.latent;
        const int q = s.heads * s.head_dim;
        if (l.q_rank) {
            weights.q_a = matrix(entries, "q_a", l.q_rank, s.hidden), weights.q_b = matrix(entries, "q_b", q, l.q_rank);
            weights.q_a_norm = vector(entries, "q_a_norm", l.q_rank, true);
        } else weights.q = matrix(entries, "q", q, s.hidden);
        weights.kv_a = matrix(entries, "kv_a", l.stored(), s.hidden), weights.kv_a_norm = vector(entries, "kv_a_norm", l.rank, true);
        weights.k_b = matrix(entries, "k_b", s.heads * l.rank, l.nope_dim), weights.v_b = matrix(entries, "v_b", s.heads * l.value_dim, l.rank);
    }
    void take_experts(const ModelShape& s, const nb::dict& entries) {
        const MoeShape& moe = s.moe;
        require(moe.num_experts, "a layer of a model without experts has a router");
        weights.router = matrix(entries, "router", moe.num_experts, s.hidden);
        weights.router_bias = vector(entries, "router_bias", moe.num_experts, false);
        if (moe.shared_size) weights.shared = mlp_of(s, entries, "shared_", moe.shared_size, matrices);
        if (!entries.contains("0.gate")) return;  // experts come one by one
        weights.experts.reserve(moe.num_experts);
        for (int i = 0; i < moe.num_experts; i++) weights.experts.push_back(mlp_of(s, entries, std::to_string(i) + ".", moe.expert_size, matrices));
    }
    Matrix matrix(const nb::dict& entries, const char* name, int rows, int cols) {
        matrices.push_back(nb::cast<PyMatrix&>(entries[name]));
        const Matrix& m = matrices.back().matrix;
        require(m.rows == rows && m.cols == cols, "a layer's matrix does not have the model's shape");
        return m;
    }
    const float* vector(const nb::dict& entries, const char* name, int size, bool needed) {
        if (!entries.contains(name)) {
            require(!needed, "a layer lacks a norm");
            return nullptr;
        }
        vectors.push_back(nb::cast<Floats>(entries[name]));
        require(int(vectors.back().size()) == size, "a layer's vector does not have the model's shape");
        return vectors.back().data();
    }
};

// An adapter: of each layer a dict from target to (rank, scale, a, b) in the order of adapters.h.
struct PyAdapter {
    Adapter adapter;
    std::vector<Halves> owners;

    PyAdapter(const ModelShape& s, const std::vector<nb::dict>& layers) {
        adapter.layers.resize(layers.size());
        for (size_t i = 0; i < layers.size(); i++)
            for (const auto& [name, entry] : layers[i]) take(s, adapter.layers[i], nb::cast<std::string>(name), nb::cast<std::tuple<int, float, Halves, Halves>>(entry));
    }

private:
    void take(const ModelShape& s, std::array<LowRank, kNumTargets>& layer, const std::string& name, const std::tuple<int, float, Halves, Halves>& entry) {
        const auto& [rank, scale, a, b] = entry;
        LowRank& part = layer[int(target_of(name))];
        require(rank >= 1 && rank <= kMaxRank, "an adapter's rank must be from 1 to 256");
        part.rank = rank, part.scale = scale;
        std::tie(part.outputs, part.inputs) = sizes(s, target_of(name));
        part.by_heads = target_of(name) == Target::k_b;
        require(a.size() == size_t(part.by_heads ? s.heads : 1) * part.rank_tiles() * part.inputs * kTileRows, "an adapter's A does not have the model's shape");
        require(b.size() == size_t(div_up(part.outputs, kTileRows)) * rank * kTileRows, "an adapter's B does not have the model's shape");
        part.a = a.data(), part.b = b.data();
        owners.push_back(a), owners.push_back(b);
    }
    static Target target_of(const std::string& name) {
        for (int i = 0; i < kNumTargets; i++)
            if (name == kTargetNames[i]) return Target(i);
        throw std::invalid_argument("an adapter cannot have " + name);
    }
    // (outputs, inputs) that A and B join; of k_b those of one head
    static std::pair<int, int> sizes(const ModelShape& s, Target target) {
        const int queries = s.heads * s.head_dim, keys = s.kv_heads * s.head_dim;
        const LatentShape& l = s.latent;
        const auto only_if = [=](bool there, int outputs, int inputs) {
            if (!there) throw std::invalid_argument(std::string("a model of this shape has no ") + kTargetNames[int(target)] + " for an adapter");
            return std::pair{outputs, inputs};
        };
        switch (target) {
            case Target::q: return only_if(!l.q_rank, queries, s.hidden);
            case Target::k:
            case Target::v: return only_if(!l.rank, keys, s.hidden);
            case Target::o: return {s.hidden, s.attended()};
            case Target::gate:
            case Target::up: return {s.intermediate, s.hidden};
            case Target::down: return {s.hidden, s.intermediate};
            case Target::q_a: return only_if(l.q_rank, l.q_rank, s.hidden);
            case Target::q_b: return only_if(l.q_rank, queries, l.q_rank);
            case Target::kv_a: return only_if(l.rank, l.stored(), s.hidden);
            case Target::k_b: return only_if(l.rank, l.rank, l.nope_dim);
            case Target::v_b: return only_if(l.rank, s.heads * l.value_dim, l.rank);
            case Target::shared_down: return only_if(s.moe.shared_size, s.hidden, s.moe.shared_size);
            default: return only_if(s.moe.shared_size, s.moe.shared_size, s.hidden);
        }
    }
};

}  // namespace
}  // namespace pocketseek
