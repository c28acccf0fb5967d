// What stands between the products: norms, and attention for one query at a time (Sections 3.1 and 3.2).
//
// Buffers end in LANES numbers that belong to nobody, so that whole vectors may be read and written at their end.
#pragma once

#include "products.h"

namespace heedful {

// Rows of numbers, as far apart as whole panels need; what it held before is lost when it grows.
class Rows {
public:
    void shape(int rows, int width) {
        stride_ = rounded_up(width + LANES, PANEL);
        if (const size_t size = size_t(rows) * stride_ + LANES; size > numbers_.size()) numbers_.resize(size);
    }
    float* operator[](int row) { return numbers_.data() + size_t(row) * stride_; }
    const float* operator[](int row) const { return numbers_.data() + size_t(row) * stride_; }
    int stride() const { return stride_; }

private:
    std::vector<float> numbers_;
    int stride_ = 0;
};

// (x - mean) / sqrt(variance + eps) * gain + bias over the components of each row (Ba et al. 2016).
class Norm {
public:
    Norm() = default;
    Norm(const float* gain, const float* bias, int width, float eps) : width_(width), eps_(eps) {
        gain_.assign(whole(width), 0.0f);
        bias_ = gain_;
        std::copy(gain, gain + width, gain_.begin());
        std::copy(bias, bias + width, bias_.begin());
    }

    void run(const float* x, float* y) const {
        Floats total = {}, squares = {};
        for (int i = 0; i < width_; i += LANES) total += first(load<Floats>(x + i), width_ - i, 0.0f);
        const float mean = sum(total) / float(width_);
        for (int i = 0; i < width_; i += LANES) {
            const Floats centred = first(load<Floats>(x + i) - mean, width_ - i, 0.0f);
            squares += centred * centred;
        }
        const float inverse = 1.0f / std::sqrt(sum(squares) / float(width_) + eps_);
        for (int i = 0; i < width_; i += LANES) {
            const Floats scaled = (load<Floats>(x + i) - mean) * inverse;
            store(y + i, scaled * load<Floats>(gain_.data() + i) + load<Floats>(bias_.data() + i));
        }
    }

private:
    int width_ = 0;
    float eps_ = 0.0f;
    std::vector<float> gain_, bias_;
};

struct Heads {
    int count, d_k, d_v;
    int keys() const { return count * d_k; }
    int values() const { return count * d_v; }
    int both() const { return keys() + values(); }
};

// weights = softmax(scores / sqrt(d_k)) over the first `count`; the vectors are written to their end.
inline void softmax(float* scores, int count, int d_k) {
    const Floats scale = all(1.0f / std::sqrt(float(d_k)));
    Floats most = all(-INFINITE), total = {};
    for (int i = 0; i < count; i += LANES) {
        const Floats part = first(load<Floats>(scores + i) * scale, count - i, -INFINITE);
        store(scores + i, part);
        most = larger(most, part);
    }
    const Floats largest = all(maximum(most));
    for (int i = 0; i < count; i += LANES) {
        const Floats part = first(exponential(load<Floats>(scores + i) - largest), count - i, 0.0f);
        store(scores + i, part);
        total += part;
    }
    const float inverse = 1.0f / sum(total);
    for (int i = 0; i < count; i += LANES) store(scores + i, load<Floats>(scores + i) * inverse);
}

// Sum of weights[i] * value(i)[0 ... width), where value(i) is a row of numbers.
template <class Value>
inline void weighted_sum(const float* weights, int count, int width, Value value, float* out) {
    int at = 0;
    for (; width - at >= 2 * LANES; at += 2 * LANES) {
        Floats even[2] = {}, odd[2] = {};
        int i = 0;
        for (; i + 1 < count; i += 2) {
            const float *one = value(i) + at, *two = value(i + 1) + at;
            even[0] += weights[i] * load<Floats>(one), even[1] += weights[i] * load<Floats>(one + LANES);
            odd[0] += weights[i + 1] * load<Floats>(two), odd[1] += weights[i + 1] * load<Floats>(two + LANES);
        }
        if (i < count) {
            const float* one = value(i) + at;
            even[0] += weights[i] * load<Floats>(one), even[1] += weights[i] * load<Floats>(one + LANES);
        }
        store(out + at, even[0] + odd[0]), store(out + at + LANES, even[1] + odd[1]);
    }
    for (; at < width; at += LANES) {
        Floats total = {};
        for (int i = 0; i < count; ++i) total += weights[i] * load<Floats>(value(i) + at);
        store(out + at, total);
    }
}

// Keys of a source as columns: [head, component, position], positions padded to whole vectors.
inline int columns(int positions) { return whole(positions); }

inline void to_columns(const Heads& heads, const float* keys, int stride, int positions, float* to) {
    const int padded = columns(positions);
    for (int component = 0; component < heads.keys(); ++component)
        for (int position = 0; position < padded; ++position)
            to[size_t(component) * padded + position] =
                position < positions ? keys[size_t(position) * stride + component] : 0.0f;
}

// softmax(qK^T / sqrt(d_k))V of one query over consecutive positions of a source, for every head (equation 1): `keys`
// is the first one's in its column, `values` its row. `padded` is the columns' length.
inline void attend_to_source(const Heads& heads, const float* query, const float* keys, int padded, const float* values,
                             int value_stride, int positions, std::vector<float>& scores, float* out) {
    scores.resize(columns(positions));
    for (int head = 0; head < heads.count; ++head) {
        const float* q = query + head * heads.d_k;
        const float* column = keys + size_t(head) * heads.d_k * padded;
        for (int at = 0; at < positions; at += LANES) {
            Floats sums[4] = {};
            int i = 0;
            for (; i + 3 < heads.d_k; i += 4)
                for (int j = 0; j < 4; ++j) sums[j] += q[i + j] * load<Floats>(column + size_t(i + j) * padded + at);
            for (; i < heads.d_k; ++i) sums[0] += q[i] * load<Floats>(column + size_t(i) * padded + at);
            store(scores.data() + at, (sums[0] + sums[1]) + (sums[2] + sums[3]));
        }
        softmax(scores.data(), positions, heads.d_k);
        const float* from = values + head * heads.d_v;
        weighted_sum(
            scores.data(), positions, heads.d_v, [=](int i) { return from + size_t(i) * value_stride; },
            out + head * heads.d_v);
    }
}

// The same over a sequence's own past, whose positions stand wherever `past` says: keys, then values.
inline void attend_to_past(const Heads& heads, const float* query, const std::vector<const float*>& past,
                           std::vector<float>& scores, float* out) {
    const int positions = int(past.size());
    scores.resize(columns(positions));
    for (int head = 0; head < heads.count; ++head) {
        const int key = head * heads.d_k, value = heads.keys() + head * heads.d_v;
        for (int position = 0; position < positions; ++position) {
            Floats total = {};
            for (int i = 0; i < heads.d_k; i += LANES) {
                const Floats product = load<Floats>(query + key + i) * load<Floats>(past[position] + key + i);
                total += heads.d_k - i < LANES ? first(product, heads.d_k - i, 0.0f) : product;
            }
            scores[position] = sum(total);
        }
        softmax(scores.data(), positions, heads.d_k);
        weighted_sum(
            scores.data(), positions, heads.d_v, [&](int i) { return past[i] + value; }, out + head * heads.d_v);
    }
}

}  // namespace heedful
