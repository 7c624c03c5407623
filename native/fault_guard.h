// Reading a mapped page fails with SIGBUS where the file has been cut short or the storage does not answer. In a watched range that is
// noted down instead of ending the process: the page becomes one of zeros, the reading thread goes on, and who watches asks afterwards.
//
// The handler is installed with the first range and stays. Other faults, and signals that somebody sent, go on to the handler that was
// there before (faulthandler, Python, none), which is put back for that. A handler that others install later is asked before this one,
// until the next range is watched. A signal handler may do little: atomics and system calls are all that it uses.
//
// Any thread may watch, forget, take and remap; a range must stay mapped, and must not be read while it is forgotten or mapped anew.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pocketseek {

inline constexpr int kMaxWatched = 4096;

bool can_guard();

// The number of the range in the table, from 0; bytes > 0. Throws std::length_error if the table is full, std::system_error if there can be no handler.
int watch(const uint8_t* data, size_t bytes);
void forget(int range);
// Where pages have been replaced since the last call: offsets from the beginning of the range, ascending. (The first page may begin
// before the range: it counts as 0.)
std::vector<size_t> take_faults(int range);
// Maps a file over these bytes again, read-only and shared like what was there. Throws std::invalid_argument unless both begin at pages,
// std::system_error if the system refuses.
void remap(const uint8_t* data, size_t bytes, int descriptor, size_t file_offset);

// How many of these bytes are in memory, the page cache included; negative if the system does not tell. Linux tells "all" about files that
// this user neither owns nor may write.
int64_t resident_bytes(const uint8_t* data, size_t bytes);

}  // namespace pocketseek
