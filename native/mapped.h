// Python's view of what is behind mapped arrays: what of them is in memory, pages that could not be read, and files
// that were touched.
#pragma once

#include <nanobind/nanobind.h>

namespace pocketseek {

void bind_mapped(nanobind::module_& m);

}  // namespace pocketseek
