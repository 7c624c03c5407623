// Two properties of the pool, for scripts/pool; no wall clock in either.
//
// shares: cores of unequal speed cost a loop no more than pool.h says. Each worker has a clock of its own that a task moves
// forward by what it costs that worker, and a worker whose clock is ahead waits before it takes the next piece, as it would
// if it were still computing. So pieces are taken in the order of simulated time, whatever this machine is busy with.
//
// stress: thousands of tiny loops, the number of threads, their cores and the spin time changing between them; every task is
// done exactly once, by a worker that there is. scripts/pool also builds it with -fsanitize=thread.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "../pool.h"

using namespace pocketseek;

namespace {

void check(bool condition, const char* message) {
    if (condition) return;
    std::fprintf(stderr, "error: %s\n", message);
    std::exit(1);
}

// One loop on workers of which worker w takes cost[w] per task.
class SimulatedLoop {
public:
    SimulatedLoop(Pool& pool, const std::vector<int>& cost, int tasks, int grain) : cost_(cost), tasks_(tasks), clocks_(cost.size()), done_(cost.size()) {
        pool.run(tasks, grain, [this](int begin, int end, int worker) { piece(end - begin, worker); });
    }
    int64_t time() const { return *std::max_element(clocks_.begin(), clocks_.end()); }
    int done(int worker) const { return done_[worker]; }

private:
    void piece(int tasks, int worker) {
        handed_out_ += tasks;
        done_[worker] += tasks;
        if (clocks_[worker].fetch_add(int64_t(tasks) * cost_[worker]) == 0) arrived_++;
        while (handed_out_ < tasks_ && (arrived_ < int(cost_.size()) || !is_next(worker))) std::this_thread::yield();
    }
    bool is_next(int worker) const {
        for (size_t other = 0; other < clocks_.size(); other++)
            if (clocks_[other] < clocks_[worker]) return false;
        return true;
    }

    const std::vector<int>& cost_;
    const int tasks_;
    std::vector<std::atomic<int64_t>> clocks_;
    std::vector<int> done_;
    std::atomic<int> handed_out_{0}, arrived_{0};
};

void shares(int threads, int num_slow, int slowness, int tasks, int grain) {
    Pool pool(threads);
    std::vector<int> cost(threads, 1);
    double speed = 0;
    for (int w = 0; w < threads; w++) {
        if (w < num_slow) cost[threads - 1 - w] = slowness;
        speed += w < num_slow ? 1.0 / slowness : 1.0;
    }
    const SimulatedLoop loop(pool, cost, tasks, grain);
    const double ideal = tasks / speed, share = ideal / slowness;
    std::printf("%2d threads, %d of them %2dx slower, %4d tasks: time %lld of %.1f + %d, the slowest did %d tasks of %.1f\n", threads, num_slow, slowness,
                tasks, (long long)loop.time(), ideal, slowness * grain, loop.done(threads - 1), share);
    check(loop.time() <= ideal + slowness * grain, "a slow worker holds the others up");
    for (int w = 1; w <= num_slow; w++) check(loop.done(threads - w) <= share + grain, "a slow worker did more than its share");
}

void stress(int loops) {
    unsigned state = 1;
    const auto random = [&](unsigned below) { return int((state = state * 1664525 + 1013904223) >> 8) % int(below); };
    const auto view = view_cores();
    int core = 0;
#ifdef __linux__
    while (view && !CPU_ISSET(core, &view->available)) core++;
#endif
    Pool pool(2);
    uint64_t expected = 0, counted = 0;
    for (int i = 0; i < loops; i++) {
        if (random(8) == 0) {
            for (uint64_t done : pool.tasks_done()) counted += done;
            pool.set_num_threads(1);
            counted -= pool.tasks_done()[0];
            pool.set_num_threads(1 + random(6));
        }
        if (random(8) == 0) pool.set_spin(random(3) * 20e-6);
        if (random(16) == 0 && view) pool.set_cores(random(2) ? std::vector<int>{core} : std::vector<int>{});
        const int tasks = random(60), grain = 1 + random(4);
        std::vector<int> times(size_t(tasks), 0);
        const int threads = pool.num_threads();
        pool.run(tasks, grain, [&](int begin, int end, int worker) {
            check(worker >= 0 && worker < threads, "a worker that does not exist");
            for (int task = begin; task < end; task++) times[size_t(task)]++;
        });
        for (int count : times) check(count == 1, "a task was not done exactly once");
        expected += uint64_t(tasks);
    }
    for (uint64_t done : pool.tasks_done()) counted += done;
    check(counted == expected, "tasks_done() does not add up");
    std::printf("%d loops with changes between them\n", loops);
}

// The mask of the thread that runs loops comes back, also when it is another thread that clears the cores.
void masks() {
#ifdef __linux__
    const auto view = view_cores();
    if (!view) return;
    int core = 0;
    while (!CPU_ISSET(core, &view->available)) core++;
    const auto own = [] {
        CoreMask mask;
        sched_getaffinity(0, sizeof mask, &mask);
        return mask;
    };
    const CoreMask before = own();
    Pool pool(2);
    const auto loop = [&] { pool.run(10, 1, [](int, int, int) {}); };
    pool.set_cores({core});
    loop();
    check(num_own_cores() == 1, "the owner is not on the core");
    std::thread other(loop);
    other.join();
    const CoreMask after_another = own();
    check(CPU_EQUAL(&after_another, &before), "an owner that was replaced does not get its cores back");
    loop();
    try {
        pool.set_cores({core, CPU_SETSIZE});
        check(false, "a core that does not exist was taken");
    } catch (const std::invalid_argument& error) {
        std::printf("%s\n", error.what());
    }
    check(pool.cores() == std::vector<int>{core} && num_own_cores() == 1, "a refused set of cores changed something");
    std::thread([&] { pool.set_cores({}); }).join();
    const CoreMask after = own();
    check(CPU_EQUAL(&after, &before), "the owner does not get its cores back");
#endif
}

}  // namespace

int main(int count, char** arguments) {
    for (int threads : {2, 3, 4, 8})
        for (int slowness : {2, 5, 10})
            for (int num_slow : {1, threads / 2})
                for (int tasks : {17, 280, 1000}) shares(threads, num_slow, slowness, tasks, tasks == 1000 ? 4 : 1);
    masks();
    stress(count > 1 ? std::atoi(arguments[1]) : 20000);
}
