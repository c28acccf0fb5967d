// Beam search as in heedful.decoding.search and choosers.BeamSearch, for sentences that come and go: one that is done
// leaves the batch and a waiting one takes its place. It knows no model, only
//   model.start(sources, states, width)       states for `width` sequences of each source
//   model.step(sequences, count, banned, found)     the likeliest next tokens of each sequence
//   state.reorder(parents), state.position()
// Nothing that happens to a sentence depends on the others.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "best.h"

namespace heedful {

struct Hypothesis {
    std::vector<int32_t> tokens;
    std::vector<float> log_probs;
    float total;
    double score;
    bool finished;
};

struct Question {  // the fields are those of the Python class of this name
    const int32_t* source;
    const int64_t* source_starts;  // sentence i: source[source_starts[i]] to source[source_starts[i + 1]]
    const int32_t* prefixes;
    const int64_t* prefix_starts;
    const int32_t* max_lengths;
    const double* penalties;  // by length
    const uint8_t* banned;    // by token
    int32_t sentences, width, n_best, bos, eos, vocab;
    int32_t most_sequences, most_source_tokens;  // in one thread's batch, though one sentence may always be
};

// The sequences of one sentence.
template <class State>
class Beam {
public:
    State state;

    Beam(const Question& question, std::vector<std::vector<Hypothesis>>& found) : ask_(question), found_(found) {}

    void begin(int sentence) {
        sentence_ = sentence;
        places_.assign(ask_.width, Place{{}, {}, -INFINITE});
        places_[0].total = 0.0f;
        kept_.assign(ask_.n_best, -INFINITE);
        ended_ = 0;
    }

    // The sequences that are in use, with their last tokens.
    template <class Sequence>
    void list(std::vector<Sequence>& sequences) {
        const int position = state.position();
        const int64_t prefix = ask_.prefix_starts[sentence_], length = ask_.prefix_starts[sentence_ + 1] - prefix;
        int forced = position < length ? ask_.prefixes[prefix + position] : ANY_TOKEN;
        if (position + 1 >= ask_.max_lengths[sentence_]) forced = ask_.eos;
        for (int place = 0; place < ask_.width; ++place)
            if (places_[place].total > -INFINITE) {
                const int token = position ? places_[place].tokens.back() : ask_.bos;
                sequences.push_back(Sequence{&state, place, token, forced});
            }
    }

    // Takes the next tokens of the sequences that `list` named, from found[row] on; true when the sentence is done.
    bool extend(const std::vector<std::vector<Next>>& next, int& row) {
        rank(next, row);
        const double penalty = ask_.penalties[state.position()];
        std::vector<float> kept = kept_;
        for (size_t i = 0; i < ranked_.size() && i < size_t(ask_.width); ++i)
            if (ranked_[i].next.token == ask_.eos) {
                end(ranked_[i], penalty);
                kept.push_back(ranked_[i].total / float(penalty));
                ++ended_;
            }
        std::stable_sort(kept.begin(), kept.end(), [](float a, float b) { return a > b; });
        std::copy(kept.begin(), kept.begin() + ask_.n_best, kept_.begin());
        before_.swap(places_);
        places_.assign(ask_.width, Place{{}, {}, -INFINITE});
        parents_.assign(ask_.width, 0);
        int place = 0;
        for (const Candidate& candidate : ranked_)
            if (candidate.next.token != ask_.eos && place < ask_.width) {
                places_[place] = continued(candidate);
                parents_[place++] = candidate.parent;
            }
        // No log-probability is above 0 and no penalty falls with length, so the longest is the most favourable.
        const float best_possible = places_[0].total / float(ask_.penalties[ask_.max_lengths[sentence_]]);
        if (!(best_possible > -INFINITE) || best_possible <= kept_.back() || ended_ >= ask_.width) {
            finish();
            return true;
        }
        state.reorder(parents_);
        return false;
    }

private:
    struct Place {
        std::vector<int32_t> tokens;
        std::vector<float> log_probs;
        float total;
    };
    struct Candidate {
        int parent;
        Next next;
        float total;
    };

    // The best continuations, first those of the better parent, then those of the lower token, where they are equal.
    void rank(const std::vector<std::vector<Next>>& next, int& row) {
        ranked_.clear();
        for (int place = 0; place < ask_.width; ++place)
            if (places_[place].total > -INFINITE) {
                for (const Next& each : next[row])
                    if (const float total = places_[place].total + each.log_prob; total > -INFINITE)
                        ranked_.push_back({place, each, total});
                ++row;
            }
        const auto better = [](const Candidate& a, const Candidate& b) { return a.total > b.total; };
        std::stable_sort(ranked_.begin(), ranked_.end(), better);
        if (ranked_.size() > size_t(candidates(ask_.width))) ranked_.resize(candidates(ask_.width));
    }

