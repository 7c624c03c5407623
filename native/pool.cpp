#include "pool.h"

#include <algorithm>
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
    asm volatile("msr fpcr, %0" ::"r"(saved_ & ~uint64_t(0x7c00000)));  // AHP, DN, FZ and the rounding mode
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

Pool::Pool(int num_threads, double spin_s) : spin_s_(spin_s) {
    team_.push_back(std::make_unique<Member>());
    set_num_threads(num_threads);
    update_spin();
}

Pool::~Pool() {
    release_owner();
    keep(1);
}

std::vector<uint64_t> Pool::tasks_done() const {
    std::vector<uint64_t> done;
    for (const auto& member : team_) done.push_back(member->tasks_done.load(std::memory_order_relaxed));
    return done;
}

void Pool::set_num_threads(int num_threads) {
    const int before = this->num_threads();
    keep_ = std::max(before, num_threads);
    try {
        while (this->num_threads() < num_threads) add_worker();
    } catch (const std::system_error&) {
        keep(before);
        throw;
    }
    keep(num_threads);
    update_spin();
}

void Pool::set_spin(double spin_s) {
    spin_s_ = spin_s;
    update_spin();
}

void Pool::update_spin() {
    const int cores = cores_.empty() ? num_own_cores() : num_cores(mask_);
    const bool crowded = cores && num_threads() > cores;  // who spins takes the core from who works
    spin_ns_ = crowded ? 0 : int64_t(spin_s_ * 1e9);
}

void Pool::add_worker() {
    team_.reserve(team_.size() + 1);  // nothing may fail once the thread runs
    auto member = std::make_unique<Member>();
    Member& self = *member;
    const int worker = num_threads();
    const uint64_t seen = ticket_.load();
    self.thread = std::thread([this, &self, worker, seen] { live(self, worker, seen); });
    team_.push_back(std::move(member));
    if (!cores_.empty()) place_worker(self, mask_);
}

// Ends the workers from this index on.
void Pool::keep(int num_threads) {
    keep_ = num_threads;
    if (num_threads >= this->num_threads()) return;
    ticket_.fetch_add(2);
    ticket_.notify_all();
    for (size_t i = num_threads; i < team_.size(); i++) team_[i]->thread.join();
    team_.resize(num_threads);
}

void Pool::set_cores(const std::vector<int>& cores) {
    if (cores == cores_) return;
    if (cores.empty()) {
        release_owner();
        for (size_t i = 1; i < team_.size(); i++) place_worker(*team_[i], home_);
        cores_.clear();
    } else {
        const CoreMask mask = choose_cores(cores);
        if (cores_.empty()) home_ = view_cores()->own;
        cores_ = cores, mask_ = mask;
        owner_placed_ = false;
        for (size_t i = 1; i < team_.size(); i++) place_worker(*team_[i], mask_);
    }
    update_spin();
}

// A core that has gone offline since it was chosen costs speed, never a pass: that is why nobody looks at move_thread's answer.
void Pool::place_worker(Member& member, const CoreMask& mask) {
    member.number.wait(0);
    move_thread(member.number, mask);
}

void Pool::place_owner() {
    const int thread = current_thread();
    if (thread == owner_ && owner_placed_) return;
    if (thread != owner_) {
        release_owner();
        const std::optional<CoreView> view = view_cores();
        if (!view) return;
        owner_ = thread, owner_had_ = view->own;
    }
    move_thread(owner_, mask_);
    owner_placed_ = true;
}

void Pool::release_owner() {
    if (owner_) move_thread(owner_, owner_had_);
    owner_ = 0, owner_placed_ = false;
}

void Pool::run_job(int tasks, int grain, Call call, void* context) {
    Member& owner = *team_[0];
    tasks_ = tasks, grain_ = grain, call_ = call, context_ = context;
    if (tasks <= grain || num_threads() == 1) {  // nobody has a rest now: upcoming() is `tasks`
        owner.tasks_done.fetch_add(uint64_t(tasks), std::memory_order_relaxed);
        return call(context, 0, tasks, 0);
    }
    const int threads = num_threads(), pieces = (tasks + grain - 1) / grain;  // shares are whole pieces
    for (int w = 0; w < threads; w++) {
        const int begin = int(int64_t(pieces) * w / threads) * grain, end = int(int64_t(pieces) * (w + 1) / threads) * grain;
        team_[w]->rest.store(packed({begin, std::min(end, tasks)}), std::memory_order_relaxed);
    }
    const uint64_t open = (ticket_.load(std::memory_order_relaxed) | 1) + 2;
    ticket_.store(open);
    if (sleepers_.load()) ticket_.notify_all();
    work(owner, 0);
    ticket_.store(open & ~uint64_t(1));
    wait_for_workers();
}

