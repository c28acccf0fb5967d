// What Python calls: plain C functions, without PyTorch and without Python, so that one library fits any of them.
#include <memory>
#include <system_error>
#include <thread>

#include "search.h"
#include "transformer.h"

using namespace heedful;

namespace {

struct Answer {
    std::vector<std::vector<Hypothesis>> found;
    std::atomic<int> waiting{0};
    std::atomic<bool> stop{false}, failed{false};
};

}  // namespace

extern "C" {

// `tensors` in the order of heedful.model.flat; all but the embeddings are copied.
void* heedful_model(const Shape* shape, const float* const* tensors, float eps, int precision) try {
    return new Transformer(*shape, Reader(tensors, eps, Precision(precision)));
} catch (const std::bad_alloc&) {
    return nullptr;
}

void heedful_free_model(void* model) { delete static_cast<Transformer*>(model); }

void* heedful_answer() { return new Answer; }

void heedful_free_answer(void* answer) { delete static_cast<Answer*>(answer); }

// The search of another thread ends after its next step, its answer incomplete.
void heedful_stop(void* answer) { static_cast<Answer*>(answer)->stop = true; }

// Translates all sentences; false where there was not enough memory. The position tables have as many rows as needed;
// `rotary` is null where queries and keys are not turned.
bool heedful_search(const void* model, const Question* ask, const float* source_positions,
                    const float* target_positions, const float* rotary, int threads, void* into) {
    Answer& answer = *static_cast<Answer*>(into);
    const auto work = [&] {
        try {
            Translation translation(*static_cast<const Transformer*>(model), source_positions, target_positions,
                                    rotary);
            search<Translation, Sequence, Past>(translation, *ask, answer.waiting, answer.stop, answer.found);
        } catch (const std::bad_alloc&) {
            answer.failed = answer.stop = true;
        }
    };
    try {
        answer.found.resize(ask->sentences);
        std::vector<std::thread> others;
        others.reserve(threads);
        try {
            for (int i = 1; i < threads; ++i) others.emplace_back(work);
        } catch (const std::system_error&) {  // the system grants no more; those there are do all the work
        }
        work();
        for (std::thread& other : others) other.join();
    } catch (const std::exception&) {
        answer.failed = true;
    }
    return !answer.failed;
}

// Writes how many hypotheses each sentence has; returns how many there are in all, and in `tokens` their tokens.
int64_t heedful_sizes(const void* answer, int32_t* hypotheses, int64_t* tokens) {
    int64_t count = 0;
    *tokens = 0;
    for (const auto& found : static_cast<const Answer*>(answer)->found) {
        count += *hypotheses++ = int32_t(found.size());
        for (const Hypothesis& each : found) *tokens += int64_t(each.tokens.size());
    }
    return count;
}

// Of all hypotheses one after the other: their numbers of tokens, totals and ends; of all tokens, their log-probabilities.
void heedful_read(const void* answer, int32_t* lengths, float* totals, bool* finished, int32_t* tokens,
                  float* log_probs) {
    for (const auto& found : static_cast<const Answer*>(answer)->found)
        for (const Hypothesis& each : found) {
            *lengths++ = int32_t(each.tokens.size());
            *totals++ = each.total;
            *finished++ = each.finished;
            tokens = std::copy(each.tokens.begin(), each.tokens.end(), tokens);
            log_probs = std::copy(each.log_probs.begin(), each.log_probs.end(), log_probs);
        }
}

// y = xW^T + b as the engine computes it, for tests.
void heedful_product(const float* x, const float* weight, const float* bias, float* y, int rows, int in, int out,
                     int precision) {
    const Product product(weight, bias, in, out, Precision(precision));
    Rows padded, result;
    padded.shape(rows, in), result.shape(rows, out);
    for (int row = 0; row < rows; ++row) std::copy(x + size_t(row) * in, x + size_t(row + 1) * in, padded[row]);
    Operand operand;
    operand.set(padded[0], rows, in, padded.stride(), Precision(precision));
    product.run(operand, rows, result[0], result.stride());
    for (int row = 0; row < rows; ++row) std::copy(result[row], result[row] + out, y + size_t(row) * out);
}

}  // extern "C"
