// Prints hashes of the row functions of sampling, and of the logits of a random model: for every instruction set here, every case, every way to put the same tokens into
// passes and several numbers of threads. A line is
//
//     set case passes threads hash
//
// and the hash may depend on the case alone: bits.expected has one line per case, written by the scalar twin, and scripts/bits
// compares. Deterministic weights from an integer generator; no files, no Python.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "../dispatch.h"
#include "../half.h"
#include "../layer.h"
#include "../rope.h"

using namespace pocketseek;

namespace {

struct Random {
    uint64_t state;
    uint32_t next() {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        return uint32_t(state >> 32);
    }
    float uniform() { return float(int32_t(next() >> 8) - (1 << 23)) / float(1 << 23); }  // exact, in [-1, 1)
};

struct Model {
    ModelShape shape{72, 300, 6, 2, 24, 1e-6f};  // 3, 10 and 5 blocks: whole and part superblocks, odd numbers of tiles
    int vocabulary = 53;
    std::vector<std::vector<uint8_t>> matrices;
    std::vector<std::vector<float>> vectors;
    Random random{42};

    Matrix matrix(Format format, int rows, int cols) {
        Matrix m;
        m.format = format, m.rows = rows, m.cols = cols;
        matrices.emplace_back(m.tiles() * m.stride());
        uint8_t* data = matrices.back().data();
        for (int tile = 0; tile < m.tiles(); tile++, data += m.stride()) fill(format, m.blocks(), data);
        m.add_part(m.tiles(), matrices.back().data());
        return m;
    }
    void fill(Format format, int blocks, uint8_t* tile) {
        auto* halves = reinterpret_cast<uint16_t*>(tile);
        auto* floats = reinterpret_cast<float*>(tile);
        const size_t quants = blocks * quant_bytes(format), values = size_t(blocks) * kBlock * kTileRows;
        if (format == Format::f16) for (size_t i = 0; i < values; i++) halves[i] = float_to_half(random.uniform() * 0.2f);
        else if (format == Format::f32) for (size_t i = 0; i < values; i++) floats[i] = random.uniform() * 0.2f;
        else {
            for (size_t i = 0; i < quants; i++) tile[i] = uint8_t(random.next() >> 24);
            const size_t steps = format == Format::q4p ? size_t(blocks) * 8 : 0;
            for (size_t i = 0; i < steps; i++) tile[quants + i] = uint8_t(random.next() >> 24);
            const float size = format == Format::q8s || format == Format::q4p ? 0.003f : format == Format::q6s ? 0.01f : 0.03f;
            const size_t end = tile_row_bytes(format, blocks);
            for (size_t i = (quants + steps) / 2; i < end / 2; i++) halves[i] = float_to_half(random.uniform() * size);
        }
    }
    const float* vector(int n, float mean) {
        vectors.emplace_back(n);
        for (float& x : vectors.back()) x = mean + 0.3f * random.uniform();
        return vectors.back().data();
    }
};

uint64_t fnv(const void* data, size_t bytes) {
    uint64_t hash = 1469598103934665603ull;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ static_cast<const uint8_t*>(data)[i]) * 1099511628211ull;
    return hash;
}

// What a library loaded into the same process may have left behind.
void flush_subnormals(bool on) {
#if defined(__x86_64__)
    _mm_setcsr(on ? _mm_getcsr() | 0x8040u : _mm_getcsr() & ~0x8040u);
#elif defined(__aarch64__)
    asm volatile("msr fpcr, %0" ::"r"(on ? uint64_t(1) << 24 : uint64_t(0)));
#else
    (void)on;
#endif
}