void Pool::work(Member& member, int worker) {
    uint64_t done = 0;
    for (Range piece; take(member, piece) || take_over(member, piece);) {
        call_(context_, piece.begin, piece.end, worker);
        done += uint64_t(piece.end - piece.begin);
    }
    member.tasks_done.fetch_add(done, std::memory_order_relaxed);
}

// The first piece of what the member has left.
bool Pool::take(Member& member, Range& piece) {
    uint64_t seen = member.rest.load(std::memory_order_relaxed);
    for (;;) {
        const Range rest = unpacked(seen);
        if (rest.begin >= rest.end) return false;
        piece = {rest.begin, rest.end - rest.begin < grain_ ? rest.end : rest.begin + grain_};
        if (member.rest.compare_exchange_weak(seen, packed({piece.end, rest.end}), std::memory_order_relaxed)) return true;
    }
}

// Moves the rear half of the largest rest, in whole pieces, or all of a last piece, to a member that has nothing, and takes the first
// piece of it, so that no other thief can have all of it first. False if nobody has anything.
bool Pool::take_over(Member& member, Range& piece) {
    for (;;) {
        Member* from = nullptr;
        uint64_t seen = 0;
        int most = 0;
        for (const auto& other : team_) {
            const uint64_t packed_rest = other->rest.load(std::memory_order_relaxed);
            const Range rest = unpacked(packed_rest);
            if (rest.end - rest.begin > most) from = other.get(), seen = packed_rest, most = rest.end - rest.begin;
        }
        if (!from) return false;
        const Range rest = unpacked(seen);
        const int middle = rest.begin + most / 2 / grain_ * grain_;
        if (!from->rest.compare_exchange_strong(seen, packed({rest.begin, middle}), std::memory_order_relaxed)) continue;
        piece = {middle, std::min(middle + grain_, rest.end)};
        member.rest.store(packed({piece.end, rest.end}), std::memory_order_relaxed);
        return true;
    }
}

// True once check() is; false if the spin time passes before.
template <class Check> bool Pool::spin_until(Check check) const {
    using Clock = std::chrono::steady_clock;
    if (check()) return true;
    const auto deadline = Clock::now() + std::chrono::nanoseconds(spin_ns_.load(std::memory_order_relaxed));
    for (int turn = 1; !check(); turn++) {
        if (turn % 64 == 0 && Clock::now() > deadline) return false;
        relax();
    }
    return true;
}

void Pool::wait_for_workers() {
    if (spin_until([&] { return !active_.load(); })) return;
    owner_sleeps_ = true;
    while (const int active = active_.load()) active_.wait(active);
    owner_sleeps_ = false;
}

// The ticket of an open loop that is newer than `seen`, or any if the worker is to leave.
uint64_t Pool::wait_for_loop(int worker, uint64_t seen) {
    uint64_t ticket;
    const auto due = [&] {
        ticket = ticket_.load();
        return (ticket != seen && (ticket & 1)) || worker >= keep_.load();
    };
    while (!spin_until(due)) {
        sleepers_.fetch_add(1);
        ticket_.wait(ticket);
        sleepers_.fetch_sub(1);
    }
    return ticket;
}

void Pool::live(Member& member, int worker, uint64_t seen) {
    const ExactFloats exact;
    member.number = std::max(1, current_thread());
    member.number.notify_all();
    for (;;) {
        seen = wait_for_loop(worker, seen);
        if (worker >= keep_.load()) return;
        active_.fetch_add(1);
        if (ticket_.load() == seen) work(member, worker);
        if (active_.fetch_sub(1) == 1 && owner_sleeps_.load()) active_.notify_all();
    }
}

}  // namespace pocketseek
