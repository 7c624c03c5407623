// What one instruction set offers: plain functions over rows and tiles. Every set computes the same bits.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "formats.h"
#include "kv_layout.h"

namespace pocketseek {

inline constexpr int kGroup = 8;         // rows of a pass that share one unpacking of a weight tile
inline constexpr int kSpan = 512;        // attention is split at multiples of this absolute position
inline constexpr int kMaxQueries = 12;   // query vectors that share one read of a page

// The input of a matrix product, for the rows of a pass. Quantised part: int8 with a scale per row and block of 32.
//   q      [rows][blocks*32]        values
//   scale  [rows][blocks]           a = scale * q
//   sum8   [rows][blocks]           -8 * sum(q), the zero point of q4s
//   sum    [rows][blocks]           scale * sum(q), the factor of q4a's minimum
//   x      [rows][blocks*32]        f32 values, for f16 and f32 matrices
//   wide   the same with one scale per 256 inputs, for q4p: scale [rows][superblocks], q and sum8 as above
//   panel  the same for many rows, packed once for all matrices that read it
struct WideActivations {
    int8_t* q = nullptr;
    float* scale = nullptr;
    int32_t* sum8 = nullptr;
};
// Wide activations in the order in which the expanded kernel of an instruction set reads them: groups of rows that are multiplied
// together, so that a superblock of all rows is one stream.
//
//     values  [superblock][group]{ [inputs / unit][rows of the group][unit] }    unit: 4, 8 or 16 inputs, as the set wants them
//     scale   [superblock][group][rows of the group]
//
// Rows that the last group lacks are zeros.
struct Panel {
    int num_groups = 0, group_rows = 0;
    uint8_t* values = nullptr;
    float* scale = nullptr;

    uint8_t* values_of(int superblock, int group) const { return values + (size_t(superblock) * num_groups + group) * group_rows * kSuperBlocks * kBlock; }
    float* scale_of(int superblock, int group) const { return scale + (size_t(superblock) * num_groups + group) * group_rows; }
};
struct Activations {
    int blocks = 0;
    int8_t* q = nullptr;
    float* scale = nullptr;
    int32_t* sum8 = nullptr;
    float* sum = nullptr;
    float* x = nullptr;
    WideActivations wide;
    Panel panel;

    int superblocks() const { return div_up(blocks, kSuperBlocks); }
};

// Tile rows of one format and width that are read together; `next` is what will be read after them (null: nothing known).
inline constexpr int kTogether = 4;
struct TileGroup {
    int count = 0;
    const uint8_t* tile[kTogether] = {};
    const uint8_t* next[kTogether] = {};
};

// Where the planes of a q4p tile row begin.
struct TwoLevelTile {
    const uint8_t *quants, *steps;
    const uint16_t* scales;

