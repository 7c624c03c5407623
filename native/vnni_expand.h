// What the two sets with VNNI share of expanded.h: one block of q4p as bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace pocketseek {
namespace {

// One block as bytes g * (q - 8), groups of four inputs in order: 8 lines of 64 bytes, [16 outputs][4 inputs]. Lanes: a register as
// 16-bit lanes; g: the steps of a line's outputs, each twice, since an output has two lanes.
template <class Lanes, size_t N>
static void expand_nibbles(const uint8_t* w, const Lanes (&g)[N], uint8_t* out) {
    static_assert(N * sizeof(Lanes) == 64);
    typedef uint8_t Bytes __attribute__((vector_size(sizeof(Lanes))));
    const auto write = [](Lanes q, Lanes g, uint8_t* to) {  // the low and the high bytes of lanes; a product is at most 225
        const Lanes products = ((q & 0xff) * g) | ((q >> 8) * (g << 8));
        const Bytes bytes = Bytes(products) - Bytes(g * 0x0808);
        std::memcpy(to, &bytes, sizeof bytes);
    };
    for (size_t line = 0; line < 4; line++)
        for (size_t part = 0; part < N; part++) {
            const size_t at = part * sizeof(Lanes);
            Lanes v;
            std::memcpy(&v, w + line * 64 + at, sizeof v);
            write(v & 0x0f0f, g[part], out + line * 128 + at);
            write((v >> 4) & 0x0f0f, g[part], out + line * 128 + 64 + at);
        }
}

}  // namespace
}  // namespace pocketseek
