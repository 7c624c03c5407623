// A thread pool for many short parallel loops on cores of unequal speed. Tasks are handed out in pieces from one counter,
// large ones first and small ones at the end:
//
//     |------------|-----------|-----------|---- ... ---|--|--|-|-|-|-|     piece = max(grain, left / (kSlowest * threads))
//
// While `left` tasks wait, all threads together need at least left / threads times what a task takes the fastest of them, so
// a thread that is kSlowest times slower has finished its piece by then. Hence, with such cores, a loop takes at most the
// ideal (work / sum of speeds) plus one piece of `grain` tasks on the slowest core. selftest/pool.cpp counts it.
//
// Workers spin for a while between loops and then sleep; nobody spins when there are more threads than cores for them. One
// owner thread calls run() and everything else here; it works too, and never waits for a worker that has not started: the
// loop is closed when the counter is used up, and only workers inside it are waited for.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

#include "cores.h"

namespace pocketseek {

class Pool {
public:
    static constexpr int kSlowest = 10;  // little cores of phones are four to eight times slower at dot products

    explicit Pool(int num_threads, double spin_s = 500e-6);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int num_threads() const { return int(team_.size()); }
    double spin_s() const { return spin_s_; }
    const std::vector<int>& cores() const { return cores_; }
    // Tasks of every thread's pieces since it was started, the owner's first.
    std::vector<uint64_t> tasks_done() const;

    // All of these between loops. When they throw, nothing has changed.
    void set_num_threads(int num_threads);  // throws std::system_error
    void set_spin(double spin_s);
    // Workers and the thread that calls run() keep to these cores, that thread from its next loop on; none: to no cores in
    // particular, and it gets back what it had. Throws std::invalid_argument for a core that is offline or forbidden.
    void set_cores(const std::vector<int>& cores);

    // fn(begin, end, worker) for pieces of [0, tasks); worker in [0, num_threads()). grain: tasks of the smallest piece.
    template <class Fn> void run(int tasks, int grain, Fn&& fn) {
        if (tasks <= 0) return;
        if (!cores_.empty()) place_owner();
        run_job(tasks, grain, [](void* f, int begin, int end, int worker) { (*static_cast<std::remove_reference_t<Fn>*>(f))(begin, end, worker); },
                const_cast<void*>(static_cast<const void*>(&fn)));
    }

    // Inside a loop: where the next piece will begin if no other thread takes one before. For fetching ahead.
    int upcoming() const { return next_.load(std::memory_order_relaxed); }

private:
    using Call = void (*)(void*, int, int, int);
    struct alignas(64) Member {
        std::atomic<uint64_t> tasks_done{0};
        std::atomic<int> number{0};  // in the kernel, once the thread runs
        std::thread thread;          // none for the owner
    };
    void run_job(int tasks, int grain, Call call, void* context);
    void work(Member& member, int worker);
    void live(Member& member, int worker, uint64_t seen);
    uint64_t wait_for_loop(int worker, uint64_t seen);
    void wait_for_workers();
    template <class Check> bool spin_until(Check check) const;
    void add_worker();
    void keep(int num_threads);
    void place_worker(Member& member, const CoreMask& mask);
    void place_owner();
    void release_owner();
    void update_spin();

    // (loop number << 1) | open. A worker counts itself in, then checks that the loop it saw is still open.
    alignas(64) std::atomic<uint64_t> ticket_{0};
    alignas(64) std::atomic<int> active_{0};
    alignas(64) std::atomic<int> next_{0};
    alignas(64) std::atomic<int> sleepers_{0};
    std::atomic<bool> owner_sleeps_{false};
    std::atomic<int> keep_{1};  // workers from this index on leave
    std::atomic<int64_t> spin_ns_{0};
    int tasks_ = 0, grain_ = 1, share_ = 1;
    Call call_ = nullptr;
    void* context_ = nullptr;
    double spin_s_;
    std::vector<std::unique_ptr<Member>> team_;

    std::vector<int> cores_;
    CoreMask mask_{}, home_{};     // of cores_; of the workers before there was one
    int owner_ = 0;                // thread that was moved to the cores
    bool owner_placed_ = false;    // to those that hold now
    CoreMask owner_had_{};
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
