// y = xW^T + b for weights that never change: they are packed once, as the multiply-add instructions read them.
//
// A word of 32 bits holds one float32, two bfloat16 or four int8; an instruction multiplies a word of x by sixteen
// words of W and adds to sixteen sums. Every sum runs over its inputs in one order, whatever else is in the batch.
#pragma once

#include <algorithm>
#include <vector>

#include "vectors.h"

namespace heedful {

enum class Precision { float32 = 0, bfloat16 = 1, int8 = 2 };

constexpr int PANEL = 2 * LANES;  // columns of y that are computed together

inline uint16_t to_bfloat16(float value) {  // to nearest, ties to even
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

struct Float32 {
    using Sums = Floats;
    static Sums add(Sums sums, uint32_t x, Words weight) { return sums + (Floats)(Words{} + x) * (Floats)weight; }
};

struct Bfloat16 {
    using Sums = Floats;
    static Sums add(Sums sums, uint32_t x, Words weight) {
#ifdef __AVX512BF16__
        return (Floats)_mm512_dpbf16_ps((__m512)sums, (__m512bh)(Words{} + x), (__m512bh)weight);
#else
        const Words both = Words{} + x;
        sums += (Floats)(both << 16) * (Floats)(weight << 16);
        return sums + (Floats)(both & 0xffff0000u) * (Floats)(weight & 0xffff0000u);
#endif
    }
};

struct Int8 {  // x is 0 to 255 and means (x - zero) * scale; W is -127 to 127
    using Sums = Ints;
    static Sums add(Sums sums, uint32_t x, Words weight) {
#ifdef __AVX512VNNI__
        return (Ints)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)(Words{} + x), (__m512i)weight);
#else
        for (int shift = 0; shift < 32; shift += 8) {
            const Ints byte = (Ints)(weight << (24 - shift)) >> 24;
            sums += byte * int32_t(x >> shift & 255);
        }
        return sums;
#endif
    }
};

// The left side of a product, in the precision of the right one.
class Operand {
public:
    // `x` has `rows` rows of `width` numbers, one every `stride`.
    void set(const float* x, int rows, int width, int stride, Precision precision) {
        if (precision == Precision::float32) {
            data_ = reinterpret_cast<const uint32_t*>(x);
            stride_ = stride;
            return;
        }
        const int per_word = precision == Precision::int8 ? 4 : 2;
        stride_ = whole(width) / per_word;
        own_.resize(size_t(rows) * stride_);
        scales_.resize(rows), zeros_.resize(rows);
        data_ = own_.data();
        for (int row = 0; row < rows; ++row) {
            const float* from = x + size_t(row) * stride;
            uint32_t* to = own_.data() + size_t(row) * stride_;
            if (precision == Precision::int8)
                quantise(row, from, width, reinterpret_cast<uint8_t*>(to));
            else
                round(from, width, reinterpret_cast<uint16_t*>(to));
        }
    }

    const uint32_t* row(int index) const { return data_ + size_t(index) * stride_; }
    int stride() const { return stride_; }
    float scale(int row) const { return scales_[row]; }
    int32_t zero(int row) const { return zeros_[row]; }

private:
    // q = round(x / scale) + zero: 0 for the row's least component and 255 for its largest, of which 0 is one too.
    void quantise(int row, const float* x, int width, uint8_t* to) {
        Floats most = {}, negated = {};
        for (int i = 0; i < width; i += LANES) {
            const Floats part = first(load<Floats>(x + i), width - i, 0.0f);
            most = larger(most, part), negated = larger(negated, -part);
        }
        const float range = maximum(most) + maximum(negated), inverse = range > 0 ? 255.0f / range : 0.0f;
        scales_[row] = range / 255.0f;
        zeros_[row] = int32_t(std::nearbyint(maximum(negated) * inverse));
        for (int i = 0; i < width; i += LANES) {
            const Floats shifted = first(load<Floats>(x + i), width - i, 0.0f) * inverse + 12582912.0f;
            const Ints quantised = (Ints)shifted - 0x4b400000 + zeros_[row];  // as in `exponential`
            typedef uint8_t Bytes __attribute__((vector_size(16)));
            store(to + i, __builtin_convertvector(quantised > 255 ? 255 : quantised, Bytes));
        }
    }

    static void round(const float* x, int width, uint16_t* to) {
        for (int i = 0; i < width; i += LANES)
            write(reinterpret_cast<Brain*>(to) + i, first(load<Floats>(x + i), width - i, 0.0f));
    }

    const uint32_t* data_ = nullptr;
    int stride_ = 0;
    std::vector<uint32_t> own_;
    std::vector<float> scales_;
    std::vector<int32_t> zeros_;
};

class Product {
public:
    Product() = default;

    // W is [out, in]; a bias may be missing.
    Product(const float* weight, const float* bias, int in, int out, Precision precision)
        : in_(in), out_(out), precision_(precision) {
        const int per_word = precision == Precision::int8 ? 4 : precision == Precision::bfloat16 ? 2 : 1;
        words_ = (in + per_word - 1) / per_word;
        const int columns = rounded_up(out, PANEL);
        packed_.assign(size_t(columns) * words_, 0);
        bias_.assign(columns, 0.0f);
        if (bias) std::copy(bias, bias + out, bias_.begin());
        if (precision == Precision::int8) scales_.assign(columns, 0.0f), totals_.assign(columns, 0);
        for (int column = 0; column < out; ++column) pack(weight + size_t(column) * in, column, per_word);
    }

