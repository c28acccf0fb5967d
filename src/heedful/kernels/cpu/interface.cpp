// What Python calls: plain C functions over memory that PyTorch has laid out. `narrow` says bfloat16, else float32.
//
// Threads are OpenMP's, as PyTorch's are: of two pools, one would wait actively while the other works. No sum depends on
// how many there are.
#ifdef __clang__
#error "clang's OpenMP has other threads than PyTorch's"
#endif
#include <omp.h>

#include <memory>
#include <new>
#include <type_traits>

#include "attention.h"
#include "feed_forward.h"
#include "loss.h"
#include "newton_schulz.h"
#include "product.h"
#include "residual.h"
#include "rotary.h"

using namespace heedful;

namespace {

constexpr int ROWS = 16;     // that a thread takes at a time
constexpr int ADDED = 64;    // rows that are added up first
constexpr int LAID_OUT = 4;  // panels that a thread lays out at a time

struct Room {  // of every thread its own, in whole lines of the cache
    Room(int threads, int64_t numbers)
        : each((numbers + LANES - 1) / LANES * LANES), memory(new (std::nothrow) float[threads * each + LANES]) {}

    float* of(int thread) const {
        const auto address = reinterpret_cast<uintptr_t>(memory.get());
        return reinterpret_cast<float*>((address + 63) / 64 * 64) + thread * each;
    }

    int64_t each;
    std::unique_ptr<float[]> memory;
};

// Calls `work(item, room of this thread)` for all items, of which a thread takes `grain` at a time; false where there
// was not enough memory.
template <class Work>
bool share(int64_t items, int grain, int most_threads, int64_t numbers, const Work& work) {
    const int threads = int(std::max<int64_t>(1, std::min<int64_t>(most_threads, (items + grain - 1) / grain)));
    const Room room(threads, numbers);
    if (!room.memory) return false;
#pragma omp parallel num_threads(threads)
    {
        float* own = room.of(omp_get_thread_num());
#pragma omp for schedule(dynamic, grain)
        for (int64_t item = 0; item < items; ++item) work(item, own);
    }
    return true;
}

// Calls `work` with a number of every type that is told: bfloat16 where it is narrow, else float32.
template <class Work>
bool of_types(const Work& work) {
    return work();
}

template <class Work, class... Others>
bool of_types(const Work& work, int narrow, Others... others) {
    const auto with = [&](auto number) {
        return of_types([&](auto... rest) { return work(number, rest...); }, others...);
    };
    return narrow ? with(Brain{}) : with(float{});
}

// Of a sum.
template <class A, class B>
using Both = std::conditional_t<std::is_same_v<A, B>, A, float>;

// Calls `work(row, room of this thread, sums)` for all rows; the sums `[count, width]` are added up in one order.
template <class Work>
bool share_sums(int64_t rows, int threads, int64_t numbers, int count, int width, float* sums, const Work& work) {
    const int64_t blocks = (rows + ADDED - 1) / ADDED, wide = whole(width);
    const std::unique_ptr<float[]> parts(new (std::nothrow) float[blocks * count * wide]());
    if (!parts) return false;
    const bool done = share(blocks, 1, threads, numbers, [&](int64_t block, float* room) {
        for (int64_t row = block * ADDED; row < std::min(rows, (block + 1) * ADDED); ++row)
            work(row, room, parts.get() + block * count * wide);
    });
    for (int which = 0; which < count; ++which)
        for (int i = 0; i < width; ++i) {
            float total = 0;
            for (int64_t block = 0; block < blocks; ++block) total += parts[(block * count + which) * wide + i];
            sums[which * width + i] = total;
        }
    return done;
}

// Where a sentence begins: the batch's, or a row's whose sentences stand one behind the other.
struct Spot {
    int64_t sentence, row;
};

struct Places {  // of a tensor `[batch, heads, length, width]`
    void* data;
    int64_t batch, head, row;

    template <class Number>
    Head<Number> at(Spot spot, int64_t number) const {
        return {static_cast<Number*>(data) + spot.sentence * batch + number * head + spot.row * row, row};
    }
};

struct Attention {
    Sizes sizes;
    int batch, heads, causal, by_query;
    const uint8_t* seen;  // `[batch, queries or 1, keys]` or nothing
    int64_t seen_sentence, seen_query, seen_key;
    // `[batch + 1]` or nothing: where queries and keys of each sentence begin; the sizes are then the longest one's
    const int64_t *query_starts, *key_starts;

