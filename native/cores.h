// Which cores a thread may run on: the affinity masks of Linux and Android. Elsewhere nothing can be asked for.
#pragma once

#include <optional>
#include <vector>

#ifdef __linux__
#include <sched.h>
#endif

namespace pocketseek {

#ifdef __linux__
using CoreMask = cpu_set_t;
#else
struct CoreMask {};
#endif

// What the calling thread had, and what it might have.
struct CoreView {
    CoreMask own;        // to give back later; every bit is set if the thread is held back from no core
    CoreMask available;  // online, and allowed by the system for this process
};

int current_thread();  // its number in the kernel
int num_own_cores();   // cores that the calling thread may run on; 0 if that is unknown
std::optional<CoreView> view_cores();
// Throws std::invalid_argument that names the cores that are offline or forbidden.
CoreMask choose_cores(const std::vector<int>& cores);
int num_cores(const CoreMask& mask);
// False if the thread has ended or none of the cores is there any more; then nothing has changed.
bool move_thread(int thread, const CoreMask& mask);

}  // namespace pocketseek