// size: of the embedding's values; 1e-41 makes them subnormal, which flush-to-zero would turn into zeros. mixed: every matrix of the
// layer has a format of its own, `format` is that of the embedding. head_dim: with 6 heads. k_q8s: k has another format than q and v, so
// that tiles that are expanded lie around some that are not. latent: attention over latents, with `heads` heads. moe: experts, each with
// other formats if `mixed`. rank: the first sequence has an adapter of it for all targets, the third one of rank 3 for some. intermediate: if
// not 300.
struct Case {
    const char* name;
    Format format;
    float size = 1.0f;
    bool flush = false;
    KvFormat kv = KvFormat::f16;
    bool mixed = false;
    int head_dim = 24;
    bool k_q8s = false;
    LatentShape latent{};
    int heads = 6;
    MoeShape moe{};
    int rank = 0, intermediate = 0;
    bool has_parts() const { return !latent.rank || moe.num_experts; }
};
constexpr Case kCases[] = {
    {"q4s", Format::q4s}, {"q4a", Format::q4a}, {"q4p", Format::q4p}, {"q6s", Format::q6s}, {"q8s", Format::q8s}, {"f16", Format::f16}, {"f32", Format::f32},
    {"f32-subnormal", Format::f32, 1e-41f}, {"f32-subnormal", Format::f32, 1e-41f, true}, {"f32-kv8", Format::f32, 1.0f, false, KvFormat::q8},
    {"mixed", Format::q8s, 1.0f, false, KvFormat::f16, true}, {"q4p-head128-kv8", Format::q4p, 1.0f, false, KvFormat::q8, false, 128},
    {"q4p-k8s", Format::q4p, 1.0f, false, KvFormat::f16, false, 24, true},
    {"latents-q8s", Format::q8s, 1.0f, false, KvFormat::f16, false, 0, false, {48, 24, 8, 16, 0, 1.3f}},
    {"latents-q4p-kv8", Format::q4p, 1.0f, false, KvFormat::q8, false, 0, false, {288, 40, 16, 32, 20, 0.7f}, 17},  // a bundle of one head, three slices
    {"experts-q4p", Format::q4p, 1.0f, false, KvFormat::f16, false, 24, false, {}, 6, {7, 3, 300, 520}},  // whole and part superblocks
    {"experts-mixed", Format::q4a, 1.0f, false, KvFormat::q8, true, 24, false, {}, 6, {24, 4, 40, 0, true, 4, 2, true, true, 2.5f}},  // biased groups
    {"experts-latents", Format::q6s, 1.0f, false, KvFormat::f16, false, 0, false, {48, 24, 8, 16, 0, 1.3f}, 6, {20, 2, 24, 33, false, 5, 3, false, false, 16.0f}},
    {"adapters-q4p", Format::q4p, 1.0f, false, KvFormat::f16, false, 24, false, {}, 6, {}, 16, 1200},  // three spans of inputs
    {"adapters-mixed", Format::q8s, 1.0f, false, KvFormat::q8, true, 24, false, {}, 6, {}, 37},
    {"adapters-experts", Format::q4p, 1.0f, false, KvFormat::f16, false, 24, false, {}, 6, {7, 3, 300, 520}, 16},  // of attention and shared experts
    {"adapters-latents", Format::q6s, 1.0f, false, KvFormat::f16, false, 0, false, {528, 24, 8, 16, 0, 1.3f}, 6, {20, 2, 24, 33, false, 5, 3, false, false, 16.0f}, 5},
    {"adapters-latents-q", Format::q4p, 1.0f, false, KvFormat::q8, false, 0, false, {288, 40, 16, 32, 20, 0.7f}, 17, {}, 37},
};

// Three sequences; a pass takes `count` more tokens of each. Every way must give every token the same logits.
constexpr int kSequences = 3;
constexpr int kLengths[kSequences] = {530, 40, 9};  // the first reaches into a second attention span
struct Pass { int count[kSequences]; };
struct Passes {
    const char* name;
    int threads;
    std::vector<Pass> passes;  // what is left at the end comes in one pass per sequence
    bool parts = false;        // layer and head in parts of one, two, three, ... tiles; of layers with experts, in steps
};
const Passes kPasses[] = {
    {"whole", 3, {}},
    // ends with few rows after 512 positions: spans are computed apart and merged
    {"cut", 3, {{{1}}, {{7}}, {{33}}, {{2}}, {{64}}, {{3}}, {{8}}, {{5}}, {{193}}, {{4}}, {{6}}, {{190}}, {{1}}, {{3}}, {{1}}, {{0, 1}}, {{0, 32}}}},
    {"parts", 3, {{{1}}, {{7}}, {{30, 1, 1}}, {{41}}}, true},
    {"mixed", 1, {{{1, 1, 1}}, {{5, 1, 1}}, {{30, 1, 1}}, {{1, 37, 1}}, {{270, 0, 3}}, {{1, 0, 1}}}},
};

struct RandomModel : Model {
    LayerWeights w;
    Matrix embedding;
    const float* norm;
    std::vector<float> inv_freq;
    std::vector<std::vector<uint16_t>> halves;
    Adapter adapters[2];  // of the first and the third sequence

