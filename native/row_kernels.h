// The row functions of one instruction set on their own, for tests and benchmarks: one thread, arrays in and out.
#pragma once

#include <nanobind/nanobind.h>

namespace pocketseek {

void bind_row_kernels(nanobind::module_& m);

}  // namespace pocketseek