    TwoLevelTile(const uint8_t* tile, int blocks)
        : quants(tile), steps(tile + size_t(blocks) * 256), scales(reinterpret_cast<const uint16_t*>(steps + size_t(blocks) * 8)) {}
};

// The softmax of a query over some positions: the largest score, and the sum of exp(score - max). Sum 0: it sees none of them.
struct SpanState { float max, sum; };

// Query vectors of one KV head that look at the same sequence, over the positions [start, start + kSpan).
inline constexpr int kScoreStride = kSpan + 16;  // not a power of two: twelve rows would meet in the same cache sets
struct SpanAttention {
    int num_queries, head_dim, padded_dim;  // padded_dim: V's row length in the page, a multiple of 16
    int start;
    const float* queries;         // [head_dim][kMaxQueries]
    const int* length;            // [num_queries] positions that each query sees: 0 .. length-1; ascending
    const uint8_t* const* pages;  // page base addresses, 64 positions each, from position 0 on
    KvLayout layout;
    float scale;
    float* scores;                // [kMaxQueries][kScoreStride] scratch
    float* out;                   // [num_queries][padded_dim] sum of exp(score - max) * value
    SpanState* state;             // [num_queries]
};

// Attention over latents (latent.h). A bundle: sixteen heads of one row, the lanes of a register; the last one of a row may have fewer.
inline constexpr int kBundle = 16;
inline constexpr int kMaxBundles = 4;        // that share one reading of the latents
inline constexpr int kLatentPositions = 8;   // at most, widened at once for scores
inline constexpr int kMixedValues = 64;      // of each position of a page, widened at once for outputs
struct LatentState { float max[kBundle], sum[kBundle]; };            // of each lane, as SpanState; sum 0: it sees nothing
struct LatentFactors { float running[kBundle], span[kBundle]; };

// Bundles of the same sequence over the positions [start, start + kSpan).
struct LatentSpan {
    int num_bundles, rank, rope_dim, padded_dim;  // padded_dim: a token's row length in the page, a multiple of 16
    int start;
    int length[kMaxBundles];      // positions that each bundle sees: 0 .. length-1; ascending
    const float* queries;         // [num_bundles][rank + rope_dim][kBundle]
    const uint8_t* const* pages;  // page base addresses, 64 positions each, from position 0 on
    LatentLayout layout;
    float scale;
    float* scores;                // [num_bundles][kSpan][kBundle]
    float* values;                // latent_values(padded_dim) of scratch
    float* out;                   // [num_bundles][rank][kBundle] sum of exp(score - max) * latent
    LatentState* state;           // [num_bundles]
};
inline constexpr int latent_values(int padded_dim) { return std::max(kLatentPositions * padded_dim, kPageTokens * kMixedValues); }

inline constexpr int kLowRankSpan = 512;  // inputs of an adapter that are summed together, from multiples of it on (low_rank.h)

inline constexpr size_t kPairScratchBytes = 2 * kExpandedBytes;

// Loops that only read or only multiply, for measure.h: what they reach no kernel can pass.
inline constexpr int kReadStreams = 8;
inline constexpr size_t kReadStreamBytes = 128 * 1024 + 9 * 64;  // no power of two: streams in different sets of the cache
inline constexpr size_t kReadPieceBytes = kReadStreams * kReadStreamBytes;
struct LimitLoops {
    uint64_t (*read)(const uint8_t* data);                // a piece aligned to 64; returns something that depends on every byte
    uint64_t (*int8_dots)(int turns);                     // these two return the multiply-adds they did
    uint64_t (*f32_fmas)(int turns);
};

struct KernelTable {
    const char* name;
    // out[tiles of the group][count][16] = their weights times rows [first, first + count) of the activations; count <= kGroup.
    using GroupFn = void (*)(const TileGroup& group, const Activations& in, int first, int count, float* out);
    GroupFn group[kNumFormats];
    // For many rows of q4p: two tile rows at once, each superblock of them expanded to bytes and then used for all groups of the panel
    // from `first` on. out: [count][2][group_rows][16]. scratch: kPairScratchBytes, aligned to 64. The bits are those of `group`.
    // Null where the instruction set gains nothing by it.
    void (*pair)(const uint8_t* const (&tiles)[2], int blocks, const Panel& panel, int first, int count, uint8_t* scratch, float* out);
    // Superblocks [first, last) of the first `count` wide rows into a group of the panel.
    void (*pack)(const Activations& rows, int count, const Panel& panel, int group, int first, int last);
    int pair_rows;  // rows of a group; 0 without `pair`
    // y[i][0 .. width) = or += values[i], values of a tile: [count][16]; rows of y are `stride` apart
    void (*store_tile)(float* y, ptrdiff_t stride, const float* values, int count, int width);
    void (*add_tile)(float* y, ptrdiff_t stride, const float* values, int count, int width);
    void (*rms_norm)(const float* x, const float* weight, float eps, int n, float* out);
    // Superblocks [first, last) of row `row` of `out` from n values, sixteen together and those `step` apart; pads to whole blocks with
    // zeros. Writes the forms that `out` has buffers for.
    void (*quantise)(const float* x, ptrdiff_t step, int n, const Activations& out, int row, int first, int last);
    void (*add)(float* y, const float* x, int n);                              // y += x
    void (*swiglu)(const float* gate, const float* up, float* y, int n);       // y = silu(gate) * up
    void (*rotate)(float* head, const float* cosine, const float* sine, int half);  // rotate-half rope, in place
    using WriteKv = void (*)(const float* k, const float* v, int head_dim, int padded_dim, int slot, const KvLayout& layout, uint8_t* page);
    WriteKv write_kv[kNumKvFormats];
    void (*attend_span[kNumKvFormats])(const SpanAttention& block);
    void (*merge_span)(SpanState& running, float* out, const SpanState& span, const float* span_out, int padded_dim);
    void (*finish_attention)(const SpanState& state, const float* sums, int head_dim, float* out);  // out = sums / state.sum
    // Attention over latents (latent.h). A span is scored page by page, softened bundle by bundle and mixed in runs of values (multiples
    // of 16), so that threads can share each of the three.
    void (*write_latent[kNumKvFormats])(const float* x, int rank, int rope_dim, int slot, const LatentLayout& layout, uint8_t* page);
    void (*score_latents[kNumKvFormats])(const LatentSpan& span, int first_page, int last_page);
    void (*soften_latents)(const LatentSpan& span, int bundle);
    void (*mix_latents[kNumKvFormats])(const LatentSpan& span, int first, int last);
    void (*merge_latent_states)(LatentState& running, const LatentState& span, LatentFactors& factors);
    void (*merge_latent_sums)(const LatentFactors& factors, float* sums, const float* span_sums, int count);
    void (*finish_latents)(const LatentState& state, const float* sums, int count, int heads, float* out, ptrdiff_t stride);
    // An adapter (low_rank.h): a span of sixteen ranks, what sixteen outputs are raised by, and sums of spans. Rows are named by address.
    void (*low_rank_project)(const uint16_t* a, int n, const float* const* x, int count, float* out);
    void (*low_rank_add)(const uint16_t* b, int rank, const float* const* u, int count, float* values);
    void (*low_rank_merge)(float* total, const float* span, int count);
    void (*low_rank_scale)(float* total, float scale);
    // A row of a layer with experts (router.h): scores in place of the router's n outputs; hidden += base (null: zeros) + the weighted outputs.
    void (*softmax)(float* x, int n);
    void (*sigmoid)(float* x, int n);
    void (*mix_outputs)(const float* base, const float* outputs, ptrdiff_t stride, const float* weights, int count, int n, float* hidden);
    // A row of logits (logits.h).
    void (*exp_weights)(const float* x, int n, float best, float divisor, float* out);
    double (*exp_mass)(const float* x, int n, float best, float divisor);
    int (*at_least)(const float* x, int n, float threshold, int32_t* found, int most);
    LimitLoops limits;
};

const KernelTable& scalar_table();
#ifdef POCKETSEEK_X86
const KernelTable& avx2_table();
const KernelTable& avx_vnni_table();
const KernelTable& avx512_table();
#endif
#ifdef POCKETSEEK_ARM64
const KernelTable& neon_dotprod_table();
const KernelTable& neon_i8mm_table();
#endif

}  // namespace pocketseek
