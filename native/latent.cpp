// Attention over latents in a layer (docs/moe.md, "Latent attention"), always in absorbed form:
//
//     norm > q and kv_a, or q_a and kv_a, norm, q_b > rope; latents into their pages       all rows
//     k_b of each head > attention over the latents > v_b of each head > input of o        block by block of rows
//
// Blocks of rows bound the memory: a row's queries among the latents, and what it mixes of them, are 32 KB each in V2-Lite. Rows do
// not see the block they are in. latent_attend.cpp is the attention between k_b and v_b.
#include <algorithm>

#include "layer.h"
#include "quantise_rows.h"

namespace pocketseek {

namespace {

constexpr int kBlockHeads = 2048;           // heads of the rows of a block: 128 rows of 16 heads
constexpr int kPiecesPerThread = 6;         // at least, see most_of_piece in multiply.cpp
constexpr size_t kPieceBytes = 160 * 1024;  // of k_b or v_b times groups of rows, of a piece

}  // namespace

void Core::latent_attention(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch, const float* hidden) {
    const LatentQueries queries = latent_queries(s, w, layer_index, batch, hidden);
    store_latents(s, w, layer_index, batch, queries);
    const int most = std::max(1, kBlockHeads / s.heads), rank = s.latent.rank, attended = s.attended();
    float* const mixed = grown(mixed_, size_t(batch.rows) * attended);
    for (int first = 0; first < batch.rows; first += most) {
        const LatentRows block{first, std::min(most, batch.rows - first)};
        float* const latents = grown(latents_, size_t(block.count) * s.heads * rank);  // [row][head][rank]: queries, then what was mixed
        const auto latent = [=, heads = s.heads](int head, int row) { return latents + (size_t(row) * heads + head) * rank; };
        const auto place = [=, heads = s.heads](int head, int row) { return row * heads + head; };
        const auto query = [&](int head, int row) { return queries.of(s, first + row, head); };
        const bool raises_k = plan_raise(batch, layer_index, {Target::k_b, 1}, block.count * s.heads);
        if (raises_k) project_heads(Target::k_b, s.heads, block, query);
        multiply_heads(w.k_b, s.heads, s.latent.nope_dim, block.count, query, [&](int head, int row, int tile, float* values) {
            if (raises_k) raise_head(Target::k_b, tile, first + row, place(head, row), values);
            std::copy_n(values, kTileRows, latent(head, row) + tile * kTileRows);
        });
        attend_latents(s, layer_index, batch, block, queries);
        const int head_tiles = s.latent.value_dim / kTileRows;
        const bool raises_v = plan_raise(batch, layer_index, {Target::v_b, 1}, block.count * s.heads);
        if (raises_v) project_heads(Target::v_b, s.heads, block, latent);
        multiply_heads(w.v_b, s.heads, rank, block.count, latent, [&](int head, int row, int tile, float* values) {
            if (raises_v) raise_head(Target::v_b, head * head_tiles + tile, first + row, place(head, row), values);
            std::copy_n(values, kTileRows, mixed + size_t(first + row) * attended + head * s.latent.value_dim + tile * kTileRows);
        });
    }
}

// q and kv_a, or q_a and kv_a and then q_b of what was normed of the former. What kv_a gives is in qkv_, the last stored() values of a row.
Core::LatentQueries Core::latent_queries(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch, const float* hidden) {
    const LatentShape& l = s.latent;
    const Matrix& first = l.q_rank ? w.q_a : w.q;
    const Targets targets = l.q_rank ? Targets{Target::q_a, 2} : Targets{Target::kv_a, 2};  // q_a and kv_a, or kv_a and q
    const bool raises = plan_raise(batch, layer_index, targets, batch.rows);
    const int rows = batch.rows, width = first.rows + l.stored();
    float* const projected = grown(qkv_, size_t(rows) * width);
    in_ = activations(rows, s.hidden, {&first, &w.kv_a}, true, raises);
    normalise(hidden, w.attn_norm, s.eps, s.hidden, rows, nullptr, in_);
    if (raises) project_rows(targets);
    multiply({{&first, projected, width, Mode::store, l.q_rank ? Target::q_a : Target::q}, {&w.kv_a, projected + first.rows, width, Mode::store, Target::kv_a}}, 0,
             first.tiles() + w.kv_a.tiles(), in_, rows);
    if (!l.q_rank) return {projected, width};
    float* const queries = grown(q_, size_t(rows) * w.q_b.rows);
    float* const scratch = grown(scratch_, size_t(pool_.num_threads()) * l.q_rank);
    const bool raises_q_b = plan_raise(batch, layer_index, {Target::q_b, 1}, rows);
    in_ = activations(rows, l.q_rank, {&w.q_b}, true, raises_q_b);
    quantise_rows(l.q_rank, rows, in_, [&](int row, int worker) {
        float* const y = scratch + size_t(worker) * l.q_rank;
        table_.rms_norm(projected + size_t(row) * width, w.q_a_norm, s.eps, l.q_rank, y);
        return y;
    });
    if (raises_q_b) project_rows({Target::q_b, 1});
    multiply({{&w.q_b, queries, w.q_b.rows, Mode::store, Target::q_b}}, 0, w.q_b.tiles(), in_, rows);
    return {queries, w.q_b.rows};
}

// Norm and rope on the rows' latents, rounded into their pages, and rope on the queries.
void Core::store_latents(const ModelShape& s, const LayerWeights& w, int layer_index, const Batch& batch, const LatentQueries& queries) {
    const LatentShape& l = s.latent;
    const int half = l.rope_dim / 2, first = l.q_rank ? l.q_rank : s.heads * s.head_dim, width = first + l.stored();
    const LatentLayout layout = s.latent_pages().layout(layer_index);
    pool_.run(batch.rows, 1, [&](int begin, int end, int) {
        for (int row = begin; row < end; row++) {
            const RowSpan& span = batch.span_of(row);
            const int position = span.first_position + row - span.first_row;
            const float *cosine = batch.cosine + size_t(row) * half, *sine = batch.sine + size_t(row) * half;
            float* const stored = qkv_.data() + size_t(row) * width + first;
            table_.rms_norm(stored, w.kv_a_norm, s.eps, l.rank, stored);
            table_.rotate(stored + l.rank, cosine, sine, half);
            for (int head = 0; head < s.heads; head++) table_.rotate(queries.of(s, row, head) + l.nope_dim, cosine, sine, half);
            table_.write_latent[int(s.kv_format)](stored, l.rank, l.rope_dim, position % kPageTokens, layout, const_cast<uint8_t*>(span.pages[position / kPageTokens]));
        }
    });
}

// What adapters bring to k_b or v_b: A times the heads' own inputs, values(head, row of the block), at place row * heads + head. A task is
// all spans of sixteen ranks for one head of up to eight rows, in the order of low_rank.h.
template <class Values> void Core::project_heads(Target target, int heads, LatentRows block, Values values) {
    struct Task { int group, head, tile, first, count; };
    std::vector<Task> tasks;
    for (int g = 0; g < int(raise_.batch->adapted.size()); g++) {
        const AdaptedRows& group = raise_.batch->adapted[g];
        const auto [begin, end] = adapted_between(group, block.first, block.count);
        for (int head = 0; head < heads; head++)
            for (int tile = 0; tile < group.adapter->of(raise_.layer, target).rank_tiles(); tile++)
                for (int first = begin; first < end; first += kGroup) tasks.push_back({g, head, tile, first, std::min(kGroup, end - first)});
    }
    pool_.run(int(tasks.size()), 1, [&](int from, int to, int) {
        alignas(64) float total[kGroup * kTileRows], next[kGroup * kTileRows];
        for (int task = from; task < to; task++) {
            const Task& one = tasks[task];
            const AdaptedRows& group = raise_.batch->adapted[one.group];
            const LowRank& part = group.adapter->of(raise_.layer, target);
            const auto row = [&](int i) { return group.rows[one.first + i] - block.first; };
            for (int begin = 0; begin < part.inputs; begin += kLowRankSpan) {
                const float* x[kGroup];
                for (int i = 0; i < one.count; i++) x[i] = values(one.head, row(i)) + begin;
                table_.low_rank_project(part.a_tile(one.tile, one.head) + size_t(begin) * kTileRows, std::min(kLowRankSpan, part.inputs - begin), x, one.count,
                                        begin ? next : total);
                if (begin) table_.low_rank_merge(total, next, one.count);
            }
            for (int i = 0; i < one.count; i++) {
                table_.low_rank_scale(total + i * kTileRows, part.scale);
                std::copy_n(total + i * kTileRows, kTileRows, raise_.of(int(target), row(i) * heads + one.head) + one.tile * kTileRows);
            }
        }
    });
}

// Sixteen outputs of one head of a row; tile: of B.
void Core::raise_head(Target target, int tile, int row, int place, float* values) const {
    if (raise_.batch->adapter_of_row[row] < 0) return;
    const LowRank& part = raise_.batch->adapted[raise_.batch->adapter_of_row[row]].adapter->of(raise_.layer, target);
    const float* const u = raise_.of(int(target), place);
    if (part.present()) table_.low_rank_add(part.b_tile(tile), part.rank, &u, 1, values);
}

// Each head's rows of a matrix times the head's own inputs: values(head, row) gives `cols` of them, finish(head, row, tile of the head,
// values) gets sixteen outputs. One loop over the tile rows of all heads.
template <class Values, class Finish>
void Core::multiply_heads(const Matrix& matrix, int heads, int cols, int rows, Values values, Finish finish) {
    in_ = activations(heads * rows, cols, {&matrix}, false);
    quantise_rows(cols, heads * rows, in_, [&](int i, int) { return values(i / rows, i % rows); });
    const int all = matrix.tiles(), of_head = all / heads, threads = pool_.num_threads();
    const int most = std::clamp(int(kPieceBytes / (matrix.stride() * div_up(rows, kGroup))), 1, std::max(1, all / (kPiecesPerThread * threads)));
    pool_.run(all, most >= kTogether ? most / kTogether * kTogether : most, [&](int begin, int end, int worker) {
        alignas(64) float out[kTogether * kGroup * kTileRows];
        for (int tile = begin, count; tile < end; tile += count) {
            const int head = tile / of_head, after = (head + 1) * of_head;
            count = std::min({kTogether, end - tile, after - tile});
            TileGroup group;
            group.count = count;
            const int following = tile + count < end ? tile + count : pool_.upcoming(worker);
            for (int t = 0; t < count; t++) {
                group.tile[t] = matrix.tile(tile + t);
                if (following + t < all) group.next[t] = matrix.tile(following + t);
            }
            for (int row = 0; row < rows; row += kGroup) {
                const int some = std::min(kGroup, rows - row);
                table_.group[int(matrix.format)](group, in_, head * rows + row, some, out);
                for (int t = 0; t < count; t++)
                    for (int i = 0; i < some; i++) finish(head, row + i, tile + t - head * of_head, out + (t * some + i) * kTileRows);
            }
        }
    });
}

}  // namespace pocketseek
