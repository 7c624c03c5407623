// The row functions of one instruction set on their own: one thread, arrays in and out. Those of logits.h for sampling, all for tests and
// benchmarks.
#pragma once

#include <nanobind/nanobind.h>

namespace pocketseek {

void bind_row_kernels(nanobind::module_& m);

}  // namespace pocketseek
