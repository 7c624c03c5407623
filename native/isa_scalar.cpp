#include "simd_scalar.h"
// the lanes come first
#include "make_table.h"

namespace pocketseek {

const KernelTable& scalar_table() {
    static constexpr KernelTable table = make_table();
    return table;
}

}  // namespace pocketseek