    int in() const { return in_; }
    int out() const { return out_; }
    int panels() const { return rounded_up(out_, PANEL) / PANEL; }
    Precision precision() const { return precision_; }

    // y has `rows` rows, one every `stride` numbers, which must leave room for whole panels.
    void run(const Operand& x, int rows, float* y, int stride, bool relu = false) const {
        for (int panel = 0; panel < panels(); ++panel)
            for (int row = 0; row < rows; row += BLOCK)
                tile(x, row, std::min(BLOCK, rows - row), panel, y + size_t(row) * stride + panel * PANEL, stride, relu);
    }

    // At most BLOCK rows of one panel of columns.
    void tile(const Operand& x, int row, int rows, int panel, float* y, int stride, bool relu = false) const {
        if (precision_ == Precision::float32)
            of_height<Float32>(x, row, rows, panel, y, stride, relu);
        else if (precision_ == Precision::bfloat16)
            of_height<Bfloat16>(x, row, rows, panel, y, stride, relu);
        else
            of_height<Int8>(x, row, rows, panel, y, stride, relu);
    }

private:
    void pack(const float* weight, int column, int per_word) {
        uint32_t* const to = packed_.data() + size_t(column / PANEL) * words_ * PANEL + column % PANEL;
        float largest = 0.0f;
        for (int i = 0; i < in_; ++i) largest = std::max(largest, std::fabs(weight[i]));
        const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
        for (int i = 0; i < in_; ++i) {
            uint32_t bits = 0;
            if (precision_ == Precision::float32) {
                std::memcpy(&bits, weight + i, 4);
            } else if (precision_ == Precision::bfloat16) {
                bits = to_bfloat16(weight[i]);
            } else {
                const int quantised = int(std::nearbyint(weight[i] * inverse));
                totals_[column] += quantised;
                bits = uint8_t(quantised);
            }
            to[size_t(i / per_word) * PANEL] |= bits << (32 / per_word * (i % per_word));
        }
        if (precision_ == Precision::int8) scales_[column] = largest / 127.0f;
    }

    template <class Kind>
    void of_height(const Operand& x, int row, int rows, int panel, float* y, int stride, bool relu) const {
        switch (rows) {  // the number of rows is a constant to the compiler, so that the sums stay in registers
            case 1: return compute<Kind, 1>(x, row, panel, y, stride, relu);
            case 2: return compute<Kind, 2>(x, row, panel, y, stride, relu);
            case 3: return compute<Kind, 3>(x, row, panel, y, stride, relu);
#if defined(__AVX512F__)
            case 4: return compute<Kind, 4>(x, row, panel, y, stride, relu);
            case 5: return compute<Kind, 5>(x, row, panel, y, stride, relu);
            case 6: return compute<Kind, 6>(x, row, panel, y, stride, relu);
            case 7: return compute<Kind, 7>(x, row, panel, y, stride, relu);
            case 8: return compute<Kind, 8>(x, row, panel, y, stride, relu);
            case 9: return compute<Kind, 9>(x, row, panel, y, stride, relu);
            case 10: return compute<Kind, 10>(x, row, panel, y, stride, relu);
            case 11: return compute<Kind, 11>(x, row, panel, y, stride, relu);
            case 12: return compute<Kind, 12>(x, row, panel, y, stride, relu);
#endif
        }
    }

    template <class Kind, int M>
    void compute(const Operand& x, int first_row, int panel, float* y, int stride, bool relu) const {
        typename Kind::Sums sums[M][2] = {};
        const uint32_t* weight = packed_.data() + size_t(panel) * words_ * PANEL;
        const uint32_t* const from = x.row(first_row);
        const size_t step = x.stride();
        for (int word = 0; word < words_; ++word, weight += PANEL) {
            const Words low = load<Words>(weight), high = load<Words>(weight + LANES);
#pragma GCC unroll 12
            for (int row = 0; row < M; ++row) {
                const uint32_t value = from[row * step + word];
                sums[row][0] = Kind::add(sums[row][0], value, low);
                sums[row][1] = Kind::add(sums[row][1], value, high);
            }
        }
#pragma GCC unroll 12
        for (int row = 0; row < M; ++row)
            for (int half = 0; half < 2; ++half) {
                const int column = panel * PANEL + half * LANES;
                Floats result = finished(sums[row][half], x, first_row + row, column);
                if (relu) result = larger(result, Floats{});
                store(y + size_t(row) * stride + half * LANES, result);
            }
    }

    Floats finished(Floats sums, const Operand&, int, int column) const {
        return sums + load<Floats>(bias_.data() + column);
    }

    // sum (q - zero) w = sum q w - zero * sum w
    Floats finished(Ints sums, const Operand& x, int row, int column) const {
        const Ints exact = sums - load<Ints>(totals_.data() + column) * x.zero(row);
        const Floats scale = load<Floats>(scales_.data() + column) * x.scale(row);
        return __builtin_convertvector(exact, Floats) * scale + load<Floats>(bias_.data() + column);
    }

    int in_ = 0, out_ = 0, words_ = 0;
    Precision precision_ = Precision::float32;
    std::vector<uint32_t> packed_;  // [panel, word of the input, column of the panel]
    std::vector<float> bias_, scales_;
    std::vector<int32_t> totals_;  // of each column's integers
};

}  // namespace heedful
