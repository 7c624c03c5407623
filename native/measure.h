// The limits of this machine: how fast all threads together can read memory, and multiply.
//
// Each figure is the best of many runs of a few milliseconds: other work on the machine can only lower a run. So the figures
// are those of a processor that is warm but not yet slowed down by heat.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pool.h"
#include "table.h"

namespace pocketseek {

// Bytes per second. A run reads 50 MB, the next one the next 50 MB of the data, which should be larger than the last-level
// cache, is at least kReadPieceBytes + 64, and must have been written: untouched memory is one page of zeros.
double read_bandwidth(const KernelTable& table, Pool& pool, const uint8_t* data, size_t bytes, int repeats);
// Multiply-adds per second, operands in registers.
double int8_peak(const KernelTable& table, Pool& pool, int repeats);
double f32_peak(const KernelTable& table, Pool& pool, int repeats);

}  // namespace pocketseek
