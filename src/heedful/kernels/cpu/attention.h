// Equation 1 over short sequences: one head of one sentence at a time, whose scores stay in the cache.
//
// Queries, keys and values are read once, widened to float32, and multiplied in registers.
#pragma once

#include <algorithm>

#include "vectors.h"

namespace heedful {

// The left side of a product, or its transpose.
struct Left {
    const float* at;
    int row, step;  // from one row, and one column, to the next
};

template <int ROWS, int VECTORS>
inline void product_block(Left a, const float* b, int b_row, int inner, float* c) {
    Floats sums[ROWS][VECTORS] = {};
    for (int i = 0; i < inner; ++i, b += b_row) {
        Floats right[VECTORS];
        for (int n = 0; n < VECTORS; ++n) right[n] = load<Floats>(b + n * LANES);
#pragma GCC unroll 12
        for (int m = 0; m < ROWS; ++m) {
            const Floats left = all(a.at[m * a.row + i * a.step]);
            for (int n = 0; n < VECTORS; ++n) sums[m][n] += left * right[n];
        }
    }
#pragma GCC unroll 12
    for (int m = 0; m < ROWS; ++m)
        for (int n = 0; n < VECTORS; ++n) store(c + m * b_row + n * LANES, sums[m][n]);
}

template <int ROWS, int VECTORS>
inline void product_rows(Left a, int rows, const float* b, int b_row, int inner, float* c) {
    if (rows == ROWS) return product_block<ROWS, VECTORS>(a, b, b_row, inner, c);
    if constexpr (ROWS > 1) product_rows<ROWS - 1, VECTORS>(a, rows, b, b_row, inner, c);
}

// c = ab; a row of b and c has `b_row` numbers, whole vectors.
inline void product(Left a, int rows, const float* b, int b_row, int inner, float* c) {
    for (int column = 0; column < b_row; column += 2 * LANES)
        for (int row = 0; row < rows; row += BLOCK) {
            const Left from{a.at + row * a.row, a.row, a.step};
            float* to = c + row * b_row + column;
            if (b_row - column > LANES)
                product_rows<BLOCK, 2>(from, std::min(rows - row, BLOCK), b + column, b_row, inner, to);
            else
                product_rows<BLOCK, 1>(from, std::min(rows - row, BLOCK), b + column, b_row, inner, to);
        }
}

// One head of one sentence in memory: positions `row` numbers apart.
template <class Number>
struct Head {
    Number* at;
    int64_t row;
};

// `[length, width]` as whole vectors a row.
template <class Number>
void widen(Head<const Number> from, int length, int width, float* to) {
    for (int t = 0; t < length; ++t)
        for (int i = 0; i < width; i += LANES)
            store(to + t * whole(width) + i, read_first(from.at + t * from.row + i, width - i));
}

template <class Number>
void narrow(const float* from, int length, int width, Head<Number> to) {
    for (int t = 0; t < length; ++t)
        for (int i = 0; i < width; i += LANES)
            write_first(to.at + t * to.row + i, load<Floats>(from + t * whole(width) + i), width - i);
}

// `[length, width]` → `[width, length]`, whole vectors a row on both sides, zeros beyond.
inline void transpose(const float* from, int length, int width, float* to) {
    const int column = whole(width), row = whole(length);
    for (int i = 0; i < width; ++i) {
        for (int t = 0; t < length; ++t) to[i * row + t] = from[t * column + i];
        for (int t = length; t < row; ++t) to[i * row + t] = 0;
    }
}

struct Sizes {
    int queries, keys, d_k, d_v;

    // float32 numbers that one head needs
    int64_t room() const {
        const int64_t k = whole(d_k), v = whole(d_v), wide = whole(keys);
        return queries * (2 * k + 2 * v + 2 * wide) + keys * (2 * k + 2 * v) + (d_k + d_v) * wide;
    }
};

class Scratch {
public:
    explicit Scratch(float* room) : next_(room) {}

