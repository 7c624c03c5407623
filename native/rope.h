// cos and sin of position * frequency, by own double arithmetic so that every processor gives the same bits.
#pragma once

#include <cstdint>

namespace pocketseek {

// cosine, sine: [rows][half]; angle = float(position) * inv_freq in f32, results times `factor` in f32.
void rope_table(const int32_t* positions, int rows, const float* inv_freq, int half, float factor, float* cosine, float* sine);

}  // namespace pocketseek
