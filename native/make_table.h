// The function table of the instruction set whose simd_*.h was included before this file.
#pragma once

#include "attention.h"
#include "elementwise.h"
#include "matmul.h"
#include "table.h"

namespace pocketseek {
namespace {

constexpr KernelTable make_table() {
    return {
        .name = Simd::name,
        .tile = {tile_any<Format::q4s>, tile_any<Format::q4a>, tile_any<Format::q4p>, tile_any<Format::q8s>, tile_any<Format::f16>, tile_any<Format::f32>},
        .pair = Simd::has_expanded ? pair_tiles<Simd> : nullptr,
        .pair_rows = expanded_rows<Simd>(),
        .rms_norm = rms_norm,
        .quantise = quantise,
        .add = add,
        .swiglu = swiglu,
        .rotate = rotate,
        .write_kv = write_kv,
        .attend = attend,
    };
}

}  // namespace
}  // namespace pocketseek
