#define BOOST_TEST_MODULE tape_print
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/tape_print.h>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

using namespace gradus;

namespace {

/// loss = sum((x w)^2) + v_2 - v_0 with leaves w and v, of which the sweep reaches all but v_1.
struct Recorded {
  Tensor x = ones({5, 3}), w = ones({3, 4}).set_requires_grad().set_name("layer.\"w\"");
  Tensor v = ones({3}).set_requires_grad().set_name("v");
  Tape tape;
  Tensor loss;
  Recorded() {
    const Tensor y = square(matmul(x, w));
    const auto parts = unbind(v, 0);
    loss = sum(y) + parts[2] - parts[0];
  }
};

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

}  // namespace

BOOST_AUTO_TEST_CASE(json_says_what_was_recorded) {
  Recorded r;
  const auto nodes = nlohmann::json::parse(to_json(r.tape))["nodes"];
  const std::vector<std::string> ops = {"leaf",   "matmul", "square", "leaf", "unbind",
                                        "unbind", "unbind", "sum",    "add",  "sub"};
  BOOST_REQUIRE(nodes.size() == ops.size());
  for (size_t i = 0; i < ops.size(); ++i) {
    BOOST_TEST(nodes[i]["op"] == ops[i]);
    BOOST_TEST(nodes[i]["index"] == i);
    BOOST_TEST(nodes[i]["dtype"] == "f32");
    BOOST_TEST(nodes[i]["reached"] == false);
  }
  BOOST_TEST(nodes[0]["name"] == "layer.\"w\"");
  BOOST_TEST(nodes[1]["inputs"] == nlohmann::json::parse("[null, 0]"));
  BOOST_TEST(nodes[1]["kept"] == nlohmann::json::parse("[[5, 3]]"));  // x, for dw alone
  BOOST_TEST(nodes[1]["kept_bytes"] == 5 * 3 * 4);
  BOOST_TEST(nodes[2]["shape"] == nlohmann::json::parse("[5, 4]"));
  BOOST_TEST(nodes[6]["output"] == 2);
}

BOOST_AUTO_TEST_CASE(a_sweep_shows_where_gradients_went_and_frees_what_was_kept) {
  Recorded r;
  BOOST_TEST(nlohmann::json::parse(to_json(r.tape))["kept_bytes"] == (5 * 3 + 5 * 4) * 4);
  r.tape.backward(r.loss);
  const auto json = nlohmann::json::parse(to_json(r.tape));
  BOOST_TEST(json["kept_bytes"] == 0);
  for (const auto& node : json["nodes"]) BOOST_TEST(node["reached"] == (node["index"] != 5));
}

BOOST_AUTO_TEST_CASE(the_listing_has_a_line_for_each_node) {
  Recorded r;
  const std::string text = listing(r.tape);
  BOOST_TEST(count(text, "\n") == r.tape.size() + 2);
  BOOST_TEST(text.find("    1  matmul                       -, 0         (5, 4) f32           no   "
                       "    (5, 3) = 60 bytes\n") != std::string::npos);
  BOOST_TEST(text.find("unbind.2") != std::string::npos);
  BOOST_TEST(text.find("10 nodes, 140 bytes kept\n") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(dot_has_a_box_for_each_node_and_an_arrow_for_each_input) {
  Recorded r;
  const std::string text = to_dot(r.tape);
  BOOST_TEST(text.rfind("digraph tape {\n", 0) == 0);
  BOOST_TEST(text.substr(text.size() - 2) == "}\n");
  BOOST_TEST(count(text, "[label=") == 10);
  BOOST_TEST(count(text, " -> ") == 8 + 2);  // and two to unbind's later outputs
  BOOST_TEST(text.find("n0 [label=\"0: leaf layer.\\\"w\\\" (3, 4)\"") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(an_empty_tape_can_be_looked_at) {
  Tape tape;
  BOOST_TEST(listing(tape).find("0 nodes, 0 bytes kept") != std::string::npos);
  BOOST_TEST(nlohmann::json::parse(to_json(tape))["nodes"].empty());
}
