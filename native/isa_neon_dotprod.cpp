#include "simd_neon_dotprod.h"
// the lanes come first
#include "make_table.h"

namespace pocketseek {

const KernelTable& neon_dotprod_table() {
    static constexpr KernelTable table = make_table();
    return table;
}

}  // namespace pocketseek
