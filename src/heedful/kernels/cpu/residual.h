// What surrounds a sublayer: dropout of its output, sum with the stream, and LayerNorm.
//
// Which components become zero follows from a seed and their place, so backward draws them anew.
#pragma once

#include <algorithm>

#include "vectors.h"

namespace heedful {

// Two components share a hash of their place: its halves decide over places 32 n + lane and 32 n + 16 + lane of a row.
class Mask {
public:
    Mask(uint64_t seed, int dropped, int width)
        : low_(uint32_t(seed)), high_(uint32_t(seed >> 32)), dropped_(dropped),
          scale_(65536.0f / float(65536 - dropped)), width_(width) {}

    static int64_t room(int width) { return rounded_up(width, 2 * LANES); }

    // 0 or the others' scale, of all components of a row.
    void fill(int64_t row, float* to) const {
        for (int column = 0; column < width_; column += 2 * LANES) {
            const uint64_t place = (uint64_t(row) * room(width_) + column) / 2;
            Words word = (Words)lane_numbers() + uint32_t(place);
            word = mixed(word ^ low_);
            word = mixed(word ^ high_ ^ uint32_t(place >> 32));
            store(to + column, kept(word & 0xffff));
            store(to + column + LANES, kept(word >> 16));
        }
    }

private:
    Floats kept(Words bits) const { return bits >= uint32_t(dropped_) ? all(scale_) : Floats{}; }

    // The finaliser of MurmurHash3 (Appleby 2011): every bit of the result depends on every one given.
    static Words mixed(Words x) {
        x = (x ^ x >> 16) * 0x85ebca6bu;
        x = (x ^ x >> 13) * 0xc2b2ae35u;
        return x ^ x >> 16;
    }

    uint32_t low_, high_;
    int dropped_;
    float scale_;
    int width_;
};

// LayerNorm(x + dropout(output)) of one row, and its mean and inverse deviation; `room` as a mask asks for.
template <class X, class Output, class Normed>
void add_norm(const X* x, const Output* output, const float* gain, const float* bias, int width, int64_t row,
              const Mask& mask, float epsilon, float* room, Normed* normed, float* mean, float* scale) {
    mask.fill(row, room);
    Floats total = {};
    for (int i = 0; i < width; i += LANES) {
        const Floats z = read_first(x + i, width - i) + read_first(output + i, width - i) * load<Floats>(room + i);
        store(room + i, z);
        total += z;
    }
    *mean = sum(total) / width;
    Floats squares = {};
    for (int i = 0; i < width; i += LANES) {
        const Floats z = first(load<Floats>(room + i) - *mean, width - i, 0.0f);
        squares += z * z;
    }
    *scale = 1 / std::sqrt(sum(squares) / width + epsilon);
    for (int i = 0; i < width; i += LANES) {
        const Floats z = (load<Floats>(room + i) - *mean) * *scale;
        write_first(normed + i, z * read_first(gain + i, width - i) + read_first(bias + i, width - i), width - i);
    }
}

// Its gradients; those of gain and bias are added to `gain_sums` and `bias_sums`. `room` is twice as large.
template <class X, class Output, class Normed>
void add_norm_backward(const X* x, const Output* output, const Normed* grad, const float* gain, int width, int64_t row,
                       const Mask& mask, float mean, float scale, float* room, X* x_grad, Output* output_grad,
                       float* gain_sums, float* bias_sums) {
    float* const kept = room + Mask::room(width);
    mask.fill(row, kept);
    Floats along = {}, total = {};
    for (int i = 0; i < width; i += LANES) {
        const int valid = width - i;
        const Floats inner = read_first(output + i, valid) * load<Floats>(kept + i);
        const Floats z = (read_first(x + i, valid) + inner - mean) * scale;
        const Floats above = read_first(grad + i, valid), weighted = above * read_first(gain + i, valid);
        store(room + i, z);
        store(gain_sums + i, load<Floats>(gain_sums + i) + above * z);
        store(bias_sums + i, load<Floats>(bias_sums + i) + above);
        along += weighted * z, total += weighted;
    }
    // what shifts or stretches the whole row changes nothing
    const float shift = sum(total) / width, stretch = sum(along) / width;
    for (int i = 0; i < width; i += LANES) {
        const int valid = width - i;
        const Floats weighted = read_first(grad + i, valid) * read_first(gain + i, valid);
        const Floats here = (weighted - shift - load<Floats>(room + i) * stretch) * scale;
        write_first(x_grad + i, here, valid);
        write_first(output_grad + i, here * load<Floats>(kept + i), valid);
    }
}

// dropout(output) of one row, with x added where there is one.
template <class X, class Output, class Result>
void add_dropout(const X* x, const Output* output, int width, int64_t row, const Mask& mask, float* room,
                 Result* result) {
    mask.fill(row, room);
    for (int i = 0; i < width; i += LANES) {
        Floats z = read_first(output + i, width - i) * load<Floats>(room + i);
        if (x) z += read_first(x + i, width - i);
        write_first(result + i, z, width - i);
    }
}

}  // namespace heedful
