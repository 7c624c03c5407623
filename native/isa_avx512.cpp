#include "simd_avx512.h"
// the lanes come first
#include "make_table.h"

namespace pocketseek {

const KernelTable& avx512_table() {
    static constexpr KernelTable table = make_table();
    return table;
}

}  // namespace pocketseek
