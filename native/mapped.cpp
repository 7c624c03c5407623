#include "mapped.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>
#include <sys/stat.h>

#include <optional>
#include <stdexcept>

#include "fault_guard.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace pocketseek {
namespace {

using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Descriptors = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Stamps = nb::ndarray<const int64_t, nb::shape<-1, 2>, nb::c_contig, nb::device::cpu>;  // size, mtime in ns

// An array that is watched, and kept, as long as this lives.
class Watched {
public:
    explicit Watched(Bytes data) : data_(std::move(data)), range_(data_.size() ? watch(data_.data(), data_.size()) : throw std::invalid_argument("nothing to watch")) {}
    ~Watched() { forget(range_); }
    Watched(const Watched&) = delete;
    Watched& operator=(const Watched&) = delete;

    std::vector<size_t> take_faults() const { return pocketseek::take_faults(range_); }
    void remap(int descriptor, size_t file_offset) const { pocketseek::remap(data_.data(), data_.size(), descriptor, file_offset); }

private:
    Bytes data_;
    int range_;
};

std::optional<int64_t> resident(Bytes data) {
    nb::gil_scoped_release release;
    const int64_t bytes = resident_bytes(data.data(), data.size());
    return bytes < 0 ? std::nullopt : std::optional(bytes);
}

int64_t mtime_ns(const struct stat& status) {
#ifdef __APPLE__
    const timespec& time = status.st_mtimespec;
#else
    const timespec& time = status.st_mtim;
#endif
    return int64_t(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

// About 0.5 us for each: asked after every pass.
std::vector<size_t> changed_files(Descriptors descriptors, Stamps stamps) {
    if (descriptors.size() != stamps.shape(0)) throw std::invalid_argument("as many stamps as files are needed");
    std::vector<size_t> changed;
    for (size_t i = 0; i < descriptors.size(); ++i) {
        const int64_t* stamp = stamps.data() + 2 * i;
        struct stat status;
        if (fstat(descriptors.data()[i], &status) || status.st_size != stamp[0] || mtime_ns(status) != stamp[1]) changed.push_back(i);
    }
    return changed;
}

}  // namespace

void bind_mapped(nb::module_& m) {
    m.def("resident_bytes", &resident, "data"_a, "How many of these bytes are in memory; None if the system does not tell.");
    m.def("changed_files", &changed_files, "descriptors"_a, "stamps"_a, "Which of the open files do not have their size and mtime (any more).");
    m.def("can_guard", &can_guard, "Whether `Watched` catches anything on this system.");
    nb::class_<Watched>(m, "Watched")
        .def(nb::init<Bytes>(), "data"_a)
        .def("take_faults", &Watched::take_faults, "Offsets of pages that could not be read since the last call.")
        .def("remap", &Watched::remap, "descriptor"_a, "file_offset"_a);
}

}  // namespace pocketseek
