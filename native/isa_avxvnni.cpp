#include "simd_avxvnni.h"
// the lanes come first
#include "make_table.h"

namespace pocketseek {

const KernelTable& avx_vnni_table() {
    static constexpr KernelTable table = make_table();
    return table;
}

}  // namespace pocketseek