    Place continued(const Candidate& candidate) const {
        Place place = before_[candidate.parent];
        place.tokens.push_back(candidate.next.token), place.log_probs.push_back(candidate.next.log_prob);
        place.total = candidate.total;
        return place;
    }

    void end(const Candidate& candidate, double penalty) {
        const Place& parent = places_[candidate.parent];
        Hypothesis ended{parent.tokens, parent.log_probs, candidate.total, candidate.total / penalty, true};
        ended.tokens.push_back(candidate.next.token), ended.log_probs.push_back(candidate.next.log_prob);
        found_[sentence_].push_back(std::move(ended));
    }

    void finish() {
        std::vector<Hypothesis>& found = found_[sentence_];
        if (found.empty()) {  // every sequence came to a dead end: its best one, as far as it came
            const auto worse = [](const Place& a, const Place& b) { return a.total < b.total; };
            const Place& best = *std::max_element(before_.begin(), before_.end(), worse);
            const size_t length = std::max<size_t>(1, best.tokens.size());
            found.push_back({best.tokens, best.log_probs, best.total, best.total / ask_.penalties[length], false});
        }
        const auto better = [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; };
        std::stable_sort(found.begin(), found.end(), better);
        if (found.size() > size_t(ask_.n_best)) found.resize(ask_.n_best);
    }

public:
    // Of the sentence in work.
    int64_t source_tokens() const { return ask_.source_starts[sentence_ + 1] - ask_.source_starts[sentence_]; }

    // Among 2 * width there are at least `width` that do not end, since a sequence has one EOS.
    static int candidates(int width) { return width > 1 ? 2 * width : 1; }

private:
    const Question& ask_;
    std::vector<std::vector<Hypothesis>>& found_;
    int sentence_ = 0, ended_ = 0;
    std::vector<Place> places_, before_;
    std::vector<float> kept_;  // scores of the best that have ended, best first
    std::vector<Candidate> ranked_;
    std::vector<int> parents_;
};

// Translates sentences from `waiting` on, which other threads count up too, until there are none left.
template <class Model, class Sequence, class State>
void search(Model& model, const Question& ask, std::atomic<int>& waiting, const std::atomic<bool>& stop,
            std::vector<std::vector<Hypothesis>>& found) {
    std::vector<std::unique_ptr<Beam<State>>> active, idle;
    std::vector<Sequence> sequences;
    std::vector<std::vector<Next>> next;
    const std::vector<uint8_t> banned(ask.banned, ask.banned + ask.vocab);
    const size_t room = std::max(1, ask.most_sequences / ask.width);
    while (!stop) {
        // Several at a time, since a product of few rows is a slow one.
        if (active.empty() || active.size() <= room - std::max<size_t>(1, room / 4)) {
            std::vector<std::pair<const int32_t*, int>> sources;
            std::vector<State*> states;
            int64_t tokens = 0;
            for (const auto& beam : active) tokens += beam->source_tokens();
            while (active.size() < room) {
                const int following = waiting.load();  // another thread may take it first: then one no longer is begun
                if (following >= ask.sentences) break;
                const int64_t wanted = ask.source_starts[following + 1] - ask.source_starts[following];
                if (!active.empty() && tokens + wanted > ask.most_source_tokens) break;
                const int sentence = waiting++;
                if (sentence >= ask.sentences) break;
                if (idle.empty()) idle.push_back(std::make_unique<Beam<State>>(ask, found));
                active.push_back(std::move(idle.back()));
                idle.pop_back();
                active.back()->begin(sentence);
                const int64_t start = ask.source_starts[sentence], length = ask.source_starts[sentence + 1] - start;
                sources.emplace_back(ask.source + start, int(length));
                states.push_back(&active.back()->state);
                tokens += length;
            }
            if (active.empty()) return;
            if (!sources.empty()) model.start(sources, states, ask.width);
        }
        sequences.clear();
        for (auto& beam : active) beam->list(sequences);
        model.step(sequences, Beam<State>::candidates(ask.width), banned, next);
        int row = 0;
        size_t going = 0;
        for (size_t i = 0; i < active.size(); ++i) {
            if (active[i]->extend(next, row))
                idle.push_back(std::move(active[i]));
            else
                std::swap(active[going++], active[i]);
        }
        active.resize(going);
    }
}

}  // namespace heedful
