#include "cores.h"

#include <cstring>
#include <stdexcept>
#include <string>

#ifdef __linux__
#include <csignal>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace pocketseek {

#ifdef __linux__

int current_thread() {
    thread_local const int number = int(syscall(SYS_gettid));
    return number;
}

int num_cores(const CoreMask& mask) { return CPU_COUNT(&mask); }

int num_own_cores() {
    CoreMask mask;
    return sched_getaffinity(0, sizeof mask, &mask) == 0 ? num_cores(mask) : 0;
}

// Asking for every core gives what the system allows. It also tells a thread that is held back from none of them from one
// that was narrowed on purpose: the former gets every bit back, so that it gains the cores that the system allows later (an
// app that comes back to the foreground).
std::optional<CoreView> view_cores() {
    CoreMask everything, before, available;
    std::memset(&everything, 0xff, sizeof everything);
    if (sched_getaffinity(0, sizeof before, &before) || sched_setaffinity(0, sizeof everything, &everything)) return {};
    const bool seen = sched_getaffinity(0, sizeof available, &available) == 0;
    const CoreView view{seen && CPU_EQUAL(&before, &available) ? everything : before, available};
    sched_setaffinity(0, sizeof view.own, &view.own);
    return seen ? std::optional(view) : std::nullopt;
}

static std::string listed(const CoreMask& mask) {
    std::string text;
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, &mask)) text += (text.empty() ? "" : ", ") + std::to_string(core);
    return text;
}

CoreMask choose_cores(const std::vector<int>& cores) {
    const std::optional<CoreView> view = view_cores();
    if (!view) throw std::invalid_argument("this system does not let a program choose its cores");
    CoreMask mask;
    CPU_ZERO(&mask);
    std::string missing;
    for (int core : cores) {
        if (core < 0 || core >= CPU_SETSIZE || !CPU_ISSET(core, &view->available)) missing += (missing.empty() ? "" : ", ") + std::to_string(core);
        else CPU_SET(core, &mask);
    }
    if (!missing.empty())
        throw std::invalid_argument("these cores are offline or forbidden: " + missing + "; choose from " + listed(view->available));
    return mask;
}

bool move_thread(int thread, const CoreMask& mask) {
    if (thread != current_thread() && syscall(SYS_tgkill, getpid(), thread, 0)) return false;  // the number may be another process's by now
    return sched_setaffinity(thread, sizeof mask, &mask) == 0;
}

#else

int current_thread() { return 0; }
int num_own_cores() { return 0; }
std::optional<CoreView> view_cores() { return {}; }
CoreMask choose_cores(const std::vector<int>&) { throw std::invalid_argument("this system does not let a program choose its cores"); }
int num_cores(const CoreMask&) { return 0; }
bool move_thread(int, const CoreMask&) { return false; }

#endif

}  // namespace pocketseek
