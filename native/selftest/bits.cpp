// Prints a hash of the logits of a random model for every instruction set here and every format: the lines must be the same
// on every processor. Deterministic weights from an integer generator; no files, no Python.
#include <cstdio>
#include <cstring>
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
    ModelShape shape{72, 100, 6, 2, 24, 1e-6f};
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
        m.parts.push_back({0, m.tiles(), matrices.back().data()});
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
            const float size = format == Format::q8s || format == Format::q4p ? 0.003f : 0.03f;
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

// size: of the embedding's values; 1e-41 makes them subnormal, which flush-to-zero would turn into zeros.
uint64_t run(const KernelTable& table, Format format, int threads, float size = 1.0f, bool flush = false) {
    Model model;
    const ModelShape& s = model.shape;
    const int q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim, rows = 600, half = s.head_dim / 2;
    LayerWeights w;
    w.attn_norm = model.vector(s.hidden, 1), w.mlp_norm = model.vector(s.hidden, 1);
    w.q_bias = model.vector(q, 0), w.k_bias = model.vector(kv, 0), w.v_bias = model.vector(kv, 0);
    w.q_norm = model.vector(s.head_dim, 1), w.k_norm = model.vector(s.head_dim, 1);
    w.q = model.matrix(format, q, s.hidden), w.k = model.matrix(format, kv, s.hidden), w.v = model.matrix(format, kv, s.hidden);
    w.o = model.matrix(format, s.hidden, q), w.gate = model.matrix(format, s.intermediate, s.hidden);
    w.up = model.matrix(format, s.intermediate, s.hidden), w.down = model.matrix(format, s.hidden, s.intermediate);
    const Matrix embedding = model.matrix(format, model.vocabulary, s.hidden);
    if (format == Format::f32)
        for (auto* x = reinterpret_cast<float*>(model.matrices.back().data()); x < reinterpret_cast<float*>(model.matrices.back().data() + model.matrices.back().size()); x++) *x *= size;
    const float* norm = model.vector(s.hidden, 1);

    std::vector<int32_t> ids(rows), positions(rows);
    for (int i = 0; i < rows; i++) ids[i] = int32_t(model.random.next() % uint32_t(model.vocabulary)), positions[i] = i;
    std::vector<float> inv_freq(half), cosine(rows * half), sine(rows * half), hidden(rows * s.hidden), logits(rows * model.vocabulary);
    for (int i = 0; i < half; i++) inv_freq[i] = 1.0f / float(1 + i * i);
    rope_table(positions.data(), rows, inv_freq.data(), half, 1.1f, cosine.data(), sine.data());
    std::vector<std::vector<uint8_t>> pages(div_up(rows, kPageTokens), std::vector<uint8_t>(s.kv().layer_bytes(), 0xff));
    std::vector<const uint8_t*> addresses;
    for (auto& page : pages) addresses.push_back(page.data());
    Batch batch{rows, {{0, rows, 0, addresses.data()}}, cosine.data(), sine.data()};

    flush_subnormals(flush);
    Core core(table, threads);
    core.embed(embedding, ids.data(), rows, hidden.data());
    core.layer(s, w, 0, batch, hidden.data());
    core.head(s, norm, embedding, hidden.data(), positions.data(), rows, logits.data());
    flush_subnormals(false);
    return fnv(logits.data(), logits.size() * 4);
}

}  // namespace

int main() {
    for (const std::string& name : supported_sets()) {
        for (int f = 0; f < kNumFormats; f++)
            for (int threads : {1, 3})
                std::printf("%s %s %d %016llx\n", name.c_str(), kFormatNames[f], threads, (unsigned long long)run(*find_table(name), Format(f), threads));
        for (bool flush : {false, true}) {
            const uint64_t hash = run(*find_table(name), Format::f32, 2, 1e-41f, flush);
            std::printf("%s f32-subnormal %d %016llx\n", name.c_str(), int(flush), (unsigned long long)hash);
        }
    }
}
