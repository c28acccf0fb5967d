// The Transformer (Figure 1) for translating: packed weights, the encoder over whole sentences without padding, and
// one step of the decoder for any number of sequences, which may stand at different positions.
#pragma once

#include "best.h"
#include "layers.h"

namespace heedful {

struct Shape {
    int32_t encoder_layers, decoder_layers, d_model, heads, d_k, d_v, d_ff, source_vocab, target_vocab, pre_norm;
    int32_t neighbourhood;  // r of restricted self-attention; 0: all positions
};

// Gives the weights one after the other, in the order of heedful.model.flat.
class Reader {
public:
    Reader(const float* const* tensors, float eps, Precision precision)
        : next_(tensors), eps_(eps), precision_(precision) {}
    const float* tensor() { return *next_++; }
    Product product(int in, int out) {
        const float* weight = tensor();
        return Product(weight, tensor(), in, out, precision_);
    }
    Product projection(int in, int out) { return Product(tensor(), nullptr, in, out, precision_); }
    Norm norm(int width) {
        const float* gain = tensor();
        return Norm(gain, tensor(), width, eps_);
    }

private:
    const float* const* next_;
    float eps_;
    Precision precision_;
};

struct FeedForward {
    FeedForward(Reader& read, const Shape& shape)
        : inner(read.product(shape.d_model, shape.d_ff)), outer(read.product(shape.d_ff, shape.d_model)) {}
    Product inner, outer;
};

struct EncoderLayer {
    EncoderLayer(Reader& read, const Shape& shape, const Heads& heads)
        : project(read.product(shape.d_model, heads.keys() + heads.both())),
          output(read.product(heads.values(), shape.d_model)),
          attention_norm(read.norm(shape.d_model)),
          feed_forward(read, shape),
          feed_forward_norm(read.norm(shape.d_model)) {}
    Product project, output;
    Norm attention_norm;
    FeedForward feed_forward;
    Norm feed_forward_norm;
};

struct DecoderLayer {
    DecoderLayer(Reader& read, const Shape& shape, const Heads& heads)
        : project(read.product(shape.d_model, heads.keys() + heads.both())),
          output(read.product(heads.values(), shape.d_model)),
          attention_norm(read.norm(shape.d_model)),
          query(read.product(shape.d_model, heads.keys())),
          memory(read.product(shape.d_model, heads.both())),
          cross_output(read.product(heads.values(), shape.d_model)),
          cross_norm(read.norm(shape.d_model)),
          feed_forward(read, shape),
          feed_forward_norm(read.norm(shape.d_model)) {}
    Product project, output;
    Norm attention_norm;
    Product query, memory, cross_output;
    Norm cross_norm;
    FeedForward feed_forward;
    Norm feed_forward_norm;
};

struct Transformer {
    Transformer(const Shape& shape, Reader read)
        : shape(shape),
          heads{shape.heads, shape.d_k, shape.d_v},
          source_embedding(read.tensor()),
          target_embedding(read.tensor()),
          projection(read.projection(shape.d_model, shape.target_vocab)) {
        for (int i = 0; i < shape.encoder_layers; ++i) encoder.emplace_back(read, shape, heads);
        if (shape.pre_norm) encoder_norm = read.norm(shape.d_model);
        for (int i = 0; i < shape.decoder_layers; ++i) decoder.emplace_back(read, shape, heads);
        if (shape.pre_norm) decoder_norm = read.norm(shape.d_model);
    }
    Shape shape;
    Heads heads;
    const float *source_embedding, *target_embedding;  // [vocab, d_model], the caller's
    Product projection;
    std::vector<EncoderLayer> encoder;
    std::vector<DecoderLayer> decoder;
    Norm encoder_norm, decoder_norm;
};

// What the decoder remembers of one sentence: the source, and the past of its `width` sequences.
class Past {
public:
    int position() const { return position_; }

    // Sequence i continues sequence parents[i]: keys and values stay where they are, only the table is copied.
    void reorder(const std::vector<int>& parents) {
        continued_.resize(parents.size());
        for (size_t i = 0; i < parents.size(); ++i) continued_[i] = history_[parents[i]];
        continued_.resize(history_.size());
        history_.swap(continued_);
    }

private:
    friend class Translation;
    int position_ = 0, width_ = 0, source_ = 0;
    std::vector<std::vector<float>> keys_, values_;  // of the source, by layer: columns, and rows
    std::vector<float> own_;                         // [position, layer, place, keys and values]
    std::vector<std::vector<int32_t>> history_, continued_;  // [sequence, position]: the place it stood in then
};

struct Sequence {
    Past* past;
    int place, token, forced;
};

// One thread's work on a model: its buffers.
class Translation {
public:
    Translation(const Transformer& model, const float* source_positions, const float* target_positions,
                const float* rotary)
        : model_(model),
          heads_(model.heads),
          source_positions_(source_positions),
          target_positions_(target_positions),
          rotary_(rotary) {
        pairs_ = heads_.both();
    }

