#include "rope.h"

#include <cmath>
#include <initializer_list>

namespace pocketseek {

// sin and cos on [-pi/4, pi/4] by their Taylor series (error below 1e-16), after reduction by pi/2 in three parts of 33 bits
// (exact products for quadrants below 2^20, that is angles below 1.6 million).
static void sine_cosine(double x, double* sine, double* cosine) {
    const double quadrant = std::nearbyint(x * 0.63661977236758134308);
    double r = x - quadrant * 1.57079632673412561417e+00;
    r = r - quadrant * 6.07710050630396597660e-11;
    r = r - quadrant * 2.02226624879595063154e-21;
    const double z = r * r;
    double s = -7.6471637318198164759e-13;
    for (double c : {1.6059043836821614599e-10, -2.5052108385441718775e-08, 2.7557319223985890653e-06, -1.9841269841269841270e-04,
                     8.3333333333333333333e-03, -1.6666666666666666667e-01})
        s = s * z + c;
    s = r + r * z * s;
    double c = 4.7794773323873852974e-14;
    for (double k : {-1.1470745597729724714e-11, 2.0876756987868098979e-09, -2.7557319223985890653e-07, 2.4801587301587301587e-05,
                     -1.3888888888888888889e-03, 4.1666666666666666667e-02, -0.5})
        c = c * z + k;
    c = 1.0 + z * c;
    switch (int64_t(quadrant) & 3) {
        case 0: *sine = s, *cosine = c; break;
        case 1: *sine = c, *cosine = -s; break;
        case 2: *sine = -s, *cosine = -c; break;
        default: *sine = -c, *cosine = s; break;
    }
}

void rope_table(const int32_t* positions, int rows, const float* inv_freq, int half, float factor, float* cosine, float* sine) {
    for (int row = 0; row < rows; row++)
        for (int i = 0; i < half; i++) {
            const float angle = float(positions[row]) * inv_freq[i];
            double s, c;
            sine_cosine(double(angle), &s, &c);
            cosine[row * half + i] = float(c) * factor;
            sine[row * half + i] = float(s) * factor;
        }
}

}  // namespace pocketseek
