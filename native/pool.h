// A thread pool for many short parallel loops: tasks are handed out in small pieces from one counter, so a slow core takes
// fewer of them; workers spin for a while between loops and then sleep.
//
// One owner thread calls run(); it works too, and never waits for a worker that has not started: the loop is closed when the
// counter is used up, and only workers inside it are waited for.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace pocketseek {

class Pool {
public:
    explicit Pool(int num_threads, double spin_s = 500e-6);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int num_threads() const { return int(workers_.size()) + 1; }
    void set_num_threads(int num_threads);

    // fn(begin, end, worker) for pieces of [0, tasks); worker in [0, num_threads()).
    template <class Fn> void run(int tasks, int grain, Fn&& fn) {
        if (tasks <= 0) return;
        if (tasks <= grain || workers_.empty()) return fn(0, tasks, 0);
        run_job(tasks, grain, [](void* f, int begin, int end, int worker) { (*static_cast<std::remove_reference_t<Fn>*>(f))(begin, end, worker); },
                const_cast<void*>(static_cast<const void*>(&fn)));
    }

private:
    using Call = void (*)(void*, int, int, int);
    void run_job(int tasks, int grain, Call call, void* context);
    void work(int worker);
    void worker_loop(int worker, uint64_t seen);
    void start(int num_threads);
    void stop();

    // (loop number << 1) | open. A worker counts itself in, then checks that the loop it saw is still open.
    alignas(64) std::atomic<uint64_t> ticket_{0};
    alignas(64) std::atomic<int> active_{0};
    alignas(64) std::atomic<int> next_{0};
    alignas(64) std::atomic<int> sleepers_{0};
    std::atomic<bool> stopping_{false};
    int tasks_ = 0, grain_ = 1;
    Call call_ = nullptr;
    void* context_ = nullptr;
    double spin_s_;
    std::vector<std::thread> workers_;
};

// Clears flush-to-zero and denormals-are-zero for the current thread and restores them: bits must not depend on the caller.
class ExactFloats {
public:
    ExactFloats();
    ~ExactFloats();
private:
    uint64_t saved_;
};

}  // namespace pocketseek
