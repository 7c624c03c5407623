#include "fault_guard.h"

#include <algorithm>
#include <stdexcept>

#ifdef __linux__

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <csignal>
#include <memory>
#include <mutex>
#include <system_error>

namespace pocketseek {

namespace {

using Word = std::atomic<uint64_t>;

// begin and end are page borders. A range is in use while end is not 0; it is changed only while end is 0, so begin and bits belong to
// an end that is the same before and after reading them.
struct Range {
    std::atomic<uintptr_t> begin{0}, end{0};
    std::atomic<Word*> faults{nullptr};  // a bit for every page
    size_t words = 0;                    // room of `faults`
};

Range ranges[kMaxWatched];
std::atomic<int> num_ranges{0};  // from here on the table has never been used
std::atomic<size_t> page_bytes{0};
std::mutex changes;
std::vector<std::unique_ptr<Word[]>> bitmaps;  // never freed: a handler may be about to write into one

// Actions that were replaced, the latest last. Whoever re-installs itself behind this handler may appear twice.
constexpr int kMaxReplaced = 8;
struct sigaction replaced[kMaxReplaced];
std::atomic<int> num_replaced{0};

// True if the page at the address is zeros now, and noted down.
bool replace_page(uintptr_t address) {
    const size_t page = page_bytes.load();
    for (int i = 0, count = num_ranges.load(); i < count; i++) {
        Range& range = ranges[i];
        const uintptr_t end = range.end.load(), begin = range.begin.load();
        Word* faults = range.faults.load();
        if (address < begin || address >= end || range.end.load() != end) continue;
        void* start = reinterpret_cast<void*>(address / page * page);
        if (mmap(start, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) return false;
        const size_t index = (address - begin) / page;
        faults[index / 64].fetch_or(uint64_t(1) << index % 64);
        return true;
    }
    return false;
}

// Puts the action that was there before back. A fault happens again by itself when the handler returns; a signal that was sent does not.
void pass_on(const siginfo_t& info) {
    struct sigaction action = {};
    action.sa_handler = SIG_DFL;
    if (const int count = num_replaced.load(); count > 0) {
        action = replaced[count - 1];
        num_replaced.store(count - 1);
    }
    sigaction(SIGBUS, &action, nullptr);
    if (info.si_code <= 0) raise(SIGBUS);
}

void on_bus_error(int, siginfo_t* info, void*) {
    const int saved = errno;
    const bool unreadable = info->si_code > 0 && info->si_code != BUS_ADRALN;
    if (!unreadable || !replace_page(reinterpret_cast<uintptr_t>(info->si_addr))) pass_on(*info);
    errno = saved;
}

[[noreturn]] void refused(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

// Also where another handler has taken its place since.
void install() {
    struct sigaction current = {};
    if (sigaction(SIGBUS, nullptr, &current)) refused("SIGBUS cannot be handled");
    if ((current.sa_flags & SA_SIGINFO) && current.sa_sigaction == on_bus_error) return;
    const int count = num_replaced.load();
    if (count == kMaxReplaced) return;
    page_bytes.store(size_t(sysconf(_SC_PAGESIZE)));
    replaced[count] = current;
    num_replaced.store(count + 1);
    struct sigaction action = {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    if (!sigaction(SIGBUS, &action, nullptr)) return;
    num_replaced.store(count);
    refused("SIGBUS cannot be handled");
}

int unused_range() {
    const int count = num_ranges.load();
    for (int i = 0; i < count; i++)
        if (!ranges[i].end.load()) return i;
    if (count == kMaxWatched) throw std::length_error("too many arrays are watched for faults");
    return count;
}

}  // namespace

bool can_guard() { return true; }

int watch(const uint8_t* data, size_t bytes) {
    const std::lock_guard lock(changes);
    install();
    const int number = unused_range();
    Range& range = ranges[number];
    const size_t page = page_bytes.load();
    const uintptr_t first = reinterpret_cast<uintptr_t>(data), begin = first / page * page, end = (first + bytes + page - 1) / page * page;
    const size_t words = (end - begin) / page / 64 + 1;
    if (range.words < words) {
        bitmaps.push_back(std::make_unique<Word[]>(std::bit_ceil(words)));
        range.faults.store(bitmaps.back().get());
        range.words = std::bit_ceil(words);
    }
    for (size_t i = 0; i < range.words; i++) range.faults.load()[i].store(0);
    range.begin.store(begin);
    range.end.store(end);
    num_ranges.store(std::max(num_ranges.load(), number + 1));
    return number;
}

void forget(int range) {
    const std::lock_guard lock(changes);
    ranges[range].end.store(0);
}

std::vector<size_t> take_faults(int number) {
    Range& range = ranges[number];
    std::vector<size_t> pages;
    for (size_t i = 0; i < range.words; i++) {
        if (!range.faults.load()[i].load()) continue;
        for (uint64_t bits = range.faults.load()[i].exchange(0); bits; bits &= bits - 1) pages.push_back((i * 64 + std::countr_zero(bits)) * page_bytes.load());
    }
    return pages;
}

void remap(const uint8_t* data, size_t bytes, int descriptor, size_t file_offset) {
    const size_t page = size_t(sysconf(_SC_PAGESIZE));
    if (reinterpret_cast<uintptr_t>(data) % page || file_offset % page) throw std::invalid_argument("only what begins at a page can be mapped anew");
    if (mmap(const_cast<uint8_t*>(data), bytes, PROT_READ, MAP_SHARED | MAP_FIXED, descriptor, off_t(file_offset)) == MAP_FAILED)
        refused("the file cannot be mapped");
}

int64_t resident_bytes(const uint8_t* data, size_t bytes) {
    const size_t page = size_t(sysconf(_SC_PAGESIZE));
    const uintptr_t begin = reinterpret_cast<uintptr_t>(data), end = begin + bytes;
    std::array<unsigned char, 4096> present;
    int64_t resident = 0;
    for (uintptr_t at = begin / page * page; at < end;) {
        const size_t count = std::min(present.size(), (end - at + page - 1) / page);
        if (mincore(reinterpret_cast<void*>(at), count * page, present.data())) return -1;
        for (size_t i = 0; i < count; i++, at += page)
            if (present[i] & 1) resident += int64_t(std::min(end, at + page) - std::max(begin, at));
    }
    return resident;
}

}  // namespace pocketseek

#else

namespace pocketseek {

bool can_guard() { return false; }
int watch(const uint8_t*, size_t) { return 0; }
void forget(int) {}
std::vector<size_t> take_faults(int) { return {}; }
void remap(const uint8_t*, size_t, int, size_t) { throw std::invalid_argument("files are mapped anew on Linux only"); }
int64_t resident_bytes(const uint8_t*, size_t) { return -1; }

}  // namespace pocketseek

#endif
