// A thread pool for many short parallel loops on cores of unequal speed. Every thread begins with an equal share of the tasks, in one
// run, and works it off from the front in pieces of `grain`; who is done takes the rear half of what the thread with the most has left:
//
//     thread 0  |-|-|-|-|-|-|-|-| ...            pieces in order: what a thread reads is one stream, and it knows what comes next
//     thread 1  |--|--|                   |....| taken over by thread 0, which was done first
//
// A thread holds no more than one piece that others cannot take. Hence, whatever the cores, a loop takes at most the ideal
// (work / sum of speeds) plus one piece on the slowest core. selftest/pool.cpp counts it. (A common counter with large pieces first
// keeps the same bound, but each piece begins somewhere else: weights of 2 to 14 MB were then read a sixth slower.)
//
// Workers spin for a while between loops and then sleep; nobody spins when there are more threads than cores for them. One
// owner thread calls run() and everything else here; it works too, and never waits for a worker that has not started: its share is
// taken over, the loop is closed when nothing is left, and only workers inside it are waited for.
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
    explicit Pool(int num_threads, double spin_s = 500e-6);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int num_threads() const { return int(team_.size()); }
    const std::vector<int>& cores() const { return cores_; }
    // Tasks of every thread's pieces since it was started, the owner's first.
    std::vector<uint64_t> tasks_done() const;

    // All of these between loops. When they throw, nothing has changed.
    void set_num_threads(int num_threads);  // throws std::system_error
    void set_spin(double spin_s);
    // Workers and the thread that calls run() keep to these cores, that thread from its next loop on; none: to no cores in
    // particular, and it gets back what it had. Throws std::invalid_argument for a core that is offline or forbidden.
    void set_cores(const std::vector<int>& cores);

    // fn(begin, end, worker) for pieces of [0, tasks) of at most `grain` tasks; worker in [0, num_threads()). One thread gets all of it
    // as one piece.
    template <class Fn> void run(int tasks, int grain, Fn&& fn) {
        if (tasks <= 0) return;
        if (!cores_.empty()) place_owner();
        run_job(tasks, grain, [](void* f, int begin, int end, int worker) { (*static_cast<std::remove_reference_t<Fn>*>(f))(begin, end, worker); },
                const_cast<void*>(static_cast<const void*>(&fn)));
    }

    // Inside a loop: where the worker's next piece begins, unless another takes it over; `tasks` if it has none. For fetching ahead.
    int upcoming(int worker) const {
        const Range rest = unpacked(team_[worker]->rest.load(std::memory_order_relaxed));
        return rest.begin < rest.end ? rest.begin : tasks_;
    }

private:
    using Call = void (*)(void*, int, int, int);
    struct Range { int begin, end; };
    static uint64_t packed(Range r) { return uint64_t(uint32_t(r.begin)) << 32 | uint32_t(r.end); }
    static Range unpacked(uint64_t r) { return {int(uint32_t(r >> 32)), int(uint32_t(r))}; }
    struct alignas(64) Member {
        std::atomic<uint64_t> rest{0};  // the Range that nobody has begun
        std::atomic<uint64_t> tasks_done{0};
        std::atomic<int> number{0};  // in the kernel, once the thread runs
        std::thread thread;          // none for the owner
    };
    void run_job(int tasks, int grain, Call call, void* context);
    void work(Member& member, int worker);
    bool take(Member& member, Range& piece);
    bool take_over(Member& member, Range& piece);
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
    alignas(64) std::atomic<int> sleepers_{0};
    std::atomic<bool> owner_sleeps_{false};
    std::atomic<int> keep_{1};  // workers from this index on leave
    std::atomic<int64_t> spin_ns_{0};
    int tasks_ = 0, grain_ = 1;
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
