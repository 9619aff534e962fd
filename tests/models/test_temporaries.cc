#define BOOST_TEST_MODULE temporaries
#include <gradus/gradus.h>

#include "tests/checks.h"

// What a const method gives does not outlive a temporary: it holds what it needs, or is a copy, or
// the call does not compile.
using namespace gradus;

namespace {

// `using X = ...` of a call on a temporary, where there is one.
#define REFUSES(Type, call) (!requires(Type value) { std::move(value).call; })
#define GIVES_A_COPY(Type, call) (!std::is_reference_v<decltype(std::declval<Type>().call)>)

template <class T>
constexpr bool refuses_pointers = REFUSES(T, template data<float>()) && REFUSES(T, bytes()) &&
                                  REFUSES(T, strides()) &&
                                  REFUSES(T, template mutable_data<float>()) &&
                                  REFUSES(T, mutable_bytes());
template <class T>
constexpr bool refuses_iterators = REFUSES(T, begin()) && REFUSES(T, end());
template <class T>
constexpr bool refuses_source = REFUSES(T, tensor()) && REFUSES(T, template data<float>());
template <class T>
constexpr bool refuses_module = REFUSES(T, operator*());
template <class T>
constexpr bool refuses_child = REFUSES(T, operator[](0));
template <class T>
constexpr bool refuses_name = !std::is_constructible_v<ErrorContext, T>;

static_assert(refuses_pointers<Tensor> && refuses_pointers<const Tensor>);
static_assert(refuses_pointers<Parameter> && refuses_pointers<Buffer>);
static_assert(refuses_iterators<Shape> && refuses_iterators<DataLoader::Epoch>);
static_assert(refuses_source<const raw::Contiguous>);
static_assert(refuses_module<AnyModule> && refuses_module<AnyNorm> && refuses_child<Sequential>);
static_assert(refuses_name<std::string> && !refuses_name<const std::string&> &&
              !refuses_name<const char*>);

static_assert(GIVES_A_COPY(Tensor, shape()) && GIVES_A_COPY(const Tensor, shape()));
static_assert(GIVES_A_COPY(Tensor, grad()) && GIVES_A_COPY(Tensor, name()));
static_assert(GIVES_A_COPY(Tensor, set_requires_grad()) && GIVES_A_COPY(Tensor, set_name("x")));
static_assert(GIVES_A_COPY(Linear, name()) && GIVES_A_COPY(Generator, state()));
static_assert(GIVES_A_COPY(Shape, operator[](0)) && GIVES_A_COPY(Shape, back()));
static_assert(GIVES_A_COPY(Sequential, add(Linear(1, 1))));
static_assert(!std::is_reference_v<decltype(CellWeights::w_hh)>);

Dataset five() { return {"five", ones({5, 1, 2, 2}), arange(5), 5}; }

}  // namespace

BOOST_AUTO_TEST_CASE(an_epoch_of_a_temporary_loader) {
  int64_t images = 0;
  for (const Batch& batch : DataLoader(five(), {.batch_size = 2}).epoch(0)) {
    images += batch.y.numel();
    BOOST_TEST(all_finite(batch.x));
  }
  BOOST_TEST(images == 5);
  const DataLoader::Epoch epoch = DataLoader(five(), {.batch_size = 5, .shuffle = false}).epoch(3);
  BOOST_TEST((epoch.batch(0).y.to_vector<int>() == std::vector{0, 1, 2, 3, 4}));
}

BOOST_AUTO_TEST_CASE(the_shape_of_a_temporary) {
  int64_t product = 1;
  for (const int64_t size : ones({2, 3, 4}).shape()) product *= size;
  BOOST_TEST(product == 24);
  const Shape& shape = ones({7, 8}).shape();
  const std::string& name = ones({1}).set_name("w").name();
  const Tensor& x = ones({3}).set_requires_grad();
  BOOST_TEST((shape == Shape{7, 8}));
  BOOST_TEST(name == "w");
  BOOST_TEST(x.requires_grad());
}

BOOST_AUTO_TEST_CASE(the_state_of_a_temporary_generator) {
  const Generator::State& state = Generator(5).state();
  BOOST_TEST(state.seed == 5u);
}

BOOST_AUTO_TEST_CASE(a_model_that_is_built_by_adding) {
  Sequential model = Sequential().add(Linear(2, 3)).add(Relu());
  BOOST_TEST(model.size() == 2u);
  BOOST_TEST((model(ones({1, 2})).shape() == Shape{1, 3}));
}