    // Calls `work(sizes, spot of the queries, spot of the keys, head, hidden, room)` for each head of each sentence.
    template <class Work>
    bool each(int threads, const Work& work) const {
        const int rows = by_query ? sizes.queries : 1, wide = whole(sizes.keys);
        return share(int64_t(batch) * heads, 1, threads, sizes.room() + rows * wide, [&](int64_t index, float* room) {
            const int64_t sentence = index / heads;
            for (int row = 0; row < rows; ++row) {
                const uint8_t* own = seen + sentence * seen_sentence + row * seen_query;
                for (int key = 0; key < sizes.keys; ++key)
                    room[row * wide + key] = !seen || own[key * seen_key] ? 0 : NEVER;
            }
            Sizes own = sizes;
            Spot query{sentence, 0}, key{sentence, 0};
            if (query_starts) {
                query = {0, query_starts[sentence]}, key = {0, key_starts[sentence]};
                own.queries = int(query_starts[sentence + 1] - query.row);
                own.keys = int(key_starts[sentence + 1] - key.row);
            }
            work(own, query, key, index % heads, Hidden{room, by_query ? wide : 0}, room + rows * wide);
        });
    }

    float scale() const { return 1 / std::sqrt(float(sizes.d_k)); }
};

}  // namespace

extern "C" {

// `logits` `[rows, vocab]`, rows `stride` apart, become their gradient; smoothed loss and likelihood are per row.
bool heedful_cross_entropy(void* logits, int64_t stride, const int64_t* target, float* smoothed, float* likelihood,
                           int64_t rows, int vocab, float epsilon, int narrow, int threads) {
    return of_types([&](auto number) {
        using Number = decltype(number);
        return share(rows, ROWS, threads, 2 * whole(vocab), [&](int64_t row, float* room) {
            Number* own = static_cast<Number*>(logits) + row * stride;
            const Loss loss = cross_entropy(own, vocab, target[row], epsilon, room);
            smoothed[row] = loss.smoothed, likelihood[row] = loss.likelihood;
        });
    }, narrow);
}

bool heedful_consistency(void* first, int64_t first_stride, void* second, int64_t second_stride, const int64_t* target,
                         float* loss, float* likelihood, int64_t rows, int vocab, float epsilon, float alpha,
                         int narrow, int threads) {
    return of_types([&](auto number) {
        using Number = decltype(number);
        return share(rows, ROWS, threads, 4 * whole(vocab), [&](int64_t row, float* room) {
            Number* one = static_cast<Number*>(first) + row * first_stride;
            Number* other = static_cast<Number*>(second) + row * second_stride;
            const Loss here = consistency(one, other, vocab, target[row], epsilon, alpha, room);
            loss[row] = here.smoothed, likelihood[row] = here.likelihood;
        });
    }, narrow);
}

// `places` are those of query, key, value and context.
bool heedful_attention(const Attention* ask, const Places* places, int narrow, int threads) {
    return of_types([&](auto number) {
        using Number = decltype(number);
        return ask->each(threads, [&](const Sizes& n, Spot query, Spot key, int64_t head, Hidden hidden, float* room) {
            attend<Number>(n, places[0].at<const Number>(query, head), places[1].at<const Number>(key, head),
                           places[2].at<const Number>(key, head), hidden, ask->causal, ask->scale(), room,
                           places[3].at<Number>(query, head));
        });
    }, narrow);
}

// `places` are those of query, key, value and the context's gradient, then of the three gradients.
bool heedful_attention_backward(const Attention* ask, const Places* places, int narrow, int threads) {
    return of_types([&](auto number) {
        using Number = decltype(number);
        return ask->each(threads, [&](const Sizes& n, Spot query, Spot key, int64_t head, Hidden hidden, float* room) {
            attend_backward<Number>(
                n, places[0].at<const Number>(query, head), places[1].at<const Number>(key, head),
                places[2].at<const Number>(key, head), places[3].at<const Number>(query, head), hidden, ask->causal,
                ask->scale(), room, places[4].at<Number>(query, head), places[5].at<Number>(key, head),
                places[6].at<Number>(key, head));
        });
    }, narrow);
}

// `places` are those of what is turned and of the result, `[batch, heads, length, width]`; `table`
// `[positions, 2, width / 2]` has sines and cosines, `positions` `[batch, length]` or null, where they are 0, 1, ...
bool heedful_turn(const Places* places, int64_t batch, int heads, int length, int width, const float* table,
                  const int64_t* positions, int back, int narrow, int threads) {
    return of_types([&](auto number) {
        using Number = decltype(number);
        return share(batch * length, ROWS, threads, 0, [&](int64_t index, float*) {
            const int64_t sentence = index / length, place = index % length;
            const float* sines = table + (positions ? positions[index] : place) * width;
            for (int head = 0; head < heads; ++head) {
                turn(places[0].at<const Number>({sentence, place}, head).at, width / 2, sines, back ? -1.0f : 1.0f,
                     places[1].at<Number>({sentence, place}, head).at);
            }
        });
    }, narrow);
}

// Rows of x and output stand `x_stride` and `output_stride` apart; what is written has no gaps. `narrow` of three: x,
// output, and both, which is the result's type.
bool heedful_add_norm(const void* x, int64_t x_stride, const void* output, int64_t output_stride, const float* gain,
                      const float* bias, uint64_t seed, int dropped, float epsilon, int64_t rows, int width,
                      void* normed, float* mean, float* scale, int narrow_x, int narrow_output, int threads) {
    const Mask mask(seed, dropped, width);
    return of_types([&](auto x_number, auto output_number) {
        using X = decltype(x_number);
        using Output = decltype(output_number);
        using Normed = Both<X, Output>;
        return share(rows, ROWS, threads, Mask::room(width), [&](int64_t row, float* room) {
            add_norm(static_cast<const X*>(x) + row * x_stride,
                     static_cast<const Output*>(output) + row * output_stride, gain, bias, width, row, mask,
                     epsilon, room, static_cast<Normed*>(normed) + row * width, mean + row, scale + row);
        });
    }, narrow_x, narrow_output);
}

// `sums` `[2, width]` become the gradients of gain and bias.
bool heedful_add_norm_backward(const void* x, int64_t x_stride, const void* output, int64_t output_stride,
                               const void* grad, int64_t grad_stride, const float* gain, uint64_t seed, int dropped,
                               int64_t rows, int width, const float* mean, const float* scale, void* x_grad,
                               void* output_grad, float* sums, int narrow_x, int narrow_output, int threads) {
    const Mask mask(seed, dropped, width);
    return of_types([&](auto x_number, auto output_number) {
        using X = decltype(x_number);
        using Output = decltype(output_number);
        using Normed = Both<X, Output>;
        return share_sums(rows, threads, 2 * Mask::room(width), 2, width, sums,
                          [&](int64_t row, float* room, float* own) {
            add_norm_backward(static_cast<const X*>(x) + row * x_stride,
                              static_cast<const Output*>(output) + row * output_stride,
                              static_cast<const Normed*>(grad) + row * grad_stride, gain, width, row, mask,
                              mean[row], scale[row], room, static_cast<X*>(x_grad) + row * width,
                              static_cast<Output*>(output_grad) + row * width, own, own + whole(width));
        });
    }, narrow_x, narrow_output);
}

// dropout(output) `[rows, width]` without gaps, and x added unless it is null; the result has the type of both
// together.
bool heedful_add_dropout(const void* x, const void* output, uint64_t seed, int dropped, int64_t rows, int width,
                         void* result, int narrow_x, int narrow_output, int narrow_result, int threads) {
    const Mask mask(seed, dropped, width);
    return of_types([&](auto x_number, auto output_number, auto result_number) {
        using X = decltype(x_number);
        using Output = decltype(output_number);
        using Result = decltype(result_number);
        return share(rows, ROWS, threads, Mask::room(width), [&](int64_t row, float* room) {
            add_dropout(x ? static_cast<const X*>(x) + row * width : nullptr,
                        static_cast<const Output*>(output) + row * width, width, row, mask, room,
                        static_cast<Result*>(result) + row * width);
        });
    }, narrow_x, narrow_output, narrow_result);
}

// `grad`, `hidden` and `masked` `[rows, width]` without gaps, `sums` `[width]`.
bool heedful_rectified(const void* grad, const void* hidden, int64_t rows, int width, void* masked, float* sums,
                       int narrow, int threads) {
    return of_types([&](auto number) {
        using Number = decltype(number);
        return share_sums(rows, threads, 0, 1, width, sums, [&](int64_t row, float*, float* own) {
            const int64_t start = row * width;
            rectified(static_cast<const Number*>(grad) + start, static_cast<const Number*>(hidden) + start, width,
                      static_cast<Number*>(masked) + start, own);
        });
    }, narrow);
}

// `sums` `[width]` of rows `stride` apart.
bool heedful_sums(const void* each, int64_t stride, int64_t rows, int width, float* sums, int narrow, int threads) {
    return of_types([&](auto number) {
        using Number = decltype(number);
        return share_sums(rows, threads, 0, 1, width, sums, [&](int64_t row, float*, float* own) {
            add_row(static_cast<const Number*>(each) + row * stride, width, own);
        });
    }, narrow);
}

// Whether there are products of ours for this processor; else the functions below do nothing.
bool heedful_multiplies() {
#ifdef HEEDFUL_PRODUCTS
    return true;
#else
    return false;
#endif
}

// 32-bit words that `heedful_lay_out` fills.
int64_t heedful_words(int64_t columns, int64_t inner) {
#ifdef HEEDFUL_PRODUCTS
    return Parts{columns, inner}.words();
#else
    return 0;
#endif
}

// A right factor, once for all products with it.
bool heedful_lay_out(const Factor* right, int64_t columns, int64_t inner, uint32_t* words, int threads) {
#ifdef HEEDFUL_PRODUCTS
    const Parts parts{columns, inner};
    const int64_t panels = parts.panels(), groups = (panels + LAID_OUT - 1) / LAID_OUT;
    return share(groups * parts.count(), 1, threads, 0, [&](int64_t item, float*) {
        const int64_t part = item / groups, panel = item % groups * LAID_OUT;
        lay_out<PANEL_COLUMNS>(*right, panel * PANEL_COLUMNS, std::min(columns, (panel + LAID_OUT) * PANEL_COLUMNS),
                               parts.start(part), parts.end(part), words + (part * panels + panel) * parts.panel(),
                               parts.panel());
    });
#else
    return false;
#endif
}

// `right` has been laid out.
bool heedful_product(const Factor* left, const uint32_t* right, const Result* result, int64_t rows, int64_t columns,
                     int64_t inner, int threads) {
#ifdef HEEDFUL_PRODUCTS
    const Parts parts{columns, inner};
    const int64_t panels = parts.panels(), room = parts.size() / 2;
    int height = parts.size() <= INNER ? 8 * PANEL_ROWS : 4 * PANEL_ROWS;  // that stay in the second cache
    while (height > PANEL_ROWS && rows < 2 * threads * height) height /= 2;
    const int64_t blocks = (rows + height - 1) / height, held = parts.count() > 1 ? rows * panels * PANEL_COLUMNS : 0;
    const std::unique_ptr<float[]> before(new (std::nothrow) float[held]);
    bool done = before != nullptr;
    for (int64_t part = 0; done && part < parts.count(); ++part)
        done = share(blocks, 1, threads, height * room, [&](int64_t block, float* memory) {
            const int64_t first = block * height, stop = std::min(rows, first + height);
            uint32_t* own = reinterpret_cast<uint32_t*>(memory);
            lay_out<PANEL_ROWS>(*left, first, stop, parts.start(part), parts.end(part), own, PANEL_ROWS * room);
            for (int64_t panel = 0; panel < panels; ++panel)
                for (int64_t row = first; row < stop; row += PANEL_ROWS)
                    product_rows(int(std::min<int64_t>(stop - row, PANEL_ROWS)), own + (row - first) * room,
                                 right + (part * panels + panel) * parts.panel(), parts, part, before.get(), *result,
                                 row, panel);
        });
    return done;
#else
    return false;
#endif
}

// `each` `[matrices, rows, columns]` becomes about orthogonal.
bool heedful_newton_schulz(const Iteration* iteration, uint16_t* each, int64_t matrices, int threads) {
#ifdef HEEDFUL_PRODUCTS
    return share(matrices, 1, threads, iteration->words(), [&](int64_t matrix, float* memory) {
        iterate(*iteration, reinterpret_cast<Brain*>(each) + matrix * iteration->size(),
                reinterpret_cast<uint32_t*>(memory));
    });
#else
    return false;
#endif
}
}