    explicit RandomModel(const Case& what) {
        const Format format = what.format;
        shape.kv_format = what.kv, shape.head_dim = what.head_dim;
        if (what.intermediate) shape.intermediate = what.intermediate;
        if (what.latent.rank) shape.latent = what.latent, shape.heads = what.heads, shape.kv_heads = 1, shape.head_dim = what.latent.nope_dim + what.latent.rope_dim;
        const ModelShape& s = shape;
        const auto of = [&](Format one) { return what.mixed ? one : format; };
        const int q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
        w.attn_norm = vector(s.hidden, 1), w.mlp_norm = vector(s.hidden, 1);
        if (s.latent.rank) take_latents(format, q);
        else {
            w.q_bias = vector(q, 0), w.k_bias = vector(kv, 0), w.v_bias = vector(kv, 0);
            w.q_norm = vector(s.head_dim, 1), w.k_norm = vector(s.head_dim, 1);
            w.q = matrix(of(Format::q4p), q, s.hidden), w.k = matrix(what.k_q8s ? Format::q8s : of(Format::q8s), kv, s.hidden), w.v = matrix(of(Format::f16), kv, s.hidden);
        }
        w.o = matrix(of(Format::q4a), s.hidden, s.attended());
        if (what.moe.num_experts) take_experts(what);
        else w.gate = matrix(of(Format::q4p), s.intermediate, s.hidden), w.up = matrix(of(Format::q4s), s.intermediate, s.hidden), w.down = matrix(of(Format::q4p), s.hidden, s.intermediate);
        embedding = matrix(format, vocabulary, s.hidden);
        if (format == Format::f32) {
            auto* x = reinterpret_cast<float*>(matrices.back().data());
            for (size_t i = 0; i < matrices.back().size() / 4; i++) x[i] *= what.size;
        }
        norm = vector(s.hidden, 1);
        for (int i = 0; i < s.rotated() / 2; i++) inv_freq.push_back(1.0f / float(1 + i * i));
        if (what.rank) take_adapters(what);
    }
    void take_adapters(const Case& what) {
        const std::pair<Target, const Matrix*> targets[] = {
            {Target::q, &w.q}, {Target::k, &w.k}, {Target::v, &w.v}, {Target::o, &w.o}, {Target::gate, &w.gate}, {Target::up, &w.up}, {Target::down, &w.down},
            {Target::q_a, &w.q_a}, {Target::q_b, &w.q_b}, {Target::kv_a, &w.kv_a}, {Target::k_b, &w.k_b}, {Target::v_b, &w.v_b},
            {Target::shared_gate, &w.shared.gate}, {Target::shared_up, &w.shared.up}, {Target::shared_down, &w.shared.down}};
        const auto some = [&](size_t count) {
            halves.emplace_back(count);
            for (uint16_t& x : halves.back()) x = float_to_half(random.uniform() * 0.3f);
            return halves.back().data();
        };
        for (int i = 0; i < 2; i++) {
            auto& layer = adapters[i].layers.emplace_back();
            for (int t = 0; t < kNumTargets; t += i + 1) {  // the second: every other one of them
                const auto& [target, matrix] = targets[t];
                const Matrix& m = *matrix;
                if (!m.present()) continue;
                LowRank& part = layer[int(target)];
                part.by_heads = target == Target::k_b;
                part.rank = i ? 3 : what.rank, part.inputs = m.cols, part.outputs = part.by_heads ? shape.latent.rank : m.rows, part.scale = 0.1f + 0.3f * float(t % 7);
                part.a = some(size_t(part.by_heads ? shape.heads : 1) * part.rank_tiles() * m.cols * kTileRows);
                part.b = some(size_t(div_up(part.outputs, kTileRows)) * part.rank * kTileRows);
            }
        }
    }
    const Adapter* adapter_of(int sequence) const { return adapters[0].layers.empty() || sequence == 1 ? nullptr : &adapters[sequence / 2]; }
    void take_experts(const Case& what) {
        const MoeShape& moe = shape.moe = what.moe;
        int next = 0;
        const auto mlp = [&](int inner) {
            const auto one = [&] { return what.mixed ? Format(next++ % kNumFormats) : what.format; };
            const Format both = one();  // of gate and up, but for every third
            MlpWeights m;
            m.gate = matrix(both, inner, shape.hidden), m.up = matrix(next % 3 ? both : one(), inner, shape.hidden), m.down = matrix(one(), shape.hidden, inner);
            return m;
        };
        w.router = matrix(Format::f32, moe.num_experts, shape.hidden);
        if (moe.sigmoid) w.router_bias = vector(moe.num_experts, 0);
        if (moe.shared_size) w.shared = mlp(moe.shared_size);
        for (int i = 0; i < moe.num_experts; i++) w.experts.push_back(mlp(moe.expert_size));
    }
    void take_latents(Format format, int q) {
        const LatentShape& l = shape.latent;
        w.kv_a_norm = vector(l.rank, 1);
        if (l.q_rank) w.q_a_norm = vector(l.q_rank, 1), w.q_a = matrix(format, l.q_rank, shape.hidden), w.q_b = matrix(format, q, l.q_rank);
        else w.q = matrix(format, q, shape.hidden);
        w.kv_a = matrix(format, l.stored(), shape.hidden);
        w.k_b = matrix(format, shape.heads * l.rank, l.nope_dim), w.v_b = matrix(format, shape.heads * l.value_dim, l.rank);
    }
};

