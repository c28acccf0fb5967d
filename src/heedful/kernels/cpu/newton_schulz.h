// The iteration by which Muon makes matrices orthogonal (training/muon.py): a matrix is one thread's, whose cache keeps
// it, and of a symmetric product only half is computed.
#pragma once

#include "product.h"

#ifdef HEEDFUL_PRODUCTS
namespace heedful {

// Many matrices `[rows, columns]`, no wider than one part of a product, with `rows` <= `columns`.
struct Iteration {
    int32_t rows, columns, steps;
    float a, b, c;

    int64_t square() const { return int64_t(rows) * rows; }
    int64_t size() const { return int64_t(rows) * columns; }
    int64_t left() const { return int64_t(rounded_up(rows, PANEL_ROWS)) * rounded_up(columns, 32) / 2; }
    int64_t right() const { return std::max(Parts{rows, columns}.words(), Parts{columns, rows}.words()); }
    // words that a thread needs: both factors in panels, X X^T and its polynomial, the next X
    int64_t words() const { return left() + right() + square() + (size() + 1) / 2; }
};

// scale * sums + share * `other`, which has the layout of `data`.
struct Combination {
    Brain* data;
    const Brain* other;
    int64_t stride;
    float scale, share;

    template <int ROWS>
    void take(const Floats (&sums)[ROWS][2], int64_t row, int64_t column, int columns) const {
#pragma GCC unroll 12
        for (int m = 0; m < ROWS; ++m)
            for (int n = 0; n < 2; ++n) {
                const int valid = std::min(columns - n * LANES, LANES);
                if (valid <= 0) continue;
                const int64_t place = (row + m) * stride + column + n * LANES;
                Floats sum = sums[m][n] * scale;
                if (share != 0) sum += share * read_first(other + place, valid);
                write_first(data + place, sum, valid);
            }
    }
};

// left `[rows, inner]` by right `[inner, columns]`; `symmetric` products are computed above the diagonal alone.
inline void multiply(const Factor& left, const Factor& right, int rows, int columns, int inner, bool symmetric,
                     uint32_t* left_words, uint32_t* right_words, const Combination& result) {
    const Parts parts{columns, inner};
    const int64_t room = parts.size() / 2;
    lay_out<PANEL_ROWS>(left, 0, rows, 0, inner, left_words, PANEL_ROWS * room);
    lay_out<PANEL_COLUMNS>(right, 0, columns, 0, inner, right_words, parts.panel());
    for (int64_t panel = 0; panel < parts.panels(); ++panel)
        for (int64_t row = 0; row < rows; row += PANEL_ROWS)
            if (!symmetric || row < (panel + 1) * PANEL_COLUMNS)
                product_rows(int(std::min<int64_t>(rows - row, PANEL_ROWS)), left_words + row * room,
                             right_words + panel * parts.panel(), parts, 0, nullptr, result, row, panel);
    if (!symmetric) return;
    for (int64_t i = 0; i < rows; i += LANES)
        for (int64_t j = 0; j <= i; j += LANES)
            for (int64_t k = i; k < std::min<int64_t>(rows, i + LANES); ++k)
                for (int64_t l = j; l < std::min(k, j + LANES); ++l)
                    result.data[k * rows + l] = result.data[l * rows + k];
}

// X <- aX + (bA + cA²)X with A = XX^T, so often.
inline void iterate(const Iteration& it, Brain* x, uint32_t* memory) {
    uint32_t *left = memory, *right = left + it.left();
    Brain* gram = reinterpret_cast<Brain*>(right + it.right());
    Brain *polynomial = gram + it.square(), *next = polynomial + it.square(), *own = x;
    const int rows = it.rows, columns = it.columns;
    const auto across = [](const Brain* data, int width) { return Factor{data, width, 1, true}; };
    for (int step = 0; step < it.steps; ++step, std::swap(x, next)) {
        multiply(across(x, columns), across(x, columns), rows, rows, columns, true, left, right,
                 {gram, nullptr, rows, 1, 0});
        multiply(across(gram, rows), across(gram, rows), rows, rows, rows, true, left, right,
                 {polynomial, gram, rows, it.c, it.b});
        multiply(across(polynomial, rows), {x, 1, columns, true}, rows, columns, rows, false, left, right,
                 {next, x, columns, 1, it.a});
    }
    if (x != own) std::memcpy(own, x, it.size() * sizeof(Brain));
}

}  // namespace heedful
#else
namespace heedful {
struct Iteration;
}
#endif
