// Sixteen numbers at a time, in the compiler's own vector types: it maps them to whatever the processor has.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace heedful {

constexpr int LANES = 16;
#ifdef __AVX512F__
constexpr int BLOCK = 12;  // rows of a product that are computed together: 24 vectors of sums in 32 registers
#else
constexpr int BLOCK = 3;  // 12 of 8 floats in 16 registers
#endif
constexpr float INFINITE = std::numeric_limits<float>::infinity();

typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

struct Brain {  // bfloat16
    uint16_t bits;
};

inline int rounded_up(int number, int multiple) { return (number + multiple - 1) / multiple * multiple; }

// Numbers of a row of `width` that is stored as whole vectors.
inline int whole(int width) { return rounded_up(width, LANES); }

template <class Vector, class Number>
inline Vector load(const Number* from) {
    Vector vector;
    std::memcpy(&vector, from, sizeof vector);
    return vector;
}

template <class Vector, class Number>
inline void store(Number* to, Vector vector) {
    std::memcpy(to, &vector, sizeof vector);
}

inline Ints lane_numbers() { return Ints{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }

// Sixteen numbers of memory as float32, and back, to nearest.
inline Floats read(const float* from) { return load<Floats>(from); }

inline Floats read(const Brain* from) {
    return (Floats)(__builtin_convertvector(load<Halves>(from), Words) << 16);
}

inline void write(float* to, Floats vector) { store(to, vector); }

inline void write(Brain* to, Floats vector) {
#ifdef __AVX512BF16__
    store(to, (Halves)_mm512_cvtneps_pbh((__m512)vector));
#else
    const Words bits = (Words)vector, rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    store(to, __builtin_convertvector(vector == vector ? rounded : Words{} + 0x7fc0, Halves));
#endif
}

// The first `valid` of them; other lanes are `other`, and are left alone.
template <class Number>
inline Floats read_first(const Number* from, int valid, float other = 0) {
    if (valid >= LANES) return read(from);
    Number some[LANES] = {};
    std::memcpy(some, from, valid * sizeof(Number));
    const Floats vector = read(some);
    return lane_numbers() < valid ? vector : Floats{} + other;
}

template <class Number>
inline void write_first(Number* to, Floats vector, int valid) {
    if (valid >= LANES) return write(to, vector);
    Number some[LANES];
    write(some, vector);
    std::memcpy(to, some, valid * sizeof(Number));
}

inline Floats all(float value) { return Floats{} + value; }

// The first `valid` lanes of `vector`, `other` in those after.
inline Floats first(Floats vector, int valid, float other) { return lane_numbers() < valid ? vector : all(other); }

inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }

inline float sum(Floats vector) {
#ifdef __AVX512F__
    return _mm512_reduce_add_ps((__m512)vector);
#else
    float total = 0;
    for (int lane = 0; lane < LANES; ++lane) total += vector[lane];
    return total;
#endif
}

inline float maximum(Floats vector) {
#ifdef __AVX512F__
    return _mm512_reduce_max_ps((__m512)vector);
#else
    float most = vector[0];
    for (int lane = 1; lane < LANES; ++lane) most = vector[lane] > most ? vector[lane] : most;
    return most;
#endif
}

// A bit for each lane where a > b.
inline uint32_t where_larger(Floats a, Floats b) {
#ifdef __AVX512F__
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ);
#else
    uint32_t bits = 0;
    for (int lane = 0; lane < LANES; ++lane) bits |= uint32_t(a[lane] > b[lane]) << lane;
    return bits;
#endif
}

// exp(x) for x <= 0 to 2 units in the last place; below -87 it stays at exp(-87).
// x = n ln 2 + r with |r| <= ln(2) / 2, exp(x) = 2^n exp(r), and exp(r) by a polynomial (Cephes, expf).
inline Floats exponential(Floats x) {
    x = x < -87.0f ? all(-87.0f) : x;  // a NaN stays one
    const Floats shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the fraction is rounded away
    const Floats n = shifted - 12582912.0f;
    const Floats r = x - n * 0.693359375f - n * -2.12194440e-4f;
    Floats p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return (Floats)((Ints)p + ((Ints)shifted << 23));  // n stands in the low bits of `shifted`
}

}  // namespace heedful
