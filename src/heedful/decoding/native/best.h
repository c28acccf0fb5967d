// The likeliest next tokens of each row, in one pass over the logits, which are never held all at once.
#pragma once

#include "products.h"

namespace heedful {

struct Next {
    int token;
    float log_prob;
};

constexpr int ANY_TOKEN = -1;

// The logits are computed CHUNK columns at a time; of each row we keep
//   largest m and total s = sum exp(logit - m): the logarithm of the softmax's denominator is m + log s,
//   and the best tokens so far, sorted, equal ones by token. Log-probabilities rank as logits do.
class BestTokens {
public:
    // Of each row the `count` likeliest tokens that `banned` does not name; only `forced[row]` if that is a token.
    void run(const Product& projection, const Operand& hidden, const std::vector<int>& forced, int count,
             const std::vector<uint8_t>& banned, std::vector<std::vector<Next>>& found) {
        const int rows = int(forced.size());
        largest_.assign(rows, -INFINITE), totals_.assign(rows, 0.0f);
        if (int(found.size()) < rows) found.resize(rows);
        for (int row = 0; row < rows; ++row) found[row].clear();
        for (int panel = 0; panel < projection.panels(); panel += CHUNK / PANEL)
            for (int row = 0; row < rows; row += BLOCK) {
                const int height = std::min(BLOCK, rows - row);
                const int panels = std::min(CHUNK / PANEL, projection.panels() - panel);
                for (int i = 0; i < panels; ++i)
                    projection.tile(hidden, row, height, panel + i, logits_ + i * PANEL, CHUNK);
                const int token = panel * PANEL, width = std::min(CHUNK, projection.out() - token);
                for (int i = 0; i < height; ++i)
                    look_at(logits_ + i * CHUNK, token, width, row + i, forced[row + i], count, banned, found[row + i]);
            }
        for (int row = 0; row < rows; ++row) {
            const float denominator = largest_[row] + std::log(totals_[row]);
            for (Next& next : found[row]) next.log_prob -= denominator;
        }
    }

private:
    static constexpr int CHUNK = 256;

    void look_at(float* logits, int token, int width, int row, int forced, int count,
                 const std::vector<uint8_t>& banned, std::vector<Next>& best) {
        for (int i = width / LANES * LANES; i < whole(width); i += LANES)
            store(logits + i, first(load<Floats>(logits + i), width - i, -INFINITE));
        Floats most = all(-INFINITE), part = {};
        for (int i = 0; i < width; i += LANES) most = larger(most, load<Floats>(logits + i));
        const float largest_here = maximum(most);
        if (largest_here > largest_[row]) {
            totals_[row] *= std::exp(largest_[row] - largest_here);
            largest_[row] = largest_here;
        }
        for (int i = 0; i < width; i += LANES) part += exponential(load<Floats>(logits + i) - largest_[row]);
        totals_[row] += sum(part);
        if (forced != ANY_TOKEN) {
            if (forced >= token && forced < token + width && !banned[forced])
                best.push_back({forced, logits[forced - token]});
            return;
        }
        float least = int(best.size()) < count ? -INFINITE : best.back().log_prob;
        if (!(largest_here > least)) return;
        for (int i = 0; i < width; i += LANES)
            for (uint32_t bits = where_larger(load<Floats>(logits + i), all(least)); bits; bits &= bits - 1) {
                const int place = i + __builtin_ctz(bits);
                if (logits[place] > least && !banned[token + place]) {
                    least = insert({token + place, logits[place]}, count, best);
                }
            }
    }

    // The value that the next one has to exceed.
    static float insert(Next next, int count, std::vector<Next>& best) {
        if (int(best.size()) == count) best.pop_back();
        size_t place = best.size();
        best.push_back(next);
        for (; place > 0 && best[place - 1].log_prob < next.log_prob; --place) best[place] = best[place - 1];
        best[place] = next;
        return int(best.size()) < count ? -INFINITE : best.back().log_prob;
    }

    alignas(64) float logits_[BLOCK * CHUNK];
    std::vector<float> largest_, totals_;
};

}  // namespace heedful
