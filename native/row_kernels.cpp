#include "row_kernels.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "dispatch.h"
#include "pool.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace pocketseek {
namespace {

using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using ConstRows = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Vector = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Indices = nb::ndarray<int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using ByteRows = nb::ndarray<int8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

void require_shape(bool fits) {
    if (!fits) throw std::invalid_argument("the arrays' shapes do not fit together");
}

template <class A, class B> bool same_shape(const A& a, const B& b) { return a.shape(0) == b.shape(0) && a.shape(1) == b.shape(1); }

void rms_norm(const std::string& set, ConstRows x, Floats weight, float eps, Rows out) {
    require_shape(same_shape(x, out) && weight.size() == x.shape(1));
    const KernelTable& table = table_for(set);
    const ExactFloats exact;
    const size_t n = x.shape(1);
    for (size_t row = 0; row < x.shape(0); row++) table.rms_norm(x.data() + row * n, weight.data(), eps, int(n), out.data() + row * n);
}

void swiglu(const std::string& set, ConstRows gate, ConstRows up, Rows out) {
    require_shape(same_shape(gate, up) && same_shape(gate, out));
    const KernelTable& table = table_for(set);
    const ExactFloats exact;
    const size_t n = gate.shape(1);
    for (size_t row = 0; row < gate.shape(0); row++) table.swiglu(gate.data() + row * n, up.data() + row * n, out.data() + row * n, int(n));
}

// One head a row, turned in place.
void rotate(const std::string& set, Rows heads, ConstRows cosine, ConstRows sine) {
    require_shape(same_shape(cosine, sine) && cosine.shape(0) == heads.shape(0) && 2 * cosine.shape(1) == heads.shape(1));
    const KernelTable& table = table_for(set);
    const ExactFloats exact;
    const size_t half = cosine.shape(1);
    for (size_t row = 0; row < heads.shape(0); row++)
        table.rotate(heads.data() + 2 * row * half, cosine.data() + row * half, sine.data() + row * half, int(half));
}

// wide: one scale per 256 inputs, for q4p; otherwise one per 32.
void quantise(const std::string& set, ConstRows x, bool wide, ByteRows quants, Rows scales) {
    const size_t rows = x.shape(0), n = x.shape(1);
    Activations out;
    out.blocks = div_up(int(n), kBlock);
    const size_t groups = wide ? out.superblocks() : out.blocks, padded = size_t(out.blocks) * kBlock;
    require_shape(quants.shape(0) == rows && quants.shape(1) == padded && scales.shape(0) == rows && scales.shape(1) == groups);
    const KernelTable& table = table_for(set);
    const ExactFloats exact;
    std::vector<int32_t> sum8(rows * out.blocks);
    std::vector<float> sums(wide ? 0 : rows * out.blocks);
    if (wide) out.wide = {quants.data(), scales.data(), sum8.data()};
    else out.q = quants.data(), out.scale = scales.data(), out.sum8 = sum8.data(), out.sum = sums.data();
    for (size_t row = 0; row < rows; row++) table.quantise(x.data() + row * n, kTileRows, int(n), out, int(row), 0, out.superblocks());
}

void exp_weights(const std::string& set, Floats x, float best, float divisor, Vector out) {
    require_shape(x.size() == out.size());
    const ExactFloats exact;
    table_for(set).exp_weights(x.data(), int(x.size()), best, divisor, out.data());
}

double exp_mass(const std::string& set, Floats x, float best, float divisor) {
    const ExactFloats exact;
    return table_for(set).exp_mass(x.data(), int(x.size()), best, divisor);
}

int at_least(const std::string& set, Floats x, float threshold, Indices found) {
    return table_for(set).at_least(x.data(), int(x.size()), threshold, found.data(), int(found.size()));
}

}  // namespace

void bind_row_kernels(nb::module_& m) {
    m.def("rms_norm", &rms_norm, "instruction_set"_a, "x"_a, "weight"_a, "eps"_a, "out"_a);
    m.def("swiglu", &swiglu, "instruction_set"_a, "gate"_a, "up"_a, "out"_a);
    m.def("rotate", &rotate, "instruction_set"_a, "heads"_a, "cosine"_a, "sine"_a);
    m.def("exp_weights", &exp_weights, "instruction_set"_a, "x"_a, "best"_a, "divisor"_a, "out"_a, "e^((x - best) / divisor).");
    m.def("exp_mass", &exp_mass, "instruction_set"_a, "x"_a, "best"_a, "divisor"_a, "The sum of exp_weights.");
    m.def("at_least", &at_least, "instruction_set"_a, "x"_a, "threshold"_a, "found"_a,
          "Writes the indices of values that reach the threshold; returns how many, or len(found) + 1 if there is no room for all.");
    m.def("quantise", &quantise, "instruction_set"_a, "x"_a, "wide"_a, "quants"_a, "scales"_a);
}

}  // namespace pocketseek
