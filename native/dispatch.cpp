#include "dispatch.h"

#include <initializer_list>
#include <stdexcept>

#ifdef POCKETSEEK_X86
#include <cpuid.h>
#endif
#ifdef POCKETSEEK_ARM64
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace pocketseek {

#ifdef POCKETSEEK_X86
// One page of the processor's own description, zeros where it has none. __builtin_cpu_supports is not asked: GCC 12 does not know avxvnni
// by name, clang 14 not f16c, and what zig 0.17 links in for it says no to everything.
struct Cpuid {
    unsigned a = 0, b = 0, c = 0, d = 0;
    Cpuid(unsigned leaf, unsigned subleaf) { __get_cpuid_count(leaf, subleaf, &a, &b, &c, &d); }
};
static bool all_set(unsigned word, std::initializer_list<int> bits) {
    for (int bit : bits)
        if (!(word >> bit & 1)) return false;
    return true;
}
// Which registers the system keeps for each thread: 1 and 2 are the lower halves and the 256 bits, 5 to 7 those of AVX-512.
static unsigned kept_registers() {
    if (!all_set(Cpuid(1, 0).c, {27})) return 0;  // the system does not say
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}
static bool has_avx2() {  // with FMA, AVX and F16C
    return all_set(kept_registers(), {1, 2}) && all_set(Cpuid(1, 0).c, {12, 28, 29}) && all_set(Cpuid(7, 0).b, {5});
}
static bool has_avx_vnni() { return has_avx2() && Cpuid(7, 0).a >= 1 && all_set(Cpuid(7, 1).a, {4}); }
static bool has_avx512() {  // F, DQ, BW, VL and VNNI
    return has_avx2() && all_set(kept_registers(), {5, 6, 7}) && all_set(Cpuid(7, 0).b, {16, 17, 30, 31}) && all_set(Cpuid(7, 0).c, {11});
}
#endif
#ifdef POCKETSEEK_ARM64
#ifndef HWCAP2_I8MM
#define HWCAP2_I8MM (1 << 13)  // headers before Linux 5.6
#endif
static bool has_dotprod() { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP; }
static bool has_i8mm() { return has_dotprod() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM); }
#endif

std::vector<std::string> supported_sets() {
    std::vector<std::string> names{"scalar"};
#ifdef POCKETSEEK_X86
    if (has_avx2()) names.push_back("avx2");
    if (has_avx_vnni()) names.push_back("avx-vnni");
    if (has_avx512()) names.push_back("avx512");
#endif
#ifdef POCKETSEEK_ARM64
    if (has_dotprod()) names.push_back("neon-dotprod");
    if (has_i8mm()) names.push_back("neon-i8mm");
#endif
    return names;
}

const KernelTable* find_table(const std::string& name) {
    for (const std::string& supported : supported_sets()) {
        if (supported != name) continue;
#ifdef POCKETSEEK_X86
        if (name == "avx2") return &avx2_table();
        if (name == "avx-vnni") return &avx_vnni_table();
        if (name == "avx512") return &avx512_table();
#endif
#ifdef POCKETSEEK_ARM64
        if (name == "neon-dotprod") return &neon_dotprod_table();
        if (name == "neon-i8mm") return &neon_i8mm_table();
#endif
        return &scalar_table();
    }
    return nullptr;
}

const KernelTable& table_for(const std::string& name) {
    if (const KernelTable* table = find_table(name)) return *table;
    throw std::invalid_argument("instruction set " + name + " is not available on this processor");
}

}  // namespace pocketseek
