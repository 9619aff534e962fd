// From the fourth training step on, nothing asks malloc for memory.
#define BOOST_TEST_MODULE allocations
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/layers/activation.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/conv2d.h>
#include <gradus/layers/layer_norm.h>
#include <gradus/layers/linear.h>
#include <gradus/layers/rnn_cell.h>
#include <gradus/layers/sequential.h>
#include <gradus/optim/adam.h>
#include <gradus/optim/optimizer.h>
#include <gradus/optim/rmsprop.h>
#include <gradus/optim/sgd.h>
#include <gradus/tensor/random.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cerrno>

#include "tests/models/small_models.h"

namespace {
std::atomic<int64_t> mallocs{0};
}

// Every thread's requests, operator new's among them, come through here.
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void* malloc(size_t n) { return ++mallocs, __libc_malloc(n); }
void* calloc(size_t n, size_t size) { return ++mallocs, __libc_calloc(n, size); }
void* realloc(void* p, size_t n) { return ++mallocs, __libc_realloc(p, n); }
void* memalign(size_t alignment, size_t n) { return ++mallocs, __libc_memalign(alignment, n); }
void* aligned_alloc(size_t alignment, size_t n) { return memalign(alignment, n); }
int posix_memalign(void** p, size_t alignment, size_t n) {
  *p = memalign(alignment, n);
  return *p ? 0 : ENOMEM;
}
}

using namespace gradus;

namespace {

/// The requests of each of 8 training steps.
std::vector<int64_t> requests(UnaryModule& model, Optimizer& optimizer, const Tensor& x,
                              const Tensor& y) {
  const std::vector<Tensor> parameters = model.parameters();
  std::vector<int64_t> counts(8);
  for (int64_t& count : counts) {
    const int64_t before = mallocs;
    {
      Tape tape;
      const Tensor loss = cross_entropy(model.forward(x), y);
      optimizer.zero_grad();
      tape.backward(loss);
      clip_grad_norm(parameters, 1.0);
      optimizer.step();
    }
    count = mallocs - before;
  }
  return counts;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_counter_counts) {
  const int64_t before = mallocs;
  ::operator delete(::operator new(4));  // new expressions may be left out by a compiler
  BOOST_TEST(mallocs > before);
}

BOOST_AUTO_TEST_CASE(no_model_asks_malloc_after_the_third_step) {
  for (const char* name : test::kModels)
    for (Norm norm : test::kNorms) {
      AnyModule model = test::make(name, norm);
      Adam optimizer(model->parameters());
      Generator generator(1);
      const auto counts =
          requests(*model, optimizer, test::inputs(name, 32, 1), randint(0, 10, {32}, generator));
      for (size_t step = 3; step < counts.size(); ++step)
        BOOST_TEST(counts[step] == 0, name << " " << gradus::name(norm) << ", step " << step);
    }
}

// gradient() asks for the vector that it returns.
BOOST_AUTO_TEST_CASE(no_module_asks_malloc_after_the_third_step) {
  AnyModule modules[] = {Conv2d(4, 8, 3, {.padding = 1}), BatchNorm(4), LayerNorm(Shape{4, 9, 9}),
                         Gelu(), Activation("Softmax", [](const Tensor& h) { return softmax(h); })};
  for (AnyModule& module : modules) {
    const Tensor x = randn({5, 4, 9, 9}).set_requires_grad();
    std::vector<Tensor> leaves = module->parameters();
    leaves.push_back(x);
    const Tensor dy = raw::clone(module(x));
    for (int step = 0; step < 8; ++step) {
      for (Tensor& leaf : leaves) leaf.set_grad({});
      const int64_t begin = mallocs;
      {
        Tape tape;
        tape.backward(module(x), {.dy = dy});
      }
      const int64_t middle = mallocs;
      {
        Tape tape;
        tape.gradient(module(x), leaves, {.dy = dy});
      }
      const int64_t end = mallocs;
      if (step < 3) continue;
      BOOST_TEST(middle - begin == 0, module->describe() << ", step " << step);
      BOOST_TEST(end - middle == 1, module->describe() << ", step " << step);
    }
  }
}

// Step by step, the states of all steps and the sums of gradients come and go.
BOOST_AUTO_TEST_CASE(no_recurrent_cell_asks_malloc_after_the_third_step) {
  const Tensor x = randn({12, 20, 7});
  LstmCell lstm(7, 33);
  GruCell gru(7, 33);
  std::vector<Tensor> parameters = lstm.parameters();
  for (const Tensor& parameter : gru.parameters()) parameters.push_back(parameter);
  Adam optimizer(parameters);
  for (int step = 0; step < 8; ++step) {
    const int64_t before = mallocs;
    {
      Tape tape;
      CellState state;
      Tensor h;
      for (const Tensor& x_t : unbind(x, 0)) {
        state = lstm(x_t, state);
        h = gru(x_t, h);
      }
      optimizer.zero_grad();
      tape.backward(sum(state.h * h));
      optimizer.step();
    }
    BOOST_TEST((step < 3 || mallocs == before), "step " << step << ": " << mallocs - before);
  }
}
