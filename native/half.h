// IEEE half precision by integer arithmetic: the scalar twin of F16C / NEON conversions, bit for bit (finite values and infinities).
#pragma once

#include <bit>
#include <cstdint>

namespace pocketseek {

static inline float half_to_float(uint16_t h) {
    const uint32_t sign = uint32_t(h & 0x8000) << 16;
    uint32_t exponent = (h >> 10) & 31, mantissa = h & 1023;
    if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
    if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, exact in f32
        const float value = float(mantissa) * 0x1p-24f;
        return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value));
    }
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

static inline uint16_t float_to_half(float f) {  // round to nearest even
    const uint32_t x = std::bit_cast<uint32_t>(f);
    const uint16_t sign = uint16_t((x >> 16) & 0x8000);
    const uint32_t magnitude = x & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return uint16_t(sign | 0x7e00);   // NaN
    if (magnitude >= 0x477ff000u) return uint16_t(sign | 0x7c00);  // rounds to infinity
    if (magnitude < 0x38800000u) {                                  // subnormal or zero in f16
        if (magnitude < 0x33000000u) return sign;                   // below half of the smallest subnormal
        const int shift = 126 - int(magnitude >> 23);               // 14..24 bits to drop
        const uint32_t m = (magnitude & 0x7fffffu) | 0x800000u;
        const uint32_t kept = m >> shift, rest = m & ((1u << shift) - 1), halfway = 1u << (shift - 1);
        return uint16_t(sign | (kept + (rest > halfway || (rest == halfway && (kept & 1)))));
    }
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1);
    return uint16_t(sign | ((rounded - 0x38000000u) >> 13));
}

}  // namespace pocketseek
