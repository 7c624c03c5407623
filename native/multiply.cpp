// Tile rows of matrices times the rows of a pass: which thread does which, and which tile rows are read together.
#include "multiply_pairs.h"

namespace pocketseek {

size_t Core::pair_floats(const Panel& panel) const {
    return size_t(std::min(panel.num_groups * panel.group_rows, kExpandedSweep)) * 2 * kTileRows + kPairScratchBytes / 4 + 16;
}

// With a panel there is no other form of the wide rows: a q4p pair must be expanded, also where pairs of other formats lie around it.
bool Core::is_expanded(const TilePair& pair, const Activations& in) { return in.panel.values && pair.format(0) == Format::q4p; }

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
    const size_t each = panel.values ? pair_floats(panel) : 0;
    grown(pair_, pool_.num_threads() * each);
    for (int first = 0; first < rows; first += sweep) {
        const int last = std::min(rows, first + sweep);
        pool_.run(pairs, grain, [&](int begin, int end, int worker) {
            while (begin < end) {
                const TilePair pair = find(begin);
                if (is_expanded(pair, in)) multiply_expanded(pair, in, first, last, aligned(pair_.data() + worker * each), finish), begin++;
                else begin = multiply_together(begin, end, end, pairs, in, first, last, worker, find, finish);
            }
        });
    }
}

// The tile rows [first_tile, first_tile + num_tiles) of some matrices, counted through from the first one on.
void Core::multiply(const std::vector<Product>& whole, int first_tile, int num_tiles, const Activations& in, int rows) {
    struct Slice {
        Matrix matrix;
        float* out;
        int stride;
        Mode mode;
        std::optional<Target> target;
        int first_tile;  // of the whole matrix
    };
    std::vector<Slice> products;
    products.reserve(whole.size());
    int before = 0;
    for (const Product& p : whole) {
        const int begin = std::max(0, first_tile - before), end = std::min(p.matrix->tiles(), first_tile + num_tiles - before);
        if (begin < end) products.push_back({p.matrix->slice(begin, end - begin), p.out + begin * kTileRows, p.stride, p.mode, p.target, begin});
        before += p.matrix->tiles();
    }
    const int together = in.panel.values ? 2 : 1;  // without a panel the unit is one tile, and `gather` puts four together
    const auto pairs_of = [=](const Matrix& m) { return div_up(m.tiles(), together); };
    int pairs = 0;
    for (const Slice& p : products) pairs += pairs_of(p.matrix);
    const auto find = [&](int index) {
        const Slice* p = products.data();
        while (index >= pairs_of(p->matrix)) index -= pairs_of((p++)->matrix);
        const Matrix& m = p->matrix;
        return TilePair{{&m, &m}, {together * index, together * index + 1}, std::min(together, m.tiles() - together * index)};
    };
    const auto finish = [&](const TilePair& pair, int row, int count, const Results& values) {
        const Slice* p = products.data();
        while (&p->matrix != pair.matrix[0]) p++;
        for (int t = 0; t < pair.count; t++) {
            const int column = pair.tile[t] * kTileRows, width = std::min(kTileRows, p->matrix.rows - column);
            raise(p->target, p->first_tile + pair.tile[t], row, count, values[t]);
            (p->mode == Mode::add ? table_.add_tile : table_.store_tile)(p->out + size_t(row) * p->stride + column, p->stride, values[t], count, width);
        }
    };
    multiply_pairs(pairs, products[0].matrix.stride(), in, rows, find, finish);
}

// finish(tile, row, count, values) gets values [count][16] of a tile.
template <class Finish> void Core::multiply_inner(const Matrix& matrix, const Activations& in, int rows, Finish finish) {
    const int together = in.panel.values ? 2 : 1;
    const auto find = [&](int index) {
        return TilePair{{&matrix, &matrix}, {together * index, together * index + 1}, std::min(together, matrix.tiles() - together * index)};
    };
    const auto finish_pair = [&](const TilePair& pair, int row, int count, const Results& values) {
        for (int t = 0; t < pair.count; t++) finish(pair.tile[t], row, count, values[t]);
    };
    multiply_pairs(div_up(matrix.tiles(), together), matrix.stride(), in, rows, find, finish_pair);
}

void Core::multiply_gate(const Matrix& gate, int first_tile, int num_tiles, const Activations& in, int rows, const MlpRows& out) {
    multiply_inner(gate.slice(first_tile, num_tiles), in, rows,
                   [&](int tile, int row, int count, float* values) {
                       raise(Target::gate, first_tile + tile, row, count, values);
                       std::copy_n(values, count * kTileRows, out.tile(row, first_tile + tile));
                   });
}

void Core::multiply_up(const Matrix& up, int first_tile, int num_tiles, const Activations& in, int rows, const MlpRows& out) {
    multiply_inner(up.slice(first_tile, num_tiles), in, rows, [&](int tile, int row, int count, float* values) {
        raise(Target::up, first_tile + tile, row, count, values);
        float* const gate = out.tile(row, first_tile + tile);
        table_.swiglu(gate, values, gate, count * kTileRows);
    });
}

void Core::multiply_swiglu(const Matrix& gate, const Matrix& up, const Activations& in, int rows, const MlpRows& out) {
    const auto find = [&](int index) { return TilePair{{&gate, &up}, {index, index}, 2}; };
    const auto finish = [&](const TilePair& pair, int row, int count, const Results& values) {
        raise(Target::gate, pair.tile[0], row, count, values[0]);
        raise(Target::up, pair.tile[0], row, count, values[1]);
        table_.swiglu(values[0], values[1], out.tile(row, pair.tile[0]), count * kTileRows);
    };
    multiply_pairs(gate.tiles(), gate.stride(), in, rows, find, finish);
}

}  // namespace pocketseek