    float* take(int64_t numbers) {
        float* taken = next_;
        next_ += numbers;
        return taken;
    }

private:
    float* next_;
};

constexpr float NEVER = -1e30f;

// 0 at keys that may be seen and NEVER at others; from one query to the next it is `row` numbers, or none.
struct Hidden {
    const float* at;
    int row;
};

// softmax(scores * scale) row by row.
inline void softmax(float* scores, const Sizes& n, Hidden hidden, bool causal, float scale) {
    for (int query = 0; query < n.queries; ++query) {
        float* row = scores + query * whole(n.keys);
        const int seen = causal ? std::min(query + 1, n.keys) : n.keys;
        Floats most = all(NEVER);
        for (int i = 0; i < whole(n.keys); i += LANES) {
            const Floats all_keys = load<Floats>(row + i) * scale + load<Floats>(hidden.at + query * hidden.row + i);
            const Floats score = first(all_keys, seen - i, NEVER);
            store(row + i, score);
            most = larger(most, score);
        }
        const float highest = maximum(most);
        Floats total = {};
        for (int i = 0; i < whole(n.keys); i += LANES) {
            const Floats score = load<Floats>(row + i), weight = exponential(score - highest);
            const Floats kept = score <= NEVER / 2 ? Floats{} : weight;  // a NaN is kept
            store(row + i, kept);
            total += kept;
        }
        const float all_of_it = sum(total), inverse = all_of_it == 0 ? 0 : 1 / all_of_it;
        for (int i = 0; i < whole(n.keys); i += LANES) store(row + i, load<Floats>(row + i) * inverse);
    }
}

// softmax(QK^T * scale) of one head, and the operands it was made of.
struct Weights {
    float *q, *k, *p;

    template <class Number>
    Weights(const Sizes& n, Head<const Number> query, Head<const Number> key, Hidden hidden, bool causal,
            float scale, Scratch& room) {
        q = room.take(int64_t(n.queries) * whole(n.d_k)), k = room.take(int64_t(n.keys) * whole(n.d_k));
        p = room.take(int64_t(n.queries) * whole(n.keys));
        float* across = room.take(int64_t(n.d_k) * whole(n.keys));
        widen(query, n.queries, n.d_k, q), widen(key, n.keys, n.d_k, k);
        transpose(k, n.keys, n.d_k, across);
        product({q, whole(n.d_k), 1}, n.queries, across, whole(n.keys), n.d_k, p);
        softmax(p, n, hidden, causal, scale);
    }
};

template <class Number>
void attend(const Sizes& n, Head<const Number> query, Head<const Number> key, Head<const Number> value,
            Hidden hidden, bool causal, float scale, float* memory, Head<Number> context) {
    Scratch room(memory);
    const Weights weights(n, query, key, hidden, causal, scale, room);
    float *v = room.take(int64_t(n.keys) * whole(n.d_v)), *out = room.take(int64_t(n.queries) * whole(n.d_v));
    widen(value, n.keys, n.d_v, v);
    product({weights.p, whole(n.keys), 1}, n.queries, v, whole(n.d_v), n.keys, out);
    narrow(out, n.queries, n.d_v, context);
}

template <class Number>
void attend_backward(const Sizes& n, Head<const Number> query, Head<const Number> key, Head<const Number> value,
                     Head<const Number> above, Hidden hidden, bool causal, float scale, float* memory,
                     Head<Number> query_grad, Head<Number> key_grad, Head<Number> value_grad) {
    Scratch room(memory);
    const Weights weights(n, query, key, hidden, causal, scale, room);
    const int wide = whole(n.keys), k = whole(n.d_k), v = whole(n.d_v);
    float *values = room.take(int64_t(n.keys) * v), *across = room.take(int64_t(n.d_v) * wide);
    float *grad = room.take(int64_t(n.queries) * v), *scores = room.take(int64_t(n.queries) * wide);
    float* out = room.take(std::max(int64_t(n.queries) * k, int64_t(n.keys) * std::max(k, v)));
    widen(value, n.keys, n.d_v, values), widen(above, n.queries, n.d_v, grad);
    transpose(values, n.keys, n.d_v, across);
    product({grad, v, 1}, n.queries, across, wide, n.d_v, scores);
    for (int t = 0; t < n.queries; ++t) {  // the softmax's Jacobian: P * (dP - the row's sum of P * dP)
        float *d = scores + t * wide, *p = weights.p + t * wide;
        Floats total = {};
        for (int i = 0; i < wide; i += LANES) total += load<Floats>(d + i) * load<Floats>(p + i);
        const float along = sum(total);
        for (int i = 0; i < wide; i += LANES)
            store(d + i, load<Floats>(p + i) * (load<Floats>(d + i) - along) * scale);
    }
    product({scores, wide, 1}, n.queries, weights.k, k, n.keys, out);
    narrow(out, n.queries, n.d_k, query_grad);
    product({scores, 1, wide}, n.keys, weights.q, k, n.queries, out);
    narrow(out, n.keys, n.d_k, key_grad);
    product({weights.p, 1, wide}, n.keys, grad, v, n.queries, out);
    narrow(out, n.keys, n.d_v, value_grad);
}

}  // namespace heedful
