#include "simd_neon_i8mm.h"
// the lanes come first
#include "make_table.h"

namespace pocketseek {

const KernelTable& neon_i8mm_table() {
    static constexpr KernelTable table = make_table();
    return table;
}

}  // namespace pocketseek
