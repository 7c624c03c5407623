// Rounding the rows of a pass to what a product reads, by whoever has them: a template of Core for the files that share it.
#pragma once

#include <algorithm>

#include "layer.h"

namespace pocketseek {

// The rows of one group: its place in the buffers of all rows, and the worker's own rows of the wide form, to be packed.
inline Activations rows_of_group(Activations a, int group, int worker) {
    const size_t first = size_t(group) * a.panel.group_rows, own = size_t(worker) * a.panel.group_rows, blocks = a.blocks;
    a.wide = {a.wide.q + own * blocks * kBlock, a.wide.scale + own * a.superblocks(), a.wide.sum8 + own * blocks};
    if (a.q) a.q += first * blocks * kBlock, a.scale += first * blocks, a.sum8 += first * blocks, a.sum += first * blocks;
    if (a.x) a.x += first * blocks * kBlock;
    return a;
}

// values(row, worker) gives n values of a row. A task is a whole row, or a group of rows if they go into a panel.
template <class Values>
void Core::quantise_rows(int n, int rows, const Activations& out, Values values) {
    const Panel& panel = out.panel;
    const int group_rows = panel.values ? panel.group_rows : 1, all = out.superblocks();
    pool_.run(div_up(rows, group_rows), 1, [&](int begin, int end, int worker) {
        for (int group = begin; group < end; group++) {
            const int first = group * group_rows, count = std::min(group_rows, rows - first);
            const Activations to = panel.values ? rows_of_group(out, group, worker) : out;
            for (int i = 0; i < count; i++) table_.quantise(values(first + i, worker), kTileRows, n, to, panel.values ? i : first + i, 0, all);
            if (panel.values) table_.pack(to, count, panel, group, 0, all);
        }
    });
}

}  // namespace pocketseek
