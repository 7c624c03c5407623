// Memory for the input of matrix products, in the forms that its consumers read.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "table.h"

namespace pocketseek {

// Room for n values; what was there is lost when it grows, so that old and new never take memory together.
template <class T> T* grown(std::vector<T>& buffer, size_t n) {
    if (buffer.size() < n) {
        std::vector<T>().swap(buffer);
        buffer.resize(n);
    }
    return buffer.data();
}

// The first address from p on that begins a cache line.
template <class T> T* aligned(T* p) { return p + (-reinterpret_cast<uintptr_t>(p) & 63) / sizeof(T); }

template <class... T> size_t capacity_bytes(const std::vector<T>&... buffers) { return (0 + ... + (buffers.capacity() * sizeof(T))); }

inline constexpr int kExpandRows = 32;  // from here on expanding a q4p tile pays

// int8 with a scale per block, int8 with a scale per superblock (q4p), f32.
struct Forms {
    bool narrow = false, wide = false, floats = false;

    Forms() = default;
    Forms(std::initializer_list<const Matrix*> consumers) {
        for (const Matrix* m : consumers) add(*m);
    }
    void add(const Matrix& m) {
        if (m.format == Format::q4p) wide = true;
        else (is_quantised(m.format) ? narrow : floats) = true;
    }
    void add(const Forms& other) { narrow |= other.narrow, wide |= other.wide, floats |= other.floats; }
    Forms without(const Forms& other) const {
        Forms rest;
        rest.narrow = narrow && !other.narrow, rest.wide = wide && !other.wide, rest.floats = floats && !other.floats;
        return rest;
    }
    bool any() const { return narrow || wide || floats; }
};

struct ActivationBuffers {
    std::vector<int8_t> q, wide_q;
    std::vector<int32_t> sum8, wide_sum8;
    std::vector<float> scale, sum, x, wide_scale;

    // Of these forms alone; the memory of the others stays as it is.
    Activations take(const Forms& forms, size_t blocks, size_t wide_blocks, size_t wide_superblocks) {
        Activations a;
        if (forms.wide) a.wide = {grown(wide_q, wide_blocks * kBlock), grown(wide_scale, wide_superblocks), grown(wide_sum8, wide_blocks)};
        if (forms.narrow) a.q = grown(q, blocks * kBlock), a.scale = grown(scale, blocks), a.sum8 = grown(sum8, blocks), a.sum = grown(sum, blocks);
        if (forms.floats) a.x = grown(x, blocks * kBlock);
        return a;
    }
    size_t bytes() const { return capacity_bytes(q, wide_q, sum8, wide_sum8, scale, sum, x, wide_scale); }
};

// What lies `blocks` and `superblocks` after the first of them, as the first row of an input that is `width` blocks wide.
inline Activations activations_from(Activations a, size_t blocks, size_t superblocks, int width) {
    a.blocks = width;
    if (a.q) a.q += blocks * kBlock, a.scale += blocks, a.sum8 += blocks, a.sum += blocks;
    if (a.x) a.x += blocks * kBlock;
    if (a.wide.q) a.wide = {a.wide.q + blocks * kBlock, a.wide.scale + superblocks, a.wide.sum8 + blocks};
    return a;
}

struct PanelBuffers {
    std::vector<uint8_t> values;
    std::vector<float> scale;

    // Room for panels of so many groups times superblocks in all; `values` of the first begin a cache line.
    Panel take(size_t groups_and_superblocks, int group_rows) {
        const size_t panels = groups_and_superblocks * group_rows;
        return {0, group_rows, aligned(grown(values, panels * kSuperBlocks * kBlock + 64)), grown(scale, panels)};
    }
    size_t bytes() const { return capacity_bytes(values, scale); }
};

// The panel of some groups that begins so many groups times superblocks after the first.
inline Panel panel_from(Panel p, size_t groups_and_superblocks, int num_groups) {
    const size_t panels = groups_and_superblocks * p.group_rows;
    return {num_groups, p.group_rows, p.values + panels * kSuperBlocks * kBlock, p.scale + panels};
}

}  // namespace pocketseek
