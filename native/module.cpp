// Python's view of the core. Shapes are checked here once, so that kernels can trust them; arrays are kept alive by the
// objects that point into them; the GIL is released while computing.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "dispatch.h"
#include "layer.h"
#include "mapped.h"
#include "measure.h"
#include "rope.h"
#include "row_kernels.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace pocketseek {
namespace {

using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using ConstRows = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Ints = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Addresses = nb::ndarray<const uint64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void require(bool condition, const char* message) {
    if (!condition) throw std::invalid_argument(message);
}

void require_threads(int num_threads) { require(num_threads >= 1 && num_threads <= 256, "num_threads must be from 1 to 256"); }

Format format_of(const std::string& name) {
    for (int i = 0; i < kNumFormats; i++)
        if (name == kFormatNames[i]) return Format(i);
    throw std::invalid_argument("unknown tensor format " + name);
}

KvFormat kv_format_of(const std::string& name) {
    for (int i = 0; i < kNumKvFormats; i++)
        if (name == kKvFormatNames[i]) return KvFormat(i);
    throw std::invalid_argument("unknown KV format " + name);
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

struct PyLayer {
    LayerWeights weights;
    std::vector<PyMatrix> matrices;
    std::vector<Floats> vectors;

    PyLayer(const ModelShape& s, const nb::dict& entries) {
        matrices.reserve(7);
        const int q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
        weights.q = matrix(entries, "q", q, s.hidden), weights.k = matrix(entries, "k", kv, s.hidden);
        weights.v = matrix(entries, "v", kv, s.hidden), weights.o = matrix(entries, "o", s.hidden, q);
        weights.gate = matrix(entries, "gate", s.intermediate, s.hidden), weights.up = matrix(entries, "up", s.intermediate, s.hidden);
        weights.down = matrix(entries, "down", s.hidden, s.intermediate);
        weights.attn_norm = vector(entries, "attn_norm", s.hidden, true), weights.mlp_norm = vector(entries, "mlp_norm", s.hidden, true);
        weights.q_bias = vector(entries, "q_bias", q, false), weights.k_bias = vector(entries, "k_bias", kv, false);
        weights.v_bias = vector(entries, "v_bias", kv, false);
        weights.q_norm = vector(entries, "q_norm", s.head_dim, false), weights.k_norm = vector(entries, "k_norm", s.head_dim, false);
    }

private:
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

// One pass's rows: spans (first_position, number of rows, page ids) in row order, rope tables for all rows.
// addresses: of all pages, by id.
struct PyBatch {
    Batch batch;
    std::vector<std::vector<const uint8_t*>> pages;
    std::vector<float> cosine, sine;

    PyBatch(const std::vector<std::tuple<int, int, std::vector<int>>>& spans, Addresses addresses, size_t page_bytes, Floats inv_freq, float rope_factor)
        : page_bytes(page_bytes) {
        std::vector<int32_t> positions;
        pages.reserve(spans.size());
        for (const auto& [first_position, num_rows, page_ids] : spans) {
            require(first_position >= 0 && num_rows > 0, "a span needs rows");
            require(size_t(first_position) + size_t(num_rows) <= page_ids.size() * kPageTokens, "a span reaches beyond its pages");
            pages.emplace_back();
            pages.back().reserve(page_ids.size());
            for (const int id : page_ids) {
                require(id >= 0 && size_t(id) < addresses.size(), "a page id is beyond the KV memory");
                pages.back().push_back(reinterpret_cast<const uint8_t*>(addresses.data()[id]));
            }
            batch.spans.push_back({batch.rows, num_rows, first_position, pages.back().data()});
            for (int i = 0; i < num_rows; i++) positions.push_back(first_position + i);
            batch.rows += num_rows;
        }
        const int half = int(inv_freq.size());
        cosine.resize(size_t(batch.rows) * half), sine.resize(size_t(batch.rows) * half);
        rope_table(positions.data(), batch.rows, inv_freq.data(), half, rope_factor, cosine.data(), sine.data());
        batch.cosine = cosine.data(), batch.sine = sine.data();
        half_dim = half;
    }
    int half_dim = 0;
    size_t page_bytes;
};

// Keeps the GIL for few rows (6 us each at a width of 1536): were it let go, a reader of events would take it and the pass would wait.
constexpr size_t kFewRows = 16;

void embed(Core& core, const PyMatrix& table, Ints ids, Rows hidden) {
    require(hidden.shape(0) == ids.size() && int(hidden.shape(1)) == table.matrix.cols, "hidden must be (tokens, hidden size)");
    for (size_t i = 0; i < ids.size(); i++) require(ids.data()[i] >= 0 && ids.data()[i] < table.matrix.rows, "token id beyond the vocabulary");
    std::optional<nb::gil_scoped_release> release;
    if (ids.size() > kFewRows) release.emplace();
    core.embed(table.matrix, ids.data(), int(ids.size()), hidden.data());
}

void require_rows(const ModelShape& shape, int first, size_t num_layers, const PyBatch& batch, const Rows& hidden) {
    require(first >= 0, "layers are counted from 0");
    require(int(hidden.shape(0)) == batch.batch.rows && int(hidden.shape(1)) == shape.hidden, "hidden must be (rows, hidden size)");
    require(batch.half_dim * 2 == shape.head_dim, "rope frequencies must be half of the head dimension");
    require((size_t(first) + num_layers) * shape.kv().layer_bytes() <= batch.page_bytes, "the pages have no room for these layers");
}

// A run of consecutive layers, so that the interpreter is left and entered once for all of them.
void layers(Core& core, const ModelShape& shape, const std::vector<const PyLayer*>& run, int first, const PyBatch& batch, Rows hidden) {
    require_rows(shape, first, run.size(), batch, hidden);
    for (const PyLayer* layer : run) require(layer, "a layer is missing");
    nb::gil_scoped_release release;
    for (size_t i = 0; i < run.size(); i++) core.layer(shape, run[i]->weights, first + int(i), batch.batch, hidden.data());
}

LayerStep step_of(const std::string& name) {
    for (int i = 0; i < kNumSteps; i++)
        if (name == kStepNames[i]) return LayerStep(i);
    throw std::invalid_argument("unknown step of a layer " + name);
}

void layer_part(Core& core, const ModelShape& shape, const PyLayer& layer, int index, const std::string& step, int first_tile, int num_tiles, const PyBatch& batch,
                Rows hidden) {
    require_rows(shape, index, 1, batch, hidden);
    const LayerPart part{step_of(step), first_tile, num_tiles};
    nb::gil_scoped_release release;
    core.layer_part(shape, layer.weights, index, part, batch.batch, hidden.data());
}

void head_part(Core& core, const ModelShape& shape, Floats norm, const PyMatrix& table, ConstRows hidden, Ints chosen, Rows logits, int first_tile, int num_tiles) {
    require(int(norm.size()) == shape.hidden && table.matrix.cols == shape.hidden && int(hidden.shape(1)) == shape.hidden, "head shapes differ");
    require(logits.shape(0) == chosen.size() && int(logits.shape(1)) == table.matrix.rows, "logits must be (chosen rows, vocabulary)");
    require(num_tiles > 0 && first_tile >= 0 && first_tile <= table.matrix.tiles() - num_tiles, "a part is beyond the tiles of the head");
    for (size_t i = 0; i < chosen.size(); i++) require(chosen.data()[i] >= 0 && size_t(chosen.data()[i]) < hidden.shape(0), "chosen row out of range");
    nb::gil_scoped_release release;
    core.head_part(shape, norm.data(), table.matrix, hidden.data(), chosen.data(), int(chosen.size()), logits.data(), first_tile, num_tiles);
}

void head(Core& core, const ModelShape& shape, Floats norm, const PyMatrix& table, ConstRows hidden, Ints chosen, Rows logits) {
    head_part(core, shape, norm, table, hidden, chosen, logits, 0, table.matrix.tiles());
}

Pool make_pool(int num_threads) {
    require_threads(num_threads);
    return Pool(num_threads);
}

double measure_read(const std::string& set, int num_threads, Bytes data, int repeats) {
    require(data.size() >= kReadPieceBytes + 64, "the data to read is too small to measure");
    Pool pool = make_pool(num_threads);
    nb::gil_scoped_release release;
    return read_bandwidth(table_for(set), pool, data.data(), data.size(), repeats);
}

template <auto Peak> double measure_peak(const std::string& set, int num_threads, int repeats) {
    Pool pool = make_pool(num_threads);
    nb::gil_scoped_release release;
    return Peak(table_for(set), pool, repeats);
}

}  // namespace

NB_MODULE(_native, m) {
    nb::set_leak_warnings(false);  // at interpreter exit the engine may still hold its weights, and that is fine
    m.doc() = "The compiled core of pocketseek: one pass over the weights.";
    m.attr("abi") = 8;
    m.def("supported_sets", &supported_sets, "Instruction sets that this build and this processor have, slowest first.");

    m.def("rope_table", [](Ints positions, Floats inv_freq, float factor, Rows cosine, Rows sine) {
            const size_t rows = positions.size(), half = inv_freq.size();
            for (const Rows& out : {cosine, sine}) require(out.shape(0) == rows && out.shape(1) == half, "outputs must be (positions, frequencies)");
            rope_table(positions.data(), int(rows), inv_freq.data(), int(half), factor, cosine.data(), sine.data());
        }, "positions"_a, "inv_freq"_a, "factor"_a, "cosine"_a, "sine"_a);
    bind_row_kernels(m);
    bind_mapped(m);
    m.def("read_bandwidth", &measure_read, "instruction_set"_a, "num_threads"_a, "data"_a, "repeats"_a, "Bytes per second.");
    m.def("int8_peak", &measure_peak<int8_peak>, "instruction_set"_a, "num_threads"_a, "repeats"_a, "Multiply-adds per second.");
    m.def("f32_peak", &measure_peak<f32_peak>, "instruction_set"_a, "num_threads"_a, "repeats"_a, "Multiply-adds per second.");
    nb::class_<ModelShape>(m, "ModelShape")
        .def("__init__", [](ModelShape* self, int hidden, int intermediate, int heads, int kv_heads, int head_dim, float eps, const std::string& kv_format) {
                require(hidden > 0 && intermediate > 0 && heads > 0 && kv_heads > 0 && heads % kv_heads == 0, "impossible model shape");
                require(head_dim >= 2 && head_dim % 2 == 0 && head_dim <= 1024, "impossible head dimension");
                new (self) ModelShape{hidden, intermediate, heads, kv_heads, head_dim, eps, kv_format_of(kv_format)};
            }, "hidden"_a, "intermediate"_a, "heads"_a, "kv_heads"_a, "head_dim"_a, "eps"_a, "kv_format"_a)
        .def_prop_ro("layer_bytes", [](const ModelShape& s) { return s.kv().layer_bytes(); });
    nb::class_<PyMatrix>(m, "Matrix")
        .def(nb::init<const std::string&, int, int, std::vector<std::tuple<int, Bytes>>>(), "format"_a, "rows"_a, "cols"_a, "parts"_a);
    nb::class_<PyLayer>(m, "Layer").def(nb::init<const ModelShape&, const nb::dict&>(), "shape"_a, "entries"_a);
    nb::class_<PyBatch>(m, "Batch")
        .def(nb::init<const std::vector<std::tuple<int, int, std::vector<int>>>&, Addresses, size_t, Floats, float>(), "spans"_a, "addresses"_a, "page_bytes"_a, "inv_freq"_a, "rope_factor"_a);
    nb::class_<Core>(m, "Core")
        .def("__init__", [](Core* self, const std::string& name, int num_threads) {
                require_threads(num_threads);
                new (self) Core(table_for(name), num_threads);
            }, "instruction_set"_a, "num_threads"_a)
        .def_prop_ro("name", [](const Core& core) { return core.table().name; })
        .def_prop_ro("tasks_done", [](Core& core) { return core.pool().tasks_done(); })
        .def_prop_ro("workspace_bytes", &Core::workspace_bytes)
        .def("set_num_threads", [](Core& core, int num_threads) {
                require_threads(num_threads);
                core.pool().set_num_threads(num_threads);
            }, "num_threads"_a, nb::call_guard<nb::gil_scoped_release>())
        .def("set_cores", [](Core& core, const std::vector<int>& cores) { core.pool().set_cores(cores); }, "cores"_a,
             nb::call_guard<nb::gil_scoped_release>())
        .def("set_spin", [](Core& core, double spin_s) {
                require(spin_s >= 0 && spin_s <= 1, "spin_s must be from 0 to 1 second");
                core.pool().set_spin(spin_s);
            }, "spin_s"_a)
        .def("embed", &embed, "table"_a, "ids"_a, "hidden"_a)
        .def("layers", &layers, "shape"_a, "weights"_a, "first"_a, "batch"_a, "hidden"_a)
        .def("layer_part", &layer_part, "shape"_a, "layer"_a, "index"_a, "step"_a, "first_tile"_a, "num_tiles"_a, "batch"_a, "hidden"_a)
        .def("head_part", &head_part, "shape"_a, "norm"_a, "table"_a, "hidden"_a, "chosen"_a, "logits"_a, "first_tile"_a, "num_tiles"_a)
        .def("head", &head, "shape"_a, "norm"_a, "table"_a, "hidden"_a, "chosen"_a, "logits"_a);
}

}  // namespace pocketseek
