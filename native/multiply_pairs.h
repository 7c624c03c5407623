// Pairs of tile rows times rows of a pass: templates of Core for the files that share them.
#pragma once

#include <algorithm>
#include <bit>

#include "layer.h"

namespace pocketseek {

inline constexpr size_t kSweepBytes = 1280 * 1024;  // int8 activations without a panel that stay in the second-level cache beside a tile row
inline constexpr size_t kPieceBytes = 160 * 1024;   // weights of a piece times groups of rows, at most, if it is more than a tile row: about 10 us
inline constexpr int kPieces = 6;                   // per thread and loop at least, see most_of_piece
inline constexpr int kSweepRows = 192;              // rows that one reading of a tile row serves, where tiles are not expanded
inline constexpr int kExpandedSweep = 264;          // rows that one expansion serves: their sums (33 KiB) stay in the second-level cache

// finish(pair, row, count, values) gets values[t] = [count][16] of each tile of a pair, for a few rows at a time.
template <class Finish>
void Core::multiply_expanded(const TilePair& pair, const Activations& in, int first, int last, float* out, Finish& finish) {
    const Panel& panel = in.panel;
    const uint8_t* const tiles[2] = {pair.data(0), pair.data(pair.count - 1)};
    const size_t each = size_t(2) * panel.group_rows * kTileRows;
    const int first_group = first / panel.group_rows, num_groups = div_up(last, panel.group_rows) - first_group;
    table_.pair(tiles, in.blocks, panel, first_group, num_groups, reinterpret_cast<uint8_t*>(out + each * num_groups), out);
    for (int row = first; row < last; row += panel.group_rows, out += each)
        finish(pair, row, std::min(panel.group_rows, last - row), {out, out + each / 2});
}

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

// Some pairs of [begin, end), for all rows; returns the first that is left. They are in a piece that goes on to `piece_end`; what comes
// after the piece is right unless another thread takes it over.
template <class Find, class Finish>
int Core::multiply_together(int begin, int end, int piece_end, int num_pairs, const Activations& in, int first, int last, int worker, Find& find, Finish& finish) {
    const int most = last - first <= kGroup ? kTogether : 2;  // tiles that are read again for more rows should stay in a small cache
    Together tiles, following;
    gather(begin, end, most, in, find, tiles);
    const int after = begin + tiles.num_pairs;
    if (after < piece_end) gather(after, piece_end, most, in, find, following);
    else gather(pool_.upcoming(worker), num_pairs, most, in, find, following);
    alignas(64) float out[kTogether * kGroup * kTileRows];
    for (int row = first; row < last; row += kGroup) {
        const int count = std::min(kGroup, last - row);
        multiply_tiles(tiles, row + count == last ? &following : nullptr, in, row, count, out);
        float* values = out;
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
inline int most_of_piece(int all, int whole, int threads) {
    return std::clamp(int(std::bit_floor(unsigned(all / (kPieces * threads)))), 1, whole);
}

}  // namespace pocketseek
