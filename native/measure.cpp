#include "measure.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

namespace pocketseek {

namespace {

constexpr double kPieceSeconds = 50e-6;  // of arithmetic, so that threads end together
constexpr double kRunSeconds = 2e-3;     // within one time slice, so that some run is not interrupted on a busy machine
constexpr int kReadRunPieces = 48;       // 50 MB: about the same

template <class Run> double seconds(Run run) {
    const auto start = std::chrono::steady_clock::now();
    run();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double peak(uint64_t (*loop)(int), Pool& pool, int repeats) {
    const ExactFloats exact;
    int turns = 1;
    while (seconds([&] { loop(turns); }) < kPieceSeconds) turns *= 2;
    const double piece_s = seconds([&] { loop(turns); });
    const int pieces = pool.num_threads() * std::max(8, int(kRunSeconds / piece_s));
    double best = 0;
    for (int i = 0; i < repeats; i++) {
        std::atomic<uint64_t> done{0};
        const double run_s = seconds([&] {
            pool.run(pieces, 1, [&](int begin, int end, int) {
                for (int piece = begin; piece < end; piece++) done += loop(turns);
            });
        });
        best = std::max(best, double(done) / run_s);
    }
    return best;
}

}  // namespace

double read_bandwidth(const KernelTable& table, Pool& pool, const uint8_t* data, size_t bytes, int repeats) {
    data += -reinterpret_cast<uintptr_t>(data) & 63;
    const int pieces = int((bytes - 63) / kReadPieceBytes), count = std::min(pieces, kReadRunPieces), runs = pieces / count;
    std::vector<double> rates;
    for (int repeat = 0; repeat < repeats; repeat++) {
        const uint8_t* part = data + size_t(repeat % runs) * count * kReadPieceBytes;
        std::atomic<uint64_t> sum{0};
        const double run_s = seconds([&] {
            pool.run(count, 1, [&](int begin, int end, int) {
                for (int piece = begin; piece < end; piece++) sum ^= table.limits.read(part + size_t(piece) * kReadPieceBytes);
            });
        });
        rates.push_back(double(count) * kReadPieceBytes / run_s);
    }
    // The upper quartile: a run now and then is served by a large last-level cache, others are disturbed.
    const auto upper = rates.begin() + ptrdiff_t(rates.size() * 3 / 4);
    std::nth_element(rates.begin(), upper, rates.end());
    return *upper;
}

double int8_peak(const KernelTable& table, Pool& pool, int repeats) { return peak(table.limits.int8_dots, pool, repeats); }
double f32_peak(const KernelTable& table, Pool& pool, int repeats) { return peak(table.limits.f32_fmas, pool, repeats); }

}  // namespace pocketseek
