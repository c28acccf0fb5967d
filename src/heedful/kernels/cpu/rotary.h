// Queries and keys turned by the angles of their positions (Su et al. 2021, equation 15).
#pragma once

#include "vectors.h"

namespace heedful {

// Component i together with i + half, by angles whose sines and then cosines are given; `sign` -1 turns back.
template <class Number>
void turn(const Number* x, int half, const float* sines, float sign, Number* to) {
    for (int i = 0; i < half; i += LANES) {
        const int valid = half - i;
        const Floats left = read_first(x + i, valid), right = read_first(x + half + i, valid);
        const Floats sine = read_first(sines + i, valid) * sign, cosine = read_first(sines + half + i, valid);
        write_first(to + i, left * cosine - right * sine, valid);
        write_first(to + half + i, left * sine + right * cosine, valid);
    }
}

}  // namespace heedful