struct Sequence {
    std::vector<int32_t> ids;
    std::vector<std::vector<uint8_t>> pages;
    std::vector<const uint8_t*> addresses;
    std::vector<float> logits;
    int done = 0;

    Sequence(RandomModel& model, int length) : logits(size_t(length) * model.vocabulary) {
        for (int i = 0; i < length; i++) ids.push_back(int32_t(model.random.next() % uint32_t(model.vocabulary)));
        pages.assign(div_up(length, kPageTokens), std::vector<uint8_t>(model.shape.layer_bytes(), 0xff));  // NaN until written
        for (auto& page : pages) addresses.push_back(page.data());
    }
};

// do_part(first tile, number of tiles) until all are done; `size` is the number of tiles of the first part.
template <class Part> void in_parts(int tiles, int& size, Part do_part) {
    for (int first = 0, count; first < tiles; first += count, size = size % 5 + 1) do_part(first, count = std::min(size, tiles - first));
}

void layer_and_head_in_parts(Core& core, const RandomModel& model, const Batch& batch, float* hidden, const std::vector<int32_t>& chosen, float* logits) {
    int size = 1;
    for (int i = 0; i < kNumSteps; i++)
        in_parts(step_tiles(model.shape, LayerStep(i)), size, [&](int first, int count) {
            core.layer_part(model.shape, model.w, 0, {LayerStep(i), first, count}, batch, hidden);
        });
    in_parts(model.embedding.tiles(), size, [&](int first, int count) {
        core.head_part(model.shape, model.norm, model.embedding, hidden, chosen.data(), batch.rows, logits, first, count);
    });
}

// Experts in descending order, one, two, three, ... at a time.
void layer_in_steps(Core& core, const RandomModel& model, const Batch& batch, float* hidden) {
    std::vector<int32_t> chosen(size_t(batch.rows) * model.shape.moe.experts_per_token);
    core.attend_and_route(model.shape, model.w, 0, batch, hidden, chosen.data());
    std::sort(chosen.begin(), chosen.end());
    chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
    for (size_t size = 1; !chosen.empty(); size++) {
        std::vector<std::pair<int, const MlpWeights*>> ready;
        for (size_t i = 0; i < size && !chosen.empty(); i++, chosen.pop_back()) ready.push_back({chosen.back(), &model.w.experts[chosen.back()]});
        core.experts(ready);
        if (size == 1) core.shared_experts(model.w);
    }
    core.end_layer(hidden);
}

void run_pass(Core& core, const RandomModel& model, std::vector<Sequence>& sequences, const Pass& pass, bool parts) {
    const ModelShape& s = model.shape;
    const int half = s.rotated() / 2;
    Batch batch;
    std::vector<int32_t> ids, positions, chosen;
    for (int n = 0; n < kSequences; n++) {
        Sequence& sequence = sequences[n];
        if (!pass.count[n]) continue;
        batch.spans.push_back({batch.rows, pass.count[n], sequence.done, sequence.addresses.data()});
        for (int i = 0; i < pass.count[n]; i++) {
            ids.push_back(sequence.ids[sequence.done + i]), positions.push_back(sequence.done + i);
            chosen.push_back(batch.rows + i);
        }
        batch.add_rows(pass.count[n], model.adapter_of(n));
    }
    std::vector<float> cosine(size_t(batch.rows) * half), sine(cosine.size()), hidden(size_t(batch.rows) * s.hidden), logits(size_t(batch.rows) * model.vocabulary);
    rope_table(positions.data(), batch.rows, model.inv_freq.data(), half, 1.1f, cosine.data(), sine.data());
    batch.cosine = cosine.data(), batch.sine = sine.data();
    core.embed(model.embedding, ids.data(), batch.rows, hidden.data());
    if (parts && !s.latent.rank && !s.moe.num_experts) layer_and_head_in_parts(core, model, batch, hidden.data(), chosen, logits.data());
    else {
        if (parts && s.moe.num_experts) layer_in_steps(core, model, batch, hidden.data());
        else core.layer(s, model.w, 0, batch, hidden.data());
        core.head(s, model.norm, model.embedding, hidden.data(), chosen.data(), batch.rows, logits.data());
    }
    const float* from = logits.data();
    for (int n = 0; n < kSequences; n++) {
        const size_t size = size_t(pass.count[n]) * model.vocabulary;
        std::memcpy(sequences[n].logits.data() + size_t(sequences[n].done) * model.vocabulary, from, size * 4);
        sequences[n].done += pass.count[n], from += size;
    }
}

