// Products of matrices in bfloat16, for processors that multiply its pairs in vectors but have no tiles (AMX) for it.
//
// Both factors are first laid out in panels, as Goto & van de Geijn (2008) do: ROWS rows of the left one, COLUMNS
// columns of the right one, and of each the numbers of two neighbouring inner indices side by side in a word of 32
// bits, since one instruction multiplies two such pairs and adds both products. Sums are float32. What they are does
// not depend on threads: an inner index is never shared out.
#pragma once

#include <algorithm>

#include "vectors.h"

#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)
#define HEEDFUL_PRODUCTS

namespace heedful {

constexpr int PANEL_ROWS = 12, PANEL_COLUMNS = 32;  // 24 vectors of sums in 32 registers
constexpr int INNER = 1024;                         // pairs of a panel, which then stays in the second cache
constexpr int AHEAD = 16;                           // rows that are fetched before they are laid out

// A factor: number (index, inner) stands at `index * index_stride + inner * inner_stride`, one of which is 1.
struct Factor {
    const void* data;
    int64_t index_stride, inner_stride;
    int32_t narrow;  // bfloat16, else float32
};

inline __mmask32 first_of_32(int count) { return count >= 32 ? ~0u : count <= 0 ? 0 : (1u << count) - 1; }
inline __mmask16 first_of_16(int count) { return first_of_32(std::min(count, 16)); }

// 32 numbers in a row as 16 words.
inline __m512i pairs_in_row(const Brain* from, int valid) {
    return _mm512_maskz_loadu_epi16(first_of_32(valid), from);
}

inline __m512i pairs_in_row(const float* from, int valid) {
    const __m512 low = _mm512_maskz_loadu_ps(first_of_16(valid), from);
    const __m512 high = _mm512_maskz_loadu_ps(first_of_16(valid - 16), from + 16);
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

// 16 numbers, each in the lower half of a word.
inline __m512i halves(const Brain* from, int valid) {
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_of_16(valid), from));
}

inline __m512i halves(const float* from, int valid) {
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(first_of_16(valid), from)));
}

// Sixteen rows of as many words to columns, by four perfect shuffles of the rows: each makes pairs of words that were
// eight rows apart.
inline void transpose(Words (&rows)[LANES]) {
    constexpr Words LOW = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
    for (int round = 0; round < 4; ++round) {
        Words mixed[LANES];
#pragma GCC unroll 8
        for (int i = 0; i < LANES / 2; ++i) {
            mixed[2 * i] = __builtin_shuffle(rows[i], rows[i + LANES / 2], LOW);
            mixed[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + LANES / 2], LOW + 8);
        }
#pragma GCC unroll 16
        for (int i = 0; i < LANES; ++i) rows[i] = mixed[i];
    }
}

// Panels of inner indices from `inner` to `end`, each `[pairs, PANEL]` and `room` words behind the one before, of the
// indices from `index` to `stop`.
template <int PANEL, class Number>
void lay_out(const Factor& f, int64_t index, int64_t stop, int64_t inner, int64_t end, uint32_t* to, int64_t room) {
    const Number* from = static_cast<const Number*>(f.data);
    // index of each part of a panel, and where its first word is
    const auto parts = [&](const auto& work) {
        for (int64_t panel = index; panel < stop; panel += PANEL, to += room)
            for (int part = 0; part < PANEL; part += LANES)
                work(panel + part, int(std::min<int64_t>(stop - panel, PANEL)) - part, first_of_16(PANEL - part),
                     to + part);
    };
    if (f.inner_stride == 1) {
        parts([&](int64_t start, int valid, __mmask16 kept, uint32_t* place) {
            for (int64_t k = inner; k < end; k += 32, place += 16 * PANEL) {
                Words words[LANES];
                for (int i = 0; i < LANES; ++i) {
                    const Number* row = from + (start + i) * f.index_stride + k;
                    words[i] = i < valid ? (Words)pairs_in_row(row, int(end - k)) : Words{};
                }
                transpose(words);
                const int pairs = int(std::min<int64_t>(16, (end - k + 1) / 2));
                for (int j = 0; j < pairs; ++j) _mm512_mask_storeu_epi32(place + j * PANEL, kept, (__m512i)words[j]);
            }
        });
    } else {
        // row by row, since those of a wide matrix share few places of the cache
        uint32_t* const panels = to;
        for (int64_t k = inner; k < end; k += 2) {
            to = panels + (k - inner) / 2 * PANEL;
            // by itself a processor does not fetch from the next page, where the next row of a wide matrix is
            for (int64_t i = index; i < stop; i += 64 / sizeof(Number))
                for (int64_t ahead = k + AHEAD; ahead < std::min(end, k + AHEAD + 2); ++ahead)
                    _mm_prefetch(from + ahead * f.inner_stride + i, _MM_HINT_T0);
            parts([&](int64_t start, int valid, __mmask16 kept, uint32_t* place) {
                const Number* row = from + k * f.inner_stride + start;
                __m512i words = halves(row, valid);
                if (k + 1 < end) words |= _mm512_slli_epi32(halves(row + f.inner_stride, valid), 16);
                _mm512_mask_storeu_epi32(place, kept, words);
            });
        }
    }
}

