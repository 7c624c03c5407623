// One thread, everything hot in the first-level cache: time of KernelTable.group (two tile rows) and KernelTable.pair of every instruction set of this
// machine, the shortest of many runs. benchmarks/predict_cores.py builds and runs it.
//
// Prints lines of words: kind (tile, pair, or peak for the bare dot product instruction), set, format, rows, multiply-adds per cycle,
// GHz. For x86 only. The time of "pair" is without expanding the tiles.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "dispatch.h"

using namespace pocketseek;

namespace {

constexpr int kBlocks = 16;       // 512 inputs: two q8s tile rows are 17 KiB, eight rows of activations are 4 KiB
constexpr int kPairBlocks = 8;    // 48 rows of activations, two tiles, the same expanded and the results are 30 KiB
constexpr int kFewRows = 24, kManyRows = 48;
constexpr int kRounds = 200, kRunsPerRound = 50, kChain = 600;
constexpr double kChainCycles = 3 * kChain;

double now_ns() { return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

template <class Work> double ns_of(Work work) {
    const double start = now_ns();
    work();
    return now_ns() - start;
}

// A chain of multiplications that wait for each other: 3 cycles each on every x86 core of the last fifteen years. Additions would not
// do, since new cores fold those of constants away.
double chain_ns() {
    uint64_t x = 3;
    return ns_of([&] { for (int i = 0; i < kChain; i++) asm volatile("imul %0, %0" : "+r"(x)); });
}

struct Speed { double cycles, ghz; };

// Cycles of a run. A round of runs and chains in turn is too short for the clock to change much in it, so the shortest run over the
// shortest chain are cycles whatever the clock is. (It follows the load of the whole processor, other machines' included.) Of all
// rounds the lower quartile counts: in the others somebody else had a part of the core.
template <class Work> Speed fastest(Work work) {
    std::vector<double> cycles, ghz;
    for (int round = 0; round < kRounds; round++) {
        double run = 1e18, chain = 1e18;
        for (int i = 0; i < kRunsPerRound; i++) run = std::min(run, ns_of(work)), chain = std::min(chain, chain_ns());
        cycles.push_back(run / chain * kChainCycles), ghz.push_back(kChainCycles / chain);
    }
    std::sort(cycles.begin(), cycles.end());
    std::sort(ghz.begin(), ghz.end());
    return {cycles[kRounds / 4], ghz[kRounds / 2]};
}

// Twelve independent sums, so that only the ports count.
__attribute__((target("avx512f,avx512vnni"))) void dots512(int turns) {
    for (int i = 0; i < turns; i++)
        asm volatile(
            "vpdpbusd %%zmm31, %%zmm30, %%zmm0\n vpdpbusd %%zmm31, %%zmm30, %%zmm1\n vpdpbusd %%zmm31, %%zmm30, %%zmm2\n"
            "vpdpbusd %%zmm31, %%zmm30, %%zmm3\n vpdpbusd %%zmm31, %%zmm30, %%zmm4\n vpdpbusd %%zmm31, %%zmm30, %%zmm5\n"
            "vpdpbusd %%zmm31, %%zmm30, %%zmm6\n vpdpbusd %%zmm31, %%zmm30, %%zmm7\n vpdpbusd %%zmm31, %%zmm30, %%zmm8\n"
            "vpdpbusd %%zmm31, %%zmm30, %%zmm9\n vpdpbusd %%zmm31, %%zmm30, %%zmm10\n vpdpbusd %%zmm31, %%zmm30, %%zmm11\n"
            ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11");
}

// Random weights and activations of one tile pair; f16 fields hold numbers near 1, so that nothing is denormal.
struct Data {
    std::vector<uint8_t> tiles;
    std::vector<int8_t> q;
    std::vector<float> scale, sum, x, out;
    std::vector<int32_t> sum8;
    std::vector<uint8_t> panel;
    alignas(64) uint8_t scratch[kPairScratchBytes];
    Activations in;

    Data(Format format, int blocks, int rows)
        : tiles(2 * tile_row_bytes(format, blocks) + 64), q(size_t(rows) * blocks * kBlock), scale(size_t(rows) * blocks, 0.5f), sum(scale),
          x(q.size(), 1.0f), out(size_t(rows) * 32 + 16), sum8(scale.size(), -64), panel(q.size() + 64) {
        std::mt19937 random(1);
        for (uint8_t& byte : tiles) byte = uint8_t(random() & 0x3b);  // as f16: at most 0.9
        for (int8_t& value : q) value = int8_t(random() % 255 - 127);
        in = {.blocks = blocks, .q = q.data(), .scale = scale.data(), .sum8 = sum8.data(), .sum = sum.data(), .x = x.data(),
              .wide = {q.data(), scale.data(), sum8.data()}};
    }
    const uint8_t* tile(Format format, int index) const {
        const auto base = (reinterpret_cast<uintptr_t>(tiles.data()) + 63) / 64 * 64;
        return reinterpret_cast<const uint8_t*>(base) + index * tile_row_bytes(format, in.blocks);
    }
};

void print_line(const std::string& kind, const std::string& set, const char* format, int rows, double multiply_adds, Speed speed) {
    std::printf("%s %s %s %d %.2f %.2f\n", kind.c_str(), set.c_str(), format, rows, multiply_adds / speed.cycles, speed.ghz);
}

void print_tile(const std::string& set, Format format, int rows) {
    Data data(format, kBlocks, rows);
    const auto multiply = find_table(set)->group[int(format)];
    TileGroup group;
    group.count = 2, group.tile[0] = data.tile(format, 0), group.tile[1] = data.tile(format, 1);
    const Speed speed = fastest([&] { multiply(group, data.in, 0, rows, data.out.data()); });
    print_line("tile", set, kFormatNames[int(format)], rows, double(rows) * kBlocks * 1024, speed);
}

// What kManyRows take longer than kFewRows: expanding the tiles, which many rows share, is in both and drops out.
void print_pair(const std::string& set) {
    Data data(Format::q4p, kPairBlocks, kManyRows);
    const uint8_t* const tiles[2] = {data.tile(Format::q4p, 0), data.tile(Format::q4p, 1)};
    const KernelTable& table = *find_table(set);
    uint8_t* values = data.panel.data() + (-reinterpret_cast<uintptr_t>(data.panel.data()) & 63);
    const Panel panel{kManyRows / table.pair_rows, table.pair_rows, values, data.scale.data()};
    for (int group = 0; group < panel.num_groups; group++) table.pack(data.in, table.pair_rows, panel, group, 0, data.in.superblocks());
    const auto of_rows = [&](int rows) { return fastest([&] { table.pair(tiles, kPairBlocks, panel, 0, rows / table.pair_rows, data.scratch, data.out.data()); }); };
    const Speed many = of_rows(kManyRows), few = of_rows(kFewRows);
    print_line("pair", set, "q4p", 0, (kManyRows - kFewRows) * kPairBlocks * 1024.0, {many.cycles - few.cycles, many.ghz});
}

}  // namespace

int main() {
    if (find_table("avx512")) print_line("peak", "avx512", "-", 0, 500 * 12 * 64, fastest([] { dots512(500); }));
    for (const std::string& set : supported_sets()) {
        if (set == "scalar") continue;
        for (Format format : {Format::q4s, Format::q4a, Format::q4p, Format::q6s, Format::q8s})
            for (int rows = 1; rows <= kGroup; rows++) print_tile(set, format, rows);
        if (find_table(set)->pair) print_pair(set);
    }
}