uint64_t run(const KernelTable& table, const Case& what, const Passes& how) {
    RandomModel model(what);
    std::vector<Sequence> sequences;
    for (int length : kLengths) sequences.emplace_back(model, length);
    Core core(table, how.threads);
    flush_subnormals(what.flush);
    for (const Pass& pass : how.passes) run_pass(core, model, sequences, pass, how.parts);
    for (int n = 0; n < kSequences; n++) {
        Pass rest{};
        rest.count[n] = kLengths[n] - sequences[n].done;
        if (rest.count[n]) run_pass(core, model, sequences, rest, how.parts);
    }
    flush_subnormals(false);
    std::vector<float> all;
    for (const Sequence& sequence : sequences) all.insert(all.end(), sequence.logits.begin(), sequence.logits.end());
    return fnv(all.data(), all.size() * 4);
}

// The functions of logits.h on rows of many lengths, some values far off or masked: every weight, sum and index.
uint64_t run_logits(const KernelTable& table) {
    Random random{7};
    std::vector<uint8_t> all;
    const auto append = [&](const void* data, size_t bytes) {
        all.insert(all.end(), static_cast<const uint8_t*>(data), static_cast<const uint8_t*>(data) + bytes);
    };
    for (const int n : {1, 15, 16, 17, 64, 127, 128, 129, 300, 5000})
        for (const float divisor : {1.0f, 0.7f, 0.03f, 1.9f}) {
            std::vector<float> row(n), weights(n);
            for (float& x : row) x = 30.0f * random.uniform() * random.uniform();
            for (int i = 5; i < n; i += 11) row[i] = i % 2 ? -INFINITY : -1e30f;
            const float best = *std::max_element(row.begin(), row.end());
            table.exp_weights(row.data(), n, best, divisor, weights.data());
            append(weights.data(), weights.size() * sizeof(float));
            const double mass = table.exp_mass(row.data(), n, best, divisor);
            append(&mass, sizeof mass);
            for (const float below : {0.0f, 3.0f, 40.0f}) {
                std::vector<int32_t> found(n / 2 + 1, -1);  // room for half of them: more is an answer too
                const int32_t count = table.at_least(row.data(), n, best - below, found.data(), int(found.size()));
                append(&count, sizeof count);
                append(found.data(), std::min<size_t>(count, found.size()) * sizeof(int32_t));
            }
        }
    return fnv(all.data(), all.size());
}

void print(const std::string& set, const char* what, const char* passes, int threads, uint64_t hash) {
    std::printf("%s %s %s %d %016llx\n", set.c_str(), what, passes, threads, (unsigned long long)hash);
}

// Those of this processor; and AVX-VNNI by EVEX where scripts/bits has built it so.
std::vector<const KernelTable*> tables_here() {
    std::vector<const KernelTable*> tables;
    for (const std::string& name : supported_sets()) tables.push_back(find_table(name));
#ifdef POCKETSEEK_VNNI_BY_EVEX
    tables.push_back(&avx_vnni_table());
#endif
    return tables;
}

}  // namespace

// bits [SET [PASSES...]]: of all sets here, or of one, which must be here; in all ways, or in those named
int main(int argc, char** argv) {
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // in qemu it takes minutes: show each line
    const auto asked = [&](const std::string& name) { return argc < 3 || std::find(argv + 2, argv + argc, name) != argv + argc; };
    int num_sets = 0;
    for (const KernelTable* table : tables_here()) {
        const std::string name = table->name;
        if (argc > 1 && name != argv[1]) continue;
        num_sets++;
        print(name, "logits", "rows", 1, run_logits(*table));
        for (const Case& what : kCases)
            for (const Passes& how : kPasses)
                if (asked(how.name) && (!how.parts || what.has_parts())) print(name, what.name, how.name, how.threads, run(*table, what, how));
    }
    if (!num_sets) std::fprintf(stderr, "error: the instruction set %s is not here\n", argv[1]);
    return !num_sets;
}