template <int PANEL>
void lay_out(const Factor& f, int64_t index, int64_t stop, int64_t inner, int64_t end, uint32_t* to, int64_t room) {
    if (f.narrow)
        lay_out<PANEL, Brain>(f, index, stop, inner, end, to, room);
    else
        lay_out<PANEL, float>(f, index, stop, inner, end, to, room);
}

// What becomes of the sums.
struct Result {
    void* data;  // `[rows, columns]`
    int64_t stride;
    const float* bias;      // of columns, or none
    int narrow, rectified;  // bfloat16, else float32; negative sums become 0
    int added;              // to what stands there, in float32

    template <int ROWS>
    void take(const Floats (&sums)[ROWS][2], int64_t row, int64_t column, int columns) const {
#pragma GCC unroll 12
        for (int m = 0; m < ROWS; ++m)
            for (int n = 0; n < 2; ++n) {
                const __mmask16 kept = first_of_16(columns - n * LANES);
                const int64_t place = (row + m) * stride + column + n * LANES;
                Floats sum = sums[m][n];
                if (bias) sum += (Floats)_mm512_maskz_loadu_ps(kept, bias + column + n * LANES);
                if (rectified) sum = sum < 0 ? Floats{} : sum;  // a NaN is kept
                if (narrow) {
                    _mm256_mask_storeu_epi16(static_cast<Brain*>(data) + place, kept,
                                             (__m256i)_mm512_cvtneps_pbh((__m512)sum));
                } else {
                    float* to = static_cast<float*>(data) + place;
                    if (added) sum += (Floats)_mm512_maskz_loadu_ps(kept, to);
                    _mm512_mask_storeu_ps(to, kept, (__m512)sum);
                }
            }
    }
};

// One panel by another, added to the sums of what is before.
template <int ROWS>
inline void product_panel(const uint32_t* a, const uint32_t* b, int pairs, Floats (&sums)[ROWS][2]) {
    for (int k = 0; k < pairs; ++k, a += PANEL_ROWS, b += PANEL_COLUMNS) {
        const __m512bh left = (__m512bh)load<Ints>(b), right = (__m512bh)load<Ints>(b + LANES);
#pragma GCC unroll 12
        for (int m = 0; m < ROWS; ++m) {
            const __m512bh pair = (__m512bh)_mm512_set1_epi32(a[m]);
            sums[m][0] = (Floats)_mm512_dpbf16_ps((__m512)sums[m][0], pair, left);
            sums[m][1] = (Floats)_mm512_dpbf16_ps((__m512)sums[m][1], pair, right);
        }
    }
}

// The product `[rows, columns]`, whose inner indices are taken a part at a time.
struct Parts {
    int64_t columns, inner;

    int64_t count() const { return (inner + 2 * INNER - 1) / (2 * INNER); }
    int64_t size() const { return rounded_up(int((inner + count() - 1) / count()), 32); }
    int64_t start(int64_t part) const { return part * size(); }
    int64_t end(int64_t part) const { return std::min(inner, start(part + 1)); }
    int64_t panels() const { return (columns + PANEL_COLUMNS - 1) / PANEL_COLUMNS; }
    // words from one panel of COLUMNS to the next, and all
    int64_t panel() const { return size() / 2 * PANEL_COLUMNS; }
    int64_t words() const { return count() * panels() * panel(); }
};

// `rows` rows from `row` on by one panel, of inner indices of one part; `before` `[all rows, panels, COLUMNS]` has the
// sums of the parts before it.
template <int ROWS = PANEL_ROWS, class Taker>
void product_rows(int rows, const uint32_t* left, const uint32_t* right, const Parts& parts, int64_t part,
                  float* before, const Taker& result, int64_t row, int64_t panel) {
    if constexpr (ROWS > 1)
        if (rows < ROWS) return product_rows<ROWS - 1>(rows, left, right, parts, part, before, result, row, panel);
    const int64_t stride = parts.panels() * PANEL_COLUMNS;
    const int pairs = int(parts.end(part) - parts.start(part) + 1) / 2;
    float* own = before + row * stride + panel * PANEL_COLUMNS;
    Floats sums[ROWS][2] = {};
    if (part > 0)
#pragma GCC unroll 12
        for (int m = 0; m < ROWS; ++m)
            for (int n = 0; n < 2; ++n) sums[m][n] = load<Floats>(own + m * stride + n * LANES);
    product_panel<ROWS>(left, right, pairs, sums);
    if (part == parts.count() - 1) {
        const int64_t column = panel * PANEL_COLUMNS;
        const int columns = int(std::min<int64_t>(parts.columns - column, PANEL_COLUMNS));
        return result.template take<ROWS>(sums, row, column, columns);
    }
#pragma GCC unroll 12
    for (int m = 0; m < ROWS; ++m)
        for (int n = 0; n < 2; ++n) store(own + m * stride + n * LANES, sums[m][n]);
}

}  // namespace heedful
#else
namespace heedful {
struct Factor;
struct Result;
}  // namespace heedful
#endif
