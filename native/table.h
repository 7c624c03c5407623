// What one instruction set offers: plain functions over rows and tiles. Every set computes the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats.h"

namespace pocketseek {

inline constexpr int kGroup = 8;         // rows of a pass that share one unpacking of a weight tile
inline constexpr int kPageTokens = 64;   // tokens in a KV page
inline constexpr int kSpan = 512;        // attention is split at multiples of this absolute position
inline constexpr int kMaxQueries = 8;    // query vectors that share one read of a page

// The input of a matrix product, for the rows of a pass. Quantised part: int8 with a scale per row and block of 32.
//   q      [rows][blocks*32]        values
//   scale  [rows][blocks]           a = scale * q
//   sum8   [rows][blocks]           -8 * sum(q), the zero point of q4s
//   sum    [rows][blocks]           scale * sum(q), the factor of q4a's minimum
//   x      [rows][blocks*32]        f32 values, for f16 and f32 matrices
//   wide   the same with one scale per 256 inputs, for q4p: scale [rows][superblocks], q and sum8 as above, and
//          pairs [rows][superblocks*8] int16 = -8 * sum(q) again, zero beyond the last block
struct WideActivations {
    int8_t* q = nullptr;
    float* scale = nullptr;
    int32_t* sum8 = nullptr;
    int16_t* pairs = nullptr;
};
struct Activations {
    int blocks = 0;
    int8_t* q = nullptr;
    float* scale = nullptr;
    int32_t* sum8 = nullptr;
    float* sum = nullptr;
    float* x = nullptr;
    WideActivations wide;

    int superblocks() const { return div_up(blocks, kSuperBlocks); }
};

// Query vectors of one KV head that look at the same sequence: `num_queries` rows of `head_dim` values.
struct AttentionBlock {
    int num_queries, head_dim, padded_dim;  // padded_dim: V's row length in the page, a multiple of 16
    const float* const* query;              // [num_queries]
    float* const* out;                      // [num_queries]
    const int* length;                      // positions that each query sees: 0 .. length-1
    const uint8_t* const* pages;            // page base addresses, 64 positions each
    size_t key_offset, value_offset;        // of this layer and head inside a page
    float scale;
    float* scratch;                         // attention_scratch_floats(padded_dim)
};
// scores and span outputs, then results, for every query
inline constexpr size_t attention_scratch_floats(int padded_dim) { return size_t(kMaxQueries) * (kSpan + 2 * padded_dim); }

inline constexpr int kPairRows = 6;      // 12 (512-bit) or 24 (128-bit) accumulators, and room for weights and activations, in 32 registers
inline constexpr int kPairPanel = 192;   // rows whose accumulators (24 KiB) stay in the first-level cache
inline constexpr size_t kPairScratchBytes = 2 * 8 * 512;  // a superblock of two tile rows as bytes

struct KernelTable {
    const char* name;
    // out[count][16] = weights of one tile row times rows [first, first + count) of the activations; count <= kGroup.
    using TileFn = void (*)(const uint8_t* tile, const Activations& in, int first, int count, float* out);
    TileFn tile[kNumFormats];
    // For many rows of q4p: two tile rows at once, each superblock of them expanded to bytes and then used for all rows.
    // out: for each group of kPairRows rows [2][rows of the group][16]; rows <= kPairPanel. scratch: kPairScratchBytes, aligned to 64.
    // Null where the instruction set gains nothing by it. The bits are those of `tile`.
    void (*pair)(const uint8_t* const (&tiles)[2], const Activations& in, int first, int rows, uint8_t* scratch, float* out);
    void (*rms_norm)(const float* x, const float* weight, float eps, int n, float* out);
    // Row `row` of `out` from n values; pads to whole blocks with zeros. Writes the parts that `out` has buffers for.
    void (*quantise)(const float* x, int n, const Activations& out, int row);
    void (*add)(float* y, const float* x, int n);                              // y += x
    void (*swiglu)(const float* gate, const float* up, float* y, int n);       // y = silu(gate) * up
    void (*rotate)(float* head, const float* cosine, const float* sine, int half);  // rotate-half rope, in place
    void (*write_kv)(const float* k, const float* v, int head_dim, int padded_dim, int slot, uint16_t* key_page, uint16_t* value_page);
    void (*attend)(const AttentionBlock& block);
};

const KernelTable& scalar_table();
#ifdef POCKETSEEK_X86
const KernelTable& avx2_table();
const KernelTable& avx512_table();
#endif
#ifdef POCKETSEEK_ARM64
const KernelTable& neon_dotprod_table();
const KernelTable& neon_i8mm_table();
#endif

}  // namespace pocketseek
