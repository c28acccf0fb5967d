// Losses and their gradients from logits: what is element-wise between two products with the projection.
//
// A position's logits are read once and its gradient takes their place; in between they stay in the cache.
#pragma once

#include "vectors.h"

namespace heedful {

struct Loss {  // of a position, in nats
    float smoothed, likelihood;
};

// A position's logits in float32, and all that a softmax is made of.
class Row {
public:
    // `room` holds two rows of `vocab`, rounded up to whole vectors.
    template <class Number>
    Row(const Number* logits, int vocab, float* room)
        : logits_(room), weights_(room + whole(vocab)), vocab_(vocab) {
        Floats most = all(-INFINITE), plain = {};
        for (int i = 0; i < vocab; i += LANES) {
            const Floats x = read_first(logits + i, vocab - i);
            store(logits_ + i, x);
            plain += x;
            most = larger(most, vocab - i < LANES ? first(x, vocab - i, -INFINITE) : x);
        }
        const float highest = maximum(most);
        Floats total = {};
        for (int i = 0; i < vocab; i += LANES) {
            Floats weight = exponential(load<Floats>(logits_ + i) - highest);
            if (vocab - i < LANES) weight = first(weight, vocab - i, 0.0f);
            store(weights_ + i, weight);
            total += weight;
        }
        total_ = sum(total);
        log_total_ = highest + std::log(total_);
        mean_ = sum(plain) / vocab;
    }

    float nll(int64_t target) const { return log_total_ - logits_[target]; }
    float uniform() const { return log_total_ - mean_; }
    float log_total() const { return log_total_; }
    Floats probabilities(int i) const { return load<Floats>(weights_ + i) * (1.0f / total_); }
    Floats logits(int i) const { return load<Floats>(logits_ + i); }

    // Takes `share` off the gradient at `target` that is made of `probabilities`.
    void wanted(int64_t target, float share) { weights_[target] -= share * total_; }

private:
    float *logits_, *weights_;
    int vocab_;
    float total_, log_total_, mean_;
};

template <class Number>
void zero(Number* row, int vocab) {
    std::memset(row, 0, vocab * sizeof(Number));
}

// Label-smoothed cross-entropy of one position; targets below 0 count for nothing.
template <class Number>
Loss cross_entropy(Number* logits, int vocab, int64_t target, float epsilon, float* room) {
    if (target < 0) return zero(logits, vocab), Loss{0, 0};
    Row row(logits, vocab, room);
    const float nll = row.nll(target);
    row.wanted(target, 1 - epsilon);
    for (int i = 0; i < vocab; i += LANES) write_first(logits + i, row.probabilities(i) - epsilon / vocab, vocab - i);
    return {(1 - epsilon) * nll + epsilon * row.uniform(), nll};
}

// The loss of two passes over one position, and what draws them together (R-Drop, Liang et al. 2021, equation 3).
template <class Number>
Loss consistency(Number* first, Number* second, int vocab, int64_t target, float epsilon, float alpha, float* room) {
    if (target < 0) return zero(first, vocab), zero(second, vocab), Loss{0, 0};
    const Row p(first, vocab, room), q(second, vocab, room + 2 * whole(vocab));
    const float apart = p.log_total() - q.log_total();
    Floats there = {}, back = {};
    for (int i = 0; i < vocab; i += LANES) {
        const Floats gap = p.logits(i) - q.logits(i) - apart;
        there += p.probabilities(i) * gap, back -= q.probabilities(i) * gap;
    }
    const float kl_p = sum(there), kl_q = sum(back), nll = (p.nll(target) + q.nll(target)) / 2;
    for (int i = 0; i < vocab; i += LANES) {
        const Floats one = p.probabilities(i), other = q.probabilities(i), gap = p.logits(i) - q.logits(i) - apart;
        Floats wanted = all(epsilon / (2 * vocab));
        const int64_t lane = target - i;
        if (lane >= 0 && lane < LANES) wanted[lane] += (1 - epsilon) / 2;
        // of KL(P | Q) = sum P (log P - log Q) by P's logits: P (log P - log Q - KL); of KL(Q | P): P - Q
        const Floats drawn = alpha / 4 * (one - other);
        write_first(first + i, one * (0.5f + alpha / 4 * (gap - kl_p)) + drawn - wanted, vocab - i);
        write_first(second + i, other * (0.5f - alpha / 4 * (gap + kl_q)) - drawn - wanted, vocab - i);
    }
    const float uniform = (p.uniform() + q.uniform()) / 2;
    return {(1 - epsilon) * nll + epsilon * uniform + alpha / 4 * (kl_p + kl_q), nll};
}

}  // namespace heedful
