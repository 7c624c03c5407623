#include "layer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "half.h"

namespace pocketseek {

namespace {

constexpr size_t kSweepBytes = 1280 * 1024;  // int8 activations without a panel that stay in the second-level cache beside a tile row
constexpr size_t kPieceBytes = 160 * 1024;   // weights of a piece times groups of rows, at most, if it is more than a tile row: about 10 us
constexpr int kPieces = 6;                   // per thread and loop at least, see most_of_piece
constexpr int kSweepRows = 192;              // rows that one reading of a tile row serves, where tiles are not expanded
constexpr int kExpandRows = 32;              // from here on expanding a q4p tile pays
constexpr int kExpandedSweep = 264;          // rows that one expansion serves: their sums (33 KiB) stay in the second-level cache

template <class T> T* aligned(T* p) { return p + (-reinterpret_cast<uintptr_t>(p) & 63) / sizeof(T); }

// D * g of one row and block of q4p, exact in f32.
float two_level_scale(const uint8_t* tile, int blocks, int b, int r) {
    const uint8_t* steps = tile + size_t(blocks) * 256;
    const auto* scales = reinterpret_cast<const uint16_t*>(steps + size_t(blocks) * 8);
    const int step = r < 8 ? steps[b * 8 + r] & 15 : steps[b * 8 + r - 8] >> 4;
    return half_to_float(scales[b / kSuperBlocks * 16 + r]) * float(step);
}

// One row of a tiled matrix as f32, value by value as formats.py defines it.
void dequantise_row(const Matrix& m, int row, float* out) {
    const uint8_t* tile = m.tile(row / kTileRows);
    const int r = row % kTileRows, blocks = m.blocks();
    const auto* planes = reinterpret_cast<const uint16_t*>(tile + size_t(blocks) * quant_bytes(m.format));
    for (int k = 0; k < m.cols; k++) {
        const int b = k / kBlock, in = k % kBlock;
        const float d = is_quantised(m.format) && m.format != Format::q4p ? half_to_float(planes[b * 16 + r]) : 0;
        const uint8_t* block = tile + size_t(b) * quant_bytes(m.format);
        const int byte = block[(in / 8) * 64 + r * 4 + in % 4], nibble = in % 8 < 4 ? byte & 15 : byte >> 4;
        switch (m.format) {
            case Format::q4s: out[k] = d * float(nibble - 8); break;
            case Format::q4a: out[k] = std::fma(d, float(nibble), half_to_float(planes[(blocks + b) * 16 + r])); break;
            case Format::q4p: out[k] = two_level_scale(tile, blocks, b, r) * float(nibble - 8); break;
            case Format::q8s: out[k] = d * float(int8_t(block[(in / 4) * 64 + r * 4 + in % 4])); break;
            case Format::f16: out[k] = half_to_float(reinterpret_cast<const uint16_t*>(tile)[k * 16 + r]); break;
            case Format::f32: out[k] = reinterpret_cast<const float*>(tile)[k * 16 + r]; break;
        }
    }
}

}  // namespace

size_t Core::workspace_bytes() const {
    const auto bytes = [](const auto&... buffers) { return (0 + ... + (buffers.capacity() * sizeof(buffers[0]))); };
    return bytes(int8_, wide_int8_, sum8_, wide_sum8_, panel_, pair_, wide_scale_, panel_scale_, scale_, sum_, x_, qkv_, mixed_, mlp_, scratch_, partial_) +
           bytes(tasks_, span_tasks_);
}

void Core::embed(const Matrix& table, const int32_t* ids, int rows, float* hidden) {
    const ExactFloats exact;
    for (int row = 0; row < rows; row++) dequantise_row(table, ids[row], hidden + size_t(row) * table.cols);
}

// Buffers for the forms of the input that its consumers need. Many rows of the wide form go into a panel, group by group, if `expand`.
Activations Core::activations(int rows, int cols, std::initializer_list<const Matrix*> consumers, bool expand) {
    Activations a;
    a.blocks = div_up(cols, kBlock);
    bool narrow = false, wide = false, floats = false;
    for (const Matrix* m : consumers) {
        const bool is_wide = m->format == Format::q4p;
        wide |= is_wide, narrow |= is_quantised(m->format) && !is_wide, floats |= !is_quantised(m->format);
    }
    const size_t blocks = size_t(rows) * a.blocks;
    if (wide) {
        int wide_rows = rows;
        if (expand && table_.pair && rows >= kExpandRows) {
            const int group_rows = table_.pair_rows, groups = div_up(rows, group_rows);
            const size_t panels = size_t(groups) * group_rows * a.superblocks();
            a.panel = {groups, group_rows, aligned(grown(panel_, panels * kSuperBlocks * kBlock + 64)), grown(panel_scale_, panels)};
            wide_rows = group_rows * pool_.num_threads();
        }
        a.wide = {grown(wide_int8_, size_t(wide_rows) * a.blocks * kBlock), grown(wide_scale_, size_t(wide_rows) * a.superblocks()),
                  grown(wide_sum8_, size_t(wide_rows) * a.blocks)};
    }
    if (narrow) {
        a.q = grown(int8_, blocks * kBlock);
        a.scale = grown(scale_, blocks);
        a.sum8 = grown(sum8_, blocks);
        a.sum = grown(sum_, blocks);
    }
    if (floats) a.x = grown(x_, blocks * kBlock);
    return a;
}

// The rows of one group: its place in the buffers of all rows, and the worker's own rows of the wide form, to be packed.
static Activations rows_of_group(Activations a, int group, int worker) {
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

// A task is a superblock of a group of rows, which lies in one piece.
void Core::quantise_mlp(int n, int rows, const Activations& out, const MlpRows& mlp) {
    const Panel& panel = out.panel;
    const int group_rows = panel.values ? panel.group_rows : mlp.group_rows, groups = div_up(rows, group_rows), all = out.superblocks();
    pool_.run(groups * all, 1, [&](int begin, int end, int worker) {
        for (int task = begin; task < end; task++) {
            const int group = task / all, part = task % all, first = group * group_rows, count = std::min(group_rows, rows - first);
            const Activations to = panel.values ? rows_of_group(out, group, worker) : out;
            for (int i = 0; i < count; i++)
                table_.quantise(mlp.tile(first + i, 0), ptrdiff_t(mlp.group_rows) * kTileRows, n, to, panel.values ? i : first + i, part, part + 1);
            if (panel.values) table_.pack(to, count, panel, group, part, part + 1);
        }
    });
}

void Core::normalise(const float* x, const float* weight, float eps, int n, int rows, const int32_t* chosen, const Activations& out) {
    float* scratch = grown(scratch_, size_t(pool_.num_threads()) * n);
    quantise_rows(n, rows, out, [&](int row, int worker) {
        float* y = scratch + size_t(worker) * n;
        table_.rms_norm(x + size_t(chosen ? chosen[row] : row) * n, weight, eps, n, y);
        return y;
    });
}

// finish(pair, row, count, values) gets values[t] = [count][16] of each tile of a pair, for a few rows at a time.
template <class Finish>
void Core::multiply_expanded(const TilePair& pair, const Activations& in, int first, int last, int worker, Finish& finish) {
    const Panel& panel = in.panel;
    const uint8_t* const tiles[2] = {pair.data(0), pair.data(pair.count - 1)};
    const size_t each = size_t(2) * panel.group_rows * kTileRows;
    float* out = aligned(pair_.data() + worker * pair_floats(panel));
    const int first_group = first / panel.group_rows, num_groups = div_up(last, panel.group_rows) - first_group;
    table_.pair(tiles, in.blocks, panel, first_group, num_groups, reinterpret_cast<uint8_t*>(out + each * num_groups), out);
    for (int row = first; row < last; row += panel.group_rows, out += each)
        finish(pair, row, std::min(panel.group_rows, last - row), {out, out + each / 2});
}

size_t Core::pair_floats(const Panel& panel) const {
    return size_t(std::min(panel.num_groups * panel.group_rows, kExpandedSweep)) * 2 * kTileRows + kPairScratchBytes / 4 + 16;
}

// With a panel there is no other form of the wide rows: a q4p pair must be expanded, also where pairs of other formats lie around it.
bool Core::is_expanded(const TilePair& pair, const Activations& in) { return in.panel.values && pair.format(0) == Format::q4p; }

// The pairs from `begin` on that are read together: at most `most` tiles, up to one that is expanded.
template <class Find> void Core::gather(int begin, int end, int most, const Activations& in, Find& find, Together& all) {
    all.num_pairs = all.num_tiles = 0;
    for (int index = begin; index < end; index++) {
        TilePair& pair = all.pairs[all.num_pairs];
        pair = find(index);
        if (all.num_tiles + pair.count > most || is_expanded(pair, in)) break;
        all.num_pairs++;
        for (int t = 0; t < pair.count; t++) all.format[all.num_tiles] = pair.format(t), all.tile[all.num_tiles++] = pair.data(t);
    }
}

// out[tiles][count][16]; tiles of different formats (a mixed recipe) are read one after the other. `following`: null if unknown.
void Core::multiply_tiles(const Together& tiles, const Together* following, const Activations& in, int row, int count, float* out) const {
    const bool known = following && tiles.uniform() && following->uniform() && following->num_tiles && following->format[0] == tiles.format[0];
    for (int t = 0; t < tiles.num_tiles;) {
        TileGroup group;
        const Format format = tiles.format[t];
        float* results = out + size_t(t) * count * kTileRows;
        for (; t < tiles.num_tiles && tiles.format[t] == format; t++) group.tile[group.count++] = tiles.tile[t];
        if (known) std::copy_n(following->tile, following->num_tiles, group.next);
        table_.group[int(format)](group, in, row, count, results);
    }
}

// Some pairs of the piece [begin, end), for all rows; returns the first that is left. What comes after the piece is right unless another
// thread takes it over.
template <class Find, class Finish>
int Core::multiply_together(int begin, int end, int num_pairs, const Activations& in, int first, int last, int worker, Find& find, Finish& finish) {
    const int most = last - first <= kGroup ? kTogether : 2;  // tiles that are read again for more rows should stay in a small cache
    Together tiles, following;
    gather(begin, end, most, in, find, tiles);
    const int after = begin + tiles.num_pairs;
    if (after < end) gather(after, end, most, in, find, following);
    else gather(pool_.upcoming(worker), num_pairs, most, in, find, following);
    alignas(64) float out[kTogether * kGroup * kTileRows];
    for (int row = first; row < last; row += kGroup) {
        const int count = std::min(kGroup, last - row);
        multiply_tiles(tiles, row + count == last ? &following : nullptr, in, row, count, out);
        const float* values = out;
        for (int p = 0; p < tiles.num_pairs; values += tiles.pairs[p++].count * count * kTileRows)
            finish(tiles.pairs[p], row, count, {values, values + count * kTileRows});
    }
    return after;
}

// How many of `all` tasks may make a piece: at most `whole`, a power of two. A thread reads a whole group fastest, as four streams
// instead of one (1.4 times as fast). But a loop may end with a wait for one piece on the slowest core. With six pieces per thread and a
// core that reads four times slower, that is two thirds of a share in the worst case and a third on average, about what the streams gain;
// fewer pieces lose more. Nothing else depends on their number, since the rest of a share is taken over by halves. Threads that are
// many read many streams between them, also with a tile each: in the 1.5B shape pieces are whole groups on up to four threads, half
// groups on eight. Unmeasured beyond two threads and on cores of unequal kinds.
static int most_of_piece(int all, int whole, int threads) {
    return std::clamp(int(std::bit_floor(unsigned(all / (kPieces * threads)))), 1, whole);
}

// All pairs (find(index) names one) x sweeps over some rows.
template <class Find, class Finish>
void Core::multiply_pairs(int pairs, size_t stride, const Activations& in, int rows, Find find, Finish finish) {
    const Panel& panel = in.panel;
    const size_t cols = size_t(in.blocks) * kBlock;
    const int step = panel.values ? panel.group_rows : kGroup;
    const int most = panel.values ? kExpandedSweep : std::clamp(int(kSweepBytes / cols), step, kSweepRows);
    const int sweep = div_up(div_up(rows, div_up(rows, most)), step) * step;  // of equal size
    const int width = find(0).count, most_pairs = most_of_piece(pairs, kTogether / width, pool_.num_threads());
    const int grain = std::clamp(int(kPieceBytes / (stride * width * div_up(std::min(rows, sweep), kGroup))), 1, most_pairs);
    if (panel.values) grown(pair_, pool_.num_threads() * pair_floats(panel));
    for (int first = 0; first < rows; first += sweep) {
        const int last = std::min(rows, first + sweep);
        pool_.run(pairs, grain, [&](int begin, int end, int worker) {
            while (begin < end) {
                const TilePair pair = find(begin);
                if (is_expanded(pair, in)) multiply_expanded(pair, in, first, last, worker, finish), begin++;
                else begin = multiply_together(begin, end, pairs, in, first, last, worker, find, finish);
            }
        });
    }
}

void Core::multiply(const std::vector<Product>& products, const Activations& in, int rows) {
    const int together = in.panel.values ? 2 : 1;  // without a panel the unit is one tile, and `gather` puts four together
    const auto pairs_of = [=](const Matrix& m) { return div_up(m.tiles(), together); };
    int pairs = 0;
    for (const Product& p : products) pairs += pairs_of(*p.matrix);
    const auto find = [&](int index) {
        const Product* p = products.data();
        while (index >= pairs_of(*p->matrix)) index -= pairs_of(*(p++)->matrix);
        const Matrix& m = *p->matrix;
        return TilePair{{&m, &m}, {together * index, together * index + 1}, std::min(together, m.tiles() - together * index)};
    };
    const auto finish = [&](const TilePair& pair, int row, int count, const Results& values) {
        const Product* p = products.data();
        while (p->matrix != pair.matrix[0]) p++;
        for (int t = 0; t < pair.count; t++) {
            const int column = pair.tile[t] * kTileRows, width = std::min(kTileRows, p->matrix->rows - column);
            (p->mode == Mode::add ? table_.add_tile : table_.store_tile)(p->out + size_t(row) * p->stride + column, p->stride, values[t], count, width);
        }
    };
    multiply_pairs(pairs, products[0].matrix->stride(), in, rows, find, finish);
}

void Core::multiply_swiglu(const Matrix& gate, const Matrix& up, const Activations& in, int rows, const MlpRows& out) {
    const auto find = [&](int index) { return TilePair{{&gate, &up}, {index, index}, 2}; };
    const auto finish = [&](const TilePair& pair, int row, int count, const Results& values) {
        table_.swiglu(values[0], values[1], out.tile(row, pair.tile[0]), count * kTileRows);
    };
    multiply_pairs(gate.tiles(), gate.stride(), in, rows, find, finish);
}

void Core::layer(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch, float* hidden) {
    if (!batch.rows) return;
    const ExactFloats exact;
    const int rows = batch.rows, q_width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim, width = q_width + 2 * kv_width;

    float* qkv = grown(qkv_, size_t(rows) * width);
    float* mixed = grown(mixed_, size_t(rows) * q_width);

    Activations in = activations(rows, s.hidden, {&w.q, &w.k, &w.v});
    normalise(hidden, w.attn_norm, s.eps, s.hidden, rows, nullptr, in);
    multiply({{&w.q, qkv, width, Mode::store}, {&w.k, qkv + q_width, width, Mode::store}, {&w.v, qkv + q_width + kv_width, width, Mode::store}}, in, rows);
    store_keys_values(s, w, layer_index, batch);
    attend(s, layer_index, batch);
    in = activations(rows, q_width, {&w.o});
    quantise_rows(q_width, rows, in, [&](int row, int) { return mixed + size_t(row) * q_width; });
    multiply({{&w.o, hidden, s.hidden, Mode::add}}, in, rows);

    in = activations(rows, s.hidden, {&w.gate, &w.up}, w.gate.format == w.up.format);
    normalise(hidden, w.mlp_norm, s.eps, s.hidden, rows, nullptr, in);
    const int group_rows = in.panel.values ? in.panel.group_rows : kGroup, tiles = w.gate.tiles();
    const MlpRows mlp{group_rows, tiles, grown(mlp_, size_t(div_up(rows, group_rows)) * group_rows * tiles * kTileRows)};
    multiply_swiglu(w.gate, w.up, in, rows, mlp);
    in = activations(rows, s.intermediate, {&w.down});
    quantise_mlp(s.intermediate, rows, in, mlp);
    multiply({{&w.down, hidden, s.hidden, Mode::add}}, in, rows);
}

void Core::head(const ModelShape& s, const float* norm, const Matrix& table, const float* hidden, const int32_t* chosen, int num_chosen, float* logits) {
    if (!num_chosen) return;
    const ExactFloats exact;
    const Activations in = activations(num_chosen, s.hidden, {&table});
    normalise(hidden, norm, s.eps, s.hidden, num_chosen, chosen, in);
    multiply({{&table, logits, table.rows, Mode::store}}, in, num_chosen);
}

}  // namespace pocketseek
