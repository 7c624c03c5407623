// Where keys and values lie in a page of 64 tokens. The same description is in src/pocketseek/kernels/kv_memory.py.
//
//     page   [layer][kv head]{ key [head_dim][64], value [64][padded_dim] }                      f16
//     page   [layer][kv head]{ key [head_dim][64], value [64][padded_dim], key scale [64] f32, value scale [64] f32 }   int8
//
// Of a model with latents, whose token is rank values of the latent and then the rotated ones:
//
//     page   [layer]{ latent [64][rank + rope_dim up to 16] }                                          f16
//     page   [layer]{ latent, latent scale [64] f32, rotary scale [64] f32 }                           int8
#pragma once

#include <cstddef>

#include "formats.h"

namespace pocketseek {

inline constexpr int kPageTokens = 64;

enum class KvFormat { f16, q8 };
inline constexpr const char* kKvFormatNames[] = {"f16", "q8"};
inline constexpr int kNumKvFormats = 2;

// Byte offsets inside a page, of one layer and head.
struct KvLayout {
    size_t key, value, key_scale, value_scale;
};

struct KvShape {
    KvFormat format;
    int kv_heads, head_dim;

    int padded_dim() const { return div_up(head_dim, 16) * 16; }
    size_t value_size() const { return format == KvFormat::f16 ? 2 : 1; }
    size_t key_bytes() const { return size_t(head_dim) * kPageTokens * value_size(); }
    size_t quants_bytes() const { return key_bytes() + size_t(padded_dim()) * kPageTokens * value_size(); }
    size_t head_bytes() const { return quants_bytes() + (format == KvFormat::f16 ? 0 : 2 * kPageTokens * sizeof(float)); }
    size_t layer_bytes() const { return head_bytes() * kv_heads; }
    KvLayout layout(int layer, int head) const {
        const size_t base = layer * layer_bytes() + head * head_bytes(), scales = base + quants_bytes();
        return {base, base + key_bytes(), scales, scales + kPageTokens * sizeof(float)};
    }
};

// Byte offsets inside a page, of one layer.
struct LatentLayout {
    size_t latent, latent_scale, rotary_scale;
};

struct LatentPages {
    KvFormat format;
    int rank, rope_dim;

    int padded_dim() const { return div_up(rank + rope_dim, 16) * 16; }
    size_t quants_bytes() const { return size_t(padded_dim()) * kPageTokens * (format == KvFormat::f16 ? 2 : 1); }
    size_t layer_bytes() const { return quants_bytes() + (format == KvFormat::f16 ? 0 : 2 * kPageTokens * sizeof(float)); }
    LatentLayout layout(int layer) const {
        const size_t base = layer * layer_bytes(), scales = base + quants_bytes();
        return {base, scales, scales + kPageTokens * sizeof(float)};
    }
};

}  // namespace pocketseek
