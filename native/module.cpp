// Python's view of the core. Shapes are checked here and in weights_view.h once, so that kernels can trust them; arrays are kept alive by
// the objects that point into them; the GIL is released while computing.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
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
#include "weights_view.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace pocketseek {
namespace {

using Rows = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using ConstRows = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using IntRows = nb::ndarray<int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Ints = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Addresses = nb::ndarray<const uint64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

constexpr int kMaxLatent = 1 << 14;  // what a package may have, too

void require_threads(int num_threads) { require(num_threads >= 1 && num_threads <= 256, "num_threads must be from 1 to 256"); }

KvFormat kv_format_of(const std::string& name) {
    for (int i = 0; i < kNumKvFormats; i++)
        if (name == kKvFormatNames[i]) return KvFormat(i);
    throw std::invalid_argument("unknown KV format " + name);
}

// One pass's rows: spans (first_position, number of rows, page ids) in row order, rope tables for all rows.
// addresses: of all pages, by id. adapters: of each span, None for none; an empty list if no span has one.
struct PyBatch {
    Batch batch;
    std::vector<std::vector<const uint8_t*>> pages;
    std::vector<float> cosine, sine;
    std::vector<nb::object> adapters;
    size_t most_layers = SIZE_MAX;  // that the adapters have

    PyBatch(const std::vector<std::tuple<int, int, std::vector<int>>>& spans, Addresses addresses, size_t page_bytes, Floats inv_freq, float rope_factor,
            std::vector<nb::object> adapters_of_spans)
        : adapters(std::move(adapters_of_spans)), page_bytes(page_bytes) {
        require(adapters.empty() || adapters.size() == spans.size(), "adapters must be those of the spans");
        size_t number = 0;
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
            batch.add_rows(num_rows, adapters.empty() ? nullptr : adapter_of(adapters[number++]));
        }
        const int half = int(inv_freq.size());
        cosine.resize(size_t(batch.rows) * half), sine.resize(size_t(batch.rows) * half);
        rope_table(positions.data(), batch.rows, inv_freq.data(), half, rope_factor, cosine.data(), sine.data());
        batch.cosine = cosine.data(), batch.sine = sine.data();
        half_dim = half;
    }
    const Adapter* adapter_of(const nb::object& object) {
        if (object.is_none()) return nullptr;
        const Adapter& adapter = nb::cast<const PyAdapter&>(object).adapter;
        most_layers = std::min(most_layers, adapter.layers.size());
        return &adapter;
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
    require(batch.half_dim * 2 == shape.rotated(), "rope frequencies must be half of what is rotated of a head");
    require(size_t(first) + num_layers <= batch.most_layers, "an adapter has fewer layers than the model");
    require((size_t(first) + num_layers) * shape.layer_bytes() <= batch.page_bytes, "the pages have no room for these layers");
}

// A run of consecutive layers, so that the interpreter is left and entered once for all of them.
void layers(Core& core, const ModelShape& shape, const std::vector<const PyLayer*>& run, int first, const PyBatch& batch, Rows hidden) {
    require_rows(shape, first, run.size(), batch, hidden);
    for (const PyLayer* layer : run) {
        require(layer, "a layer is missing");
        require(!layer->weights.router.present() || !layer->weights.experts.empty(), "a layer was loaded without its experts, which is for attend_and_route");
    }
    nb::gil_scoped_release release;
    for (size_t i = 0; i < run.size(); i++) core.layer(shape, run[i]->weights, first + int(i), batch.batch, hidden.data());
}

void attend_and_route(Core& core, const ModelShape& shape, const PyLayer& layer, int index, const PyBatch& batch, Rows hidden, IntRows chosen) {
    require_rows(shape, index, 1, batch, hidden);
    require(int(chosen.shape(0)) == batch.batch.rows && int(chosen.shape(1)) == shape.moe.experts_per_token, "chosen must be (rows, experts per token)");
    nb::gil_scoped_release release;
    core.attend_and_route(shape, layer.weights, index, batch.batch, hidden.data(), chosen.data());
}

void shared_experts(Core& core, const PyLayer& layer) {
    nb::gil_scoped_release release;
    core.shared_experts(layer.weights);
}

void experts(Core& core, const std::vector<std::pair<int, const PyExpert*>>& ready) {
    std::vector<std::pair<int, const MlpWeights*>> weights;
    for (const auto& [expert, one] : ready) {
        require(one, "an expert is missing");
        weights.push_back({expert, &one->weights});
    }
    nb::gil_scoped_release release;
    core.experts(weights);
}

void end_layer(Core& core, Rows hidden) {
    nb::gil_scoped_release release;
    core.end_layer(hidden.data());
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
    m.attr("abi") = 10;
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
    nb::class_<LatentShape>(m, "LatentShape")
        .def("__init__", [](LatentShape* self, int rank, int nope_dim, int rope_dim, int value_dim, int q_rank, float score_factor) {
                require(rank > 0 && rank % kTileRows == 0 && value_dim > 0 && value_dim % kTileRows == 0, "a latent and a head's output are multiples of 16");
                require(rank <= kMaxLatent && value_dim <= kMaxLatent && q_rank >= 0, "impossible shape of latents");
                require(nope_dim > 0 && rope_dim >= 2 && rope_dim % 2 == 0, "impossible dimensions of a head with latents");
                new (self) LatentShape{rank, nope_dim, rope_dim, value_dim, q_rank, score_factor};
            }, "rank"_a, "nope_dim"_a, "rope_dim"_a, "value_dim"_a, "q_rank"_a, "score_factor"_a);
    nb::class_<MoeShape>(m, "MoeShape")
        .def("__init__", [](MoeShape* self, int num_experts, int experts_per_token, int expert_size, int shared_size, const std::string& score, int num_groups,
                            int groups_per_token, const std::string& group_score, bool normalised, float weight_factor) {
                require(num_experts > 0 && num_experts <= kMaxExperts && experts_per_token > 0 && expert_size > 0 && shared_size >= 0, "impossible shape of experts");
                require(num_groups > 0 && num_experts % num_groups == 0 && groups_per_token > 0 && groups_per_token <= num_groups, "impossible groups of experts");
                require(experts_per_token <= num_experts / num_groups * groups_per_token, "a token cannot choose so many experts");
                require(score == "softmax" || score == "sigmoid", "unknown score of experts");
                require(group_score == "best" || (group_score == "best_two" && num_experts / num_groups > 1), "unknown score of groups of experts");
                new (self) MoeShape{num_experts, experts_per_token, expert_size, shared_size, score == "sigmoid", num_groups, groups_per_token,
                                    group_score == "best_two", normalised, weight_factor};
            }, "num_experts"_a, "experts_per_token"_a, "expert_size"_a, "shared_size"_a, "score"_a, "num_groups"_a, "groups_per_token"_a, "group_score"_a,
             "normalised"_a, "weight_factor"_a);
    nb::class_<ModelShape>(m, "ModelShape")
        .def("__init__", [](ModelShape* self, int hidden, int intermediate, int heads, int kv_heads, int head_dim, float eps, const std::string& kv_format,
                            const std::optional<LatentShape>& latent, const std::optional<MoeShape>& moe) {
                require(hidden > 0 && intermediate > 0 && heads > 0 && kv_heads > 0 && heads % kv_heads == 0, "impossible model shape");
                require(head_dim >= 2 && head_dim % 2 == 0 && head_dim <= 1024, "impossible head dimension");
                require(!latent || (kv_heads == 1 && head_dim == latent->nope_dim + latent->rope_dim), "a head of a model with latents has nope_dim + rope_dim values");
                new (self) ModelShape{hidden, intermediate, heads, kv_heads, head_dim, eps, kv_format_of(kv_format), latent.value_or(LatentShape{}), moe.value_or(MoeShape{})};
            }, "hidden"_a, "intermediate"_a, "heads"_a, "kv_heads"_a, "head_dim"_a, "eps"_a, "kv_format"_a, "latent"_a.none() = nb::none(), "moe"_a.none() = nb::none())
        .def_prop_ro("layer_bytes", [](const ModelShape& s) { return s.layer_bytes(); });
    nb::class_<PyMatrix>(m, "Matrix")
        .def(nb::init<const std::string&, int, int, std::vector<std::tuple<int, Bytes>>>(), "format"_a, "rows"_a, "cols"_a, "parts"_a);
    nb::class_<PyLayer>(m, "Layer").def(nb::init<const ModelShape&, const nb::dict&>(), "shape"_a, "entries"_a);
    nb::class_<PyExpert>(m, "Expert").def(nb::init<const ModelShape&, const nb::dict&>(), "shape"_a, "entries"_a);
    nb::class_<PyAdapter>(m, "Adapter").def(nb::init<const ModelShape&, const std::vector<nb::dict>&>(), "shape"_a, "layers"_a);
    nb::class_<PyBatch>(m, "Batch")
        .def(nb::init<const std::vector<std::tuple<int, int, std::vector<int>>>&, Addresses, size_t, Floats, float, std::vector<nb::object>>(), "spans"_a, "addresses"_a, "page_bytes"_a,
             "inv_freq"_a, "rope_factor"_a, "adapters"_a = std::vector<nb::object>());
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
        .def("attend_and_route", &attend_and_route, "shape"_a, "layer"_a, "index"_a, "batch"_a, "hidden"_a, "chosen"_a)
        .def("shared_experts", &shared_experts, "layer"_a)
        .def("experts", &experts, "ready"_a)
        .def("end_layer", &end_layer, "hidden"_a)
        .def("layer_part", &layer_part, "shape"_a, "layer"_a, "index"_a, "step"_a, "first_tile"_a, "num_tiles"_a, "batch"_a, "hidden"_a)
        .def("head_part", &head_part, "shape"_a, "norm"_a, "table"_a, "hidden"_a, "chosen"_a, "logits"_a, "first_tile"_a, "num_tiles"_a)
        .def("head", &head, "shape"_a, "norm"_a, "table"_a, "hidden"_a, "chosen"_a, "logits"_a);
}

}  // namespace pocketseek