    // Reads sentences, `past[i]` from source[i] to the next, for `width` sequences each.
    void start(const std::vector<std::pair<const int32_t*, int>>& sources, const std::vector<Past*>& pasts, int width) {
        const int d_model = model_.shape.d_model;
        int rows = 0;
        for (const auto& source : sources) rows += source.second;
        x_.shape(rows, d_model);
        int row = 0;
        for (const auto& [tokens, length] : sources)
            for (int position = 0; position < length; ++position)
                embed(model_.source_embedding, tokens[position], source_positions_, position, x_[row++]);
        for (const EncoderLayer& layer : model_.encoder) {
            around(layer.attention_norm, rows, [&](const Rows& x) {
                multiply(layer.project, x, rows, projected_);
                attend_to_themselves(sources);
                multiply(layer.output, context_, rows, output_);
            });
            feed_forward(layer.feed_forward, layer.feed_forward_norm, rows);
        }
        if (model_.shape.pre_norm) normalise(model_.encoder_norm, rows, x_, x_);
        for (size_t i = 0; i < pasts.size(); ++i) reset(*pasts[i], sources[i].second, width);
        for (size_t layer = 0; layer < model_.decoder.size(); ++layer) {
            multiply(model_.decoder[layer].memory, x_, rows, projected_);
            row = 0;
            for (Past* past : pasts) row += remember(*past, int(layer), row);
        }
    }

    // One token further: of each sequence the `count` likeliest next tokens, and the one that is forced, if any.
    void step(const std::vector<Sequence>& sequences, int count, const std::vector<uint8_t>& banned,
              std::vector<std::vector<Next>>& found) {
        const int rows = int(sequences.size()), d_model = model_.shape.d_model;
        x_.shape(rows, d_model);
        forced_.clear();
        for (int row = 0; row < rows; ++row) {
            const Sequence& sequence = sequences[row];
            Past& past = *sequence.past;
            embed(model_.target_embedding, sequence.token, target_positions_, past.position_, x_[row]);
            forced_.push_back(sequence.forced);
            past.history_[sequence.place].resize(past.position_ + 1, sequence.place);
            past.own_.resize(size_t(past.position_ + 1) * position_size(past) + LANES);
        }
        for (int layer = 0; layer < int(model_.decoder.size()); ++layer) step_layer(layer, sequences);
        if (model_.shape.pre_norm) normalise(model_.decoder_norm, rows, x_, x_);
        operand_.set(x_[0], rows, d_model, x_.stride(), model_.projection.precision());
        best_.run(model_.projection, operand_, forced_, count, banned, found);
        for (const Sequence& sequence : sequences) sequence.past->position_ = int(sequence.past->history_[sequence.place].size());
    }

private:
    void embed(const float* table, int token, const float* positions, int position, float* to) const {
        const int d_model = model_.shape.d_model;
        const float scale = std::sqrt(float(d_model));
        const float *row = table + size_t(token) * d_model, *place = positions + size_t(position) * d_model;
        for (int i = 0; i < d_model; ++i) to[i] = row[i] * scale + place[i];
    }

    // A sublayer inside its residual connection: post-norm as in the paper, or pre-norm.
    template <class Sublayer>
    void around(const Norm& norm, int rows, Sublayer sublayer) {
        if (model_.shape.pre_norm) normalise(norm, rows, x_, normed_);
        sublayer(model_.shape.pre_norm ? normed_ : x_);
        for (int row = 0; row < rows; ++row) {
            float *x = x_[row], *output = output_[row];
            for (int i = 0; i < model_.shape.d_model; i += LANES) store(x + i, load<Floats>(x + i) + load<Floats>(output + i));
        }
        if (!model_.shape.pre_norm) normalise(norm, rows, x_, x_);
    }

    void normalise(const Norm& norm, int rows, Rows& from, Rows& to) const {
        if (&from != &to) to.shape(rows, model_.shape.d_model);
        for (int row = 0; row < rows; ++row) norm.run(from[row], to[row]);
    }

    void multiply(const Product& product, const Rows& x, int rows, Rows& y, bool relu = false) {
        y.shape(rows, product.out());
        operand_.set(x[0], rows, product.in(), x.stride(), product.precision());
        product.run(operand_, rows, y[0], y.stride(), relu);
    }

    void feed_forward(const FeedForward& layer, const Norm& norm, int rows) {
        around(norm, rows, [&](const Rows& x) {
            multiply(layer.inner, x, rows, inner_, true);
            multiply(layer.outer, inner_, rows, output_);
        });
    }

