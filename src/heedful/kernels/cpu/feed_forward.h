// Backward: equation 2's ReLU, and what a bias wants.
#pragma once

#include "vectors.h"

namespace heedful {

// The gradient where `hidden` is positive, else 0; it is added to `sums`, the bias's.
template <class Number>
void rectified(const Number* grad, const Number* hidden, int width, Number* masked, float* sums) {
    for (int i = 0; i < width; i += LANES) {
        const Floats above = read_first(grad + i, width - i);
        const Floats kept = read_first(hidden + i, width - i) > 0.0f ? above : Floats{};
        write_first(masked + i, kept, width - i);
        store(sums + i, load<Floats>(sums + i) + kept);
    }
}

template <class Number>
void add_row(const Number* row, int width, float* sums) {
    for (int i = 0; i < width; i += LANES)
        store(sums + i, load<Floats>(sums + i) + read_first(row + i, width - i));
}

}  // namespace heedful
