#include "pool.h"

#include <chrono>
#include <system_error>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pocketseek {

static inline void relax() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

ExactFloats::ExactFloats() {
#if defined(__x86_64__)
    saved_ = _mm_getcsr();
    _mm_setcsr((unsigned(saved_) & ~0xe040u));  // FTZ, DAZ off; round to nearest
#elif defined(__aarch64__)
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    asm volatile("msr fpcr, %0" ::"r"(saved_ & ~uint64_t(0x1c00000)));  // FZ and rounding mode
#else
    saved_ = 0;
#endif
}

ExactFloats::~ExactFloats() {
#if defined(__x86_64__)
    _mm_setcsr(unsigned(saved_));
#elif defined(__aarch64__)
    asm volatile("msr fpcr, %0" ::"r"(saved_));
#endif
}

Pool::Pool(int num_threads, double spin_s) : spin_s_(spin_s) { start(num_threads); }
Pool::~Pool() { stop(); }

void Pool::set_num_threads(int num_threads) {
    if (num_threads == this->num_threads()) return;
    stop();
    start(num_threads);
}

void Pool::start(int num_threads) {
    stopping_ = false;
    const uint64_t seen = ticket_.load();
    try {
        for (int worker = 1; worker < num_threads; worker++) workers_.emplace_back(&Pool::worker_loop, this, worker, seen);
    } catch (const std::system_error&) {
        stop();
        throw;
    }
}

void Pool::stop() {
    stopping_ = true;
    ticket_.fetch_add(2);
    ticket_.notify_all();
    for (std::thread& thread : workers_) thread.join();
    workers_.clear();
}

void Pool::run_job(int tasks, int grain, Call call, void* context) {
    tasks_ = tasks, grain_ = grain, call_ = call, context_ = context;
    next_.store(0, std::memory_order_relaxed);
    const uint64_t open = (ticket_.load(std::memory_order_relaxed) | 1) + 2;
    ticket_.store(open);
    if (sleepers_.load()) ticket_.notify_all();
    work(0);
    ticket_.store(open & ~uint64_t(1));
    while (active_.load()) relax();
}

void Pool::work(int worker) {
    for (;;) {
        const int begin = next_.fetch_add(grain_, std::memory_order_relaxed);
        if (begin >= tasks_) return;
        call_(context_, begin, begin + grain_ < tasks_ ? begin + grain_ : tasks_, worker);
    }
}

void Pool::worker_loop(int worker, uint64_t seen) {
    using Clock = std::chrono::steady_clock;
    const ExactFloats exact;
    while (!stopping_) {
        uint64_t ticket = ticket_.load();
        const auto deadline = Clock::now() + std::chrono::duration<double>(spin_s_);
        for (int turn = 1; (ticket == seen || !(ticket & 1)) && !stopping_; turn++) {
            if (turn % 64 == 0 && Clock::now() > deadline) {
                sleepers_.fetch_add(1);
                ticket_.wait(ticket);
                sleepers_.fetch_sub(1);
            } else {
                relax();
            }
            ticket = ticket_.load();
        }
        if (stopping_) return;
        active_.fetch_add(1);
        if (ticket_.load() == ticket) work(worker);
        active_.fetch_sub(1);
        seen = ticket;
    }
}

}  // namespace pocketseek