    void attend_to_themselves(const std::vector<std::pair<const int32_t*, int>>& sources) {
        int total = 0, row = 0;
        for (const auto& source : sources) total += source.second;
        context_.shape(total, heads_.values());
        for (const auto& [tokens, length] : sources) {
            for (int i = 0; i < length; ++i) turn(projected_[row + i], i);
            columns_.resize(size_t(heads_.keys()) * columns(length) + LANES);
            const float* keys = projected_[row] + heads_.keys();
            to_columns(heads_, keys, projected_.stride(), length, columns_.data());
            for (int i = 0; i < length; ++i) {
                const auto [first, end] = neighbourhood(i, length);
                attend_to_source(heads_, projected_[row + i], columns_.data() + first, columns(length),
                                 projected_[row + first] + heads_.keys() + heads_.keys(), projected_.stride(),
                                 end - first, scores_, context_[row + i]);
            }
            row += length;
        }
    }

    // Rotary positions: queries, then keys, head by head; the table's row holds sines and cosines in turn.
    void turn(float* projected, int position) const {
        if (!rotary_) return;
        const float* angles = rotary_ + size_t(position) * heads_.d_k;
        const int half = heads_.d_k / 2;
        for (float *head = projected, *end = projected + 2 * heads_.keys(); head < end; head += heads_.d_k)
            for (int i = 0; i < half; ++i) {
                const float left = head[i], right = head[half + i], sine = angles[2 * i], cosine = angles[2 * i + 1];
                head[i] = left * cosine - right * sine;
                head[half + i] = left * sine + right * cosine;
            }
    }

    // The positions around one that it sees, as in heedful.model.neighbourhood.
    std::pair<int, int> neighbourhood(int position, int length) const {
        const int r = model_.shape.neighbourhood;
        if (r == 0) return {0, length};
        return {std::max(0, position - r / 2), std::min(length, position + (r - 1) / 2 + 1)};
    }

    void reset(Past& past, int source, int width) const {
        past.position_ = 0, past.width_ = width, past.source_ = source;
        past.keys_.resize(model_.decoder.size()), past.values_.resize(model_.decoder.size());
        past.own_.clear();
        past.history_.resize(width);
        for (auto& sequence : past.history_) sequence.clear();
    }

    // A layer's keys and values of one source, from `row` on; how many rows that is.
    int remember(Past& past, int layer, int row) {
        std::vector<float>&keys = past.keys_[layer], &values = past.values_[layer];
        keys.resize(size_t(heads_.keys()) * columns(past.source_));
        to_columns(heads_, projected_[row], projected_.stride(), past.source_, keys.data());
        values.resize(size_t(past.source_) * heads_.values() + LANES);
        for (int i = 0; i < past.source_; ++i) {
            const float* from = projected_[row + i] + heads_.keys();
            std::copy(from, from + heads_.values(), values.data() + size_t(i) * heads_.values());
        }
        return past.source_;
    }

    size_t position_size(const Past& past) const { return model_.decoder.size() * past.width_ * pairs_; }

    float* own(Past& past, int position, int layer, int place) const {
        return past.own_.data() + position * position_size(past) + size_t(layer * past.width_ + place) * pairs_;
    }

    void step_layer(int number, const std::vector<Sequence>& sequences) {
        const DecoderLayer& layer = model_.decoder[number];
        const int rows = int(sequences.size());
        around(layer.attention_norm, rows, [&](const Rows& x) {
            multiply(layer.project, x, rows, projected_);
            context_.shape(rows, heads_.values());
            for (int row = 0; row < rows; ++row) {
                Past& past = *sequences[row].past;
                turn(projected_[row], past.position_);
                const float* keys = projected_[row] + heads_.keys();
                std::copy(keys, keys + pairs_, own(past, past.position_, number, sequences[row].place));
                const auto& history = past.history_[sequences[row].place];
                const int r = model_.shape.neighbourhood, positions = int(history.size());
                const int first = r ? std::max(0, positions - r) : 0;
                before_.resize(positions - first);
                for (int i = first; i < positions; ++i) before_[i - first] = own(past, i, number, history[i]);
                attend_to_past(heads_, projected_[row], before_, scores_, context_[row]);
            }
            multiply(layer.output, context_, rows, output_);
        });
        around(layer.cross_norm, rows, [&](const Rows& x) {
            multiply(layer.query, x, rows, projected_);
            context_.shape(rows, heads_.values());
            for (int row = 0; row < rows; ++row) {
                const Past& past = *sequences[row].past;
                attend_to_source(heads_, projected_[row], past.keys_[number].data(), columns(past.source_),
                                 past.values_[number].data(), heads_.values(), past.source_, scores_, context_[row]);
            }
            multiply(layer.cross_output, context_, rows, output_);
        });
        feed_forward(layer.feed_forward, layer.feed_forward_norm, rows);
    }

    const Transformer& model_;
    const Heads heads_;
    const float *source_positions_, *target_positions_, *rotary_;
    int pairs_;
    Operand operand_;
    BestTokens best_;
    Rows x_, normed_, projected_, context_, output_, inner_;
    std::vector<float> columns_, scores_;
    std::vector<const float*> before_;
    std::vector<int> forced_;
};

}  // namespace heedful
