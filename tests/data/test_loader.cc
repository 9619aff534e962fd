#define BOOST_TEST_MODULE loader
#include <gradus/data/augment.h>
#include <gradus/data/loader.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cfenv>
#include <set>
#include <thread>

#include "tests/checks.h"

using namespace gradus;
using test::says;

namespace {

/// N items whose x is their number, in every step up to their length, and 0 behind it.
Dataset sequences(int64_t n, int64_t steps) {
  Dataset data{"numbered", zeros({n, steps, 2}), arange(n)};
  Tensor lengths = empty({n}, DType::i64);
  Generator generator(4);
  for (int64_t i = 0; i < n; ++i) {
    const auto length = static_cast<int64_t>(generator.below(static_cast<uint64_t>(steps))) + 1;
    lengths.mutable_data<int64_t>()[i] = length;
    for (int64_t k = 0; k < 2 * length; ++k)
      data.x.mutable_data<float>()[i * steps * 2 + k] = static_cast<float>(i);
  }
  data.more = {{"lengths", lengths}, {"mask", zeros({n, steps}, DType::boolean)}};
  return data;
}

std::vector<int64_t> ids(const Batch& batch) { return batch.y.to_vector<int64_t>(); }

std::vector<std::vector<double>> whole_epoch(const DataLoader& loader, uint64_t number = 1) {
  std::vector<std::vector<double>> all;
  for (const Batch& batch : loader.epoch(number)) {
    all.push_back(batch.x.to_vector<double>());
    all.push_back(batch.y.to_vector<double>());
  }
  return all;
}

Batch with_noise(const Batch& batch, Generator& generator) {
  Batch result = batch;
  result.x = random_noise(batch.x, 1, generator);
  return result;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_small_last_batch_is_merged) {
  const auto sizes = [](int64_t rows, int64_t batch_size) {
    const DataLoader loader(sequences(rows, 3),
                            {.batch_size = batch_size, .last = LastBatch::merge});
    std::vector<int64_t> result;
    std::set<int64_t> seen;
    for (const Batch& batch : loader.epoch(2)) {
      result.push_back(batch.size());
      for (const int64_t id : ids(batch)) seen.insert(id);
    }
    BOOST_TEST(static_cast<int64_t>(seen.size()) == rows);
    BOOST_TEST(loader.size() == static_cast<int64_t>(result.size()));
    return result;
  };
  using Sizes = std::vector<int64_t>;
  BOOST_TEST((sizes(10, 4) == Sizes{4, 6}));
  BOOST_TEST((sizes(12, 4) == Sizes{4, 4, 4}));
  BOOST_TEST((sizes(3, 4) == Sizes{3}));
  BOOST_TEST((sizes(5, 1) == Sizes{1, 1, 1, 1, 1}));
}

BOOST_AUTO_TEST_CASE(rows_of_like_length_come_together) {
  const Dataset data = sequences(50, 20);
  const auto padding_of = [&](const LoaderOptions& options) {
    const DataLoader loader(data, options);
    std::multiset<int64_t> seen;
    int64_t padding = 0;
    for (const Batch& batch : loader.epoch(1)) {
      int64_t longest = 0;
      for (const int64_t length : batch["lengths"].to_vector<int64_t>())
        longest = std::max(longest, length);
      if (options.bucket > 0) {  // it ends with the longest, and nothing before is cut
        BOOST_TEST((batch.x.shape() == Shape{batch.size(), longest, 2}));
        BOOST_TEST((batch["mask"].shape() == Shape{batch.size(), longest}));
      }
      for (int64_t i = 0; i < batch.size(); ++i) {
        const int64_t id = ids(batch)[static_cast<size_t>(i)];
        seen.insert(id);
        const auto length = static_cast<int64_t>(batch["lengths"].at({i}));
        padding += longest - length;
        BOOST_TEST(batch.x.at({i, length - 1, 1}) == static_cast<double>(id));
      }
    }
    BOOST_TEST(seen == std::multiset<int64_t>(seen.begin(), seen.end()));
    BOOST_TEST(seen.size() == 50u);
    BOOST_TEST(std::set<int64_t>(seen.begin(), seen.end()).size() == 50u);
    return padding;
  };
  const int64_t apart = padding_of({.batch_size = 4}),
                some = padding_of({.batch_size = 4, .bucket = 3}),
                all = padding_of({.batch_size = 4, .bucket = 100});
  BOOST_TEST((all < some && some < apart));

  const auto order = [&](const LoaderOptions& options, uint64_t epoch) {
    std::vector<int64_t> rows;
    const DataLoader loader(data, options);
    for (const Batch& batch : loader.epoch(epoch))
      for (const int64_t id : ids(batch)) rows.push_back(id);
    return rows;
  };
  const LoaderOptions options{.batch_size = 4, .bucket = 3};
  BOOST_TEST(order(options, 1) == order(options, 1));
  BOOST_TEST(order(options, 1) != order(options, 2));
  // Without shuffling: 12 rows after the other, each sorted, equal ones as they were; then the
  // rest.
  const std::vector<int64_t> lengths = data["lengths"].to_vector<int64_t>(),
                             plain = order({.batch_size = 4, .shuffle = false, .bucket = 3}, 0);
  std::vector<int64_t> expected(50);
  for (size_t i = 0; i < 50; ++i) expected[i] = static_cast<int64_t>(i);
  const auto shorter = [&](int64_t a, int64_t b) {
    return std::pair(lengths[static_cast<size_t>(a)], a) <
           std::pair(lengths[static_cast<size_t>(b)], b);
  };
  for (size_t i = 0; i < 48; i += 12)
    std::sort(expected.begin() + static_cast<long>(i), expected.begin() + static_cast<long>(i) + 12,
              shorter);
  BOOST_TEST(plain == expected, boost::test_tools::per_element());
  // The batches do not come in the order of their lengths.
  const std::vector<int64_t> shuffled = order({.batch_size = 4, .bucket = 100}, 1);
  BOOST_TEST(!std::is_sorted(shuffled.begin(), shuffled.begin() + 48, shorter));

  Dataset without = data;
  without.more = {};
  BOOST_CHECK_EXCEPTION(DataLoader(without, {.bucket = 1}), Error,
                        says("numbered is to be sorted"));
  without.more = {{"lengths", full({50}, 21, DType::i64)}};
  BOOST_CHECK_EXCEPTION(DataLoader(without, {.bucket = 1}), Error, says("a length of 21 of 20"));
  without.more = {{"lengths", ones({50})}};
  BOOST_CHECK_EXCEPTION(DataLoader(without, {.bucket = 1}), Error, says("must be (N) i64"));
  BOOST_CHECK_EXCEPTION(DataLoader(data, {.bucket = -1}), Error, says("needs 0 or more"));
  BOOST_CHECK_EXCEPTION(DataLoader(data, {.prefetch = -1}), Error, says("needs 0 or more"));
}

BOOST_AUTO_TEST_CASE(what_is_drawn_goes_by_seed_epoch_and_batch) {
  const Dataset data = sequences(8, 3);
  const auto first = [&](uint64_t seed, uint64_t epoch, int64_t batch) {
    const DataLoader loader(
        data, {.batch_size = 4, .shuffle = false, .seed = seed, .transform = with_noise});
    Tensor x = loader.epoch(epoch).batch(batch).x;
    return raw::add(x, raw::cast(zeros(x.shape()), DType::f32)).to_vector<float>();
  };
  BOOST_TEST(first(1, 2, 0) == first(1, 2, 0));
  std::set<float> different;
  const DataLoader plain(data, {.batch_size = 4, .shuffle = false});
  for (const auto& [seed, epoch, batch] :
       {std::tuple(1, 2, 0), std::tuple(2, 2, 0), std::tuple(1, 3, 0), std::tuple(1, 2, 1)})
    different.insert(first(static_cast<uint64_t>(seed), static_cast<uint64_t>(epoch), batch)[0] -
                     static_cast<float>(plain.epoch(0).batch(batch).x.at({0, 0, 0})));
  BOOST_TEST(different.size() == 4u);
}

BOOST_AUTO_TEST_CASE(batches_that_are_made_ahead_are_the_same) {
  const Dataset data = sequences(50, 20);
  for (const int64_t bucket : {0, 3}) {
    const LoaderOptions options{.batch_size = 4, .bucket = bucket, .transform = with_noise};
    const auto expected = whole_epoch(DataLoader(data, options));
    BOOST_TEST(expected.size() == 26u);
    for (const int64_t prefetch : {int64_t{1}, int64_t{2}, int64_t{100}, INT64_MAX}) {
      LoaderOptions ahead = options;
      ahead.prefetch = prefetch;
      const Generator::State before = default_generator().state();
      BOOST_TEST((whole_epoch(DataLoader(data, ahead)) == expected), prefetch);
      BOOST_TEST((default_generator().state() == before));
    }
  }
}

BOOST_AUTO_TEST_CASE(another_thread_makes_them) {
  const Dataset data = sequences(12, 3);
  std::set<std::thread::id> makers;
  const DataLoader loader(data, {.batch_size = 2,
                                 .transform =
                                     [&](const Batch& batch, Generator&) {
                                       makers.insert(std::this_thread::get_id());
                                       return batch;
                                     },
                                 .prefetch = 2});
  const auto epoch = loader.epoch(0);
  auto at = epoch.begin();
  const std::vector<int64_t> first = ids(*at);
  BOOST_TEST(makers.size() == 1u);
  BOOST_TEST(!makers.contains(std::this_thread::get_id()));
  // What was taken, and what is passed over, is made again where it is asked for.
  BOOST_TEST(ids(*at) == first);
  const auto again = at;
  ++at;
  ++at;
  ++at;
  BOOST_TEST(ids(*at) == ids(epoch.batch(3)));
  BOOST_TEST(ids(*again) == first);
  for (int i = 0; i < 20; ++i)  // a loop that is left early
    for (const Batch& batch : loader.epoch(1)) {
      BOOST_TEST(batch.size() == 2);
      if (i % 3 == 0) break;
      if (i % 3 == 1 && ids(batch) == ids(loader.epoch(1).batch(1))) break;
    }
}

BOOST_AUTO_TEST_CASE(what_is_thrown_there_arrives_here) {
  const Dataset data = sequences(12, 3);
  const auto fails_at = [](int64_t id) {
    return [id](const Batch& batch, Generator&) {
      const std::vector<int64_t> all = ids(batch);
      if (std::find(all.begin(), all.end(), id) != all.end()) fail("there is a {}", id);
      return batch;
    };
  };
  for (const int64_t prefetch : {1, 4}) {
    const DataLoader loader(
        data, {.batch_size = 2, .shuffle = false, .transform = fails_at(5), .prefetch = prefetch});
    std::vector<int64_t> seen;
    const auto epoch = loader.epoch(0);
    const auto loop = [&] {
      for (const Batch& batch : epoch) seen.push_back(ids(batch)[0]);
    };
    BOOST_CHECK_EXCEPTION(loop(), Error, says("there is a 5"));
    BOOST_TEST((seen == std::vector<int64_t>{0, 2}));
    auto at = epoch.begin();
    ++at;
    ++at;
    BOOST_CHECK_EXCEPTION(*at, Error, says("there is a 5"));
    ++at;  // behind it there is nobody who makes them ahead
    BOOST_TEST((ids(*at) == std::vector<int64_t>{6, 7}));
  }
}

BOOST_AUTO_TEST_CASE(it_rounds_as_who_asks) {
  const Dataset data = sequences(4, 3);
  const auto thirds = [&](int64_t prefetch) {
    const DataLoader loader(data, {.batch_size = 2,
                                   .transform =
                                       [](const Batch& batch, Generator&) {
                                         volatile double one = 1, three = 3;
                                         Batch result = batch;
                                         result.x = full({2, 1, 1}, one / three, DType::f64);
                                         return result;
                                       },
                                   .prefetch = prefetch});
    return whole_epoch(loader)[0][0];
  };
  const double nearest = thirds(0);
  BOOST_TEST(thirds(1) == nearest);
  std::fesetround(FE_UPWARD);
  const double here = thirds(0), there = thirds(1);
  std::fesetround(FE_TONEAREST);
  BOOST_TEST(here != nearest);
  BOOST_TEST(there == here);
}

BOOST_AUTO_TEST_CASE(progress_is_told) {
  for (const int64_t prefetch : {0, 2}) {
    std::vector<std::pair<int64_t, int64_t>> told;
    const DataLoader loader(
        sequences(10, 3),
        {.batch_size = 4, .prefetch = prefetch, .progress = [&](int64_t done, int64_t batches) {
           told.emplace_back(done, batches);
         }});
    for (const Batch& batch : loader.epoch(0))
      BOOST_TEST(static_cast<int64_t>(told.size()) * 4 + batch.size() <= 12);
    BOOST_TEST((told == std::vector<std::pair<int64_t, int64_t>>{{1, 3}, {2, 3}, {3, 3}}));
  }
}

#ifndef GRADUS_SANITIZED  // sanitizers' locks do not survive it
BOOST_AUTO_TEST_CASE(a_forked_child_goes_on_alone) {
  const Dataset data = sequences(40, 5);
  const LoaderOptions options{.batch_size = 2, .transform = with_noise, .prefetch = 3};
  const auto expected = whole_epoch(DataLoader(data, options));
  const DataLoader loader(data, options);
  std::vector<std::vector<double>> all;
  const auto epoch = loader.epoch(1);
  for (const Batch& batch : epoch) {
    all.push_back(batch.x.to_vector<double>());
    all.push_back(batch.y.to_vector<double>());
    if (all.size() != 10) continue;
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(60);
      const auto rest = [&] {  // through the iterator's end, which joins nobody
        auto at = epoch.begin();
        for (int i = 0; i < 5; ++i) ++at;
        for (; at != epoch.end(); ++at) {
          const Batch one = *at;
          all.push_back(one.x.to_vector<double>());
          all.push_back(one.y.to_vector<double>());
        }
        return all == expected && whole_epoch(loader) == expected;
      };
      ::_exit(rest() ? 0 : 1);
    }
    int status = -1;
    BOOST_TEST_REQUIRE(::waitpid(child, &status, 0) == child);
    BOOST_TEST(status == 0);
  }
  BOOST_TEST((all == expected));
}

// The iterator that the child was in the middle of.
BOOST_AUTO_TEST_CASE(a_forked_child_ends_the_loop_that_it_is_in) {
  const Dataset data = sequences(40, 5);
  const LoaderOptions options{.batch_size = 2, .transform = with_noise, .prefetch = 3};
  const auto expected = whole_epoch(DataLoader(data, options));
  const pid_t parent = ::getpid();
  const auto loop = [&] {
    std::vector<std::vector<double>> all;
    const DataLoader loader(data, options);
    for (const Batch& batch : loader.epoch(1)) {
      all.push_back(batch.x.to_vector<double>());
      all.push_back(batch.y.to_vector<double>());
      if (all.size() == 10 && ::fork() == 0) ::alarm(60);
    }
    return all == expected;
  };
  const bool same = loop();
  if (::getpid() != parent) ::_exit(same ? 0 : 1);
  int status = -1;
  BOOST_TEST_REQUIRE(::wait(&status) > 0);
  BOOST_TEST(status == 0);
  BOOST_TEST(same);
}
#endif
