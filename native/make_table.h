// The function table of the instruction set whose simd_*.h was included before this file.
#pragma once

#include "attention.h"
#include "elementwise.h"
#include "expanded.h"
#include "latent.h"
#include "logits.h"
#include "low_rank.h"
#include "matmul.h"
#include "measure_loops.h"
#include "router.h"
#include "table.h"

namespace pocketseek {
namespace {

constexpr KernelTable make_table() {
    return {
        .name = Simd::name,
        .group = {multiply_group<Format::q4s>, multiply_group<Format::q4a>, multiply_group<Format::q4p>, multiply_group<Format::q6s>, multiply_group<Format::q8s>, multiply_group<Format::f16>, multiply_group<Format::f32>},
        .pair = Simd::has_expanded ? pair_tiles<Simd> : nullptr,
        .pack = Simd::has_expanded ? pack_group<Simd> : nullptr,
        .pair_rows = expanded_rows<Simd>(),
        .store_tile = store_tile,
        .add_tile = add_tile,
        .rms_norm = rms_norm,
        .quantise = quantise,
        .add = add,
        .swiglu = swiglu,
        .rotate = rotate,
        .write_kv = {write_kv_half, write_kv_int8},
        .attend_span = {attend_span<HalfPage>, attend_span<Int8Page>},
        .merge_span = merge_span,
        .finish_attention = finish_attention,
        .write_latent = {write_latent<HalfPage>, write_latent<Int8Page>},
        .score_latents = {score_latents<HalfPage>, score_latents<Int8Page>},
        .soften_latents = soften_latents,
        .mix_latents = {mix_latents<HalfPage>, mix_latents<Int8Page>},
        .merge_latent_states = merge_latent_states,
        .merge_latent_sums = merge_latent_sums,
        .finish_latents = finish_latents,
        .low_rank_project = low_rank_project,
        .low_rank_add = low_rank_add,
        .low_rank_merge = low_rank_merge,
        .low_rank_scale = low_rank_scale,
        .softmax = softmax,
        .sigmoid = sigmoid,
        .mix_outputs = mix_outputs,
        .exp_weights = exp_weights,
        .exp_mass = exp_mass,
        .at_least = at_least,
        .limits = {read_piece, int8_dots, f32_fmas},
    };
}

}  // namespace
}  // namespace pocketseek
