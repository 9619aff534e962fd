#pragma once
#include <gradus/autograd/tape.h>

#include <string>

namespace gradus {

/// The tape as text, a line for each node: index, op (or leaf) and name, inputs, shape and dtype,
/// the shapes and bytes kept for the backward, and whether a gradient has reached it. Last line:
/// the number of nodes and the bytes kept in all, shared memory counted once.
std::string listing(const Tape& tape);

/// The tape as a graph for Graphviz: `dot -Tsvg tape.dot > tape.svg`.
std::string to_dot(const Tape& tape);

/// The tape as JSON: {"kept_bytes", "nodes": [{"index", "op", "output", "name", "shape", "dtype",
/// "inputs", "kept", "kept_bytes", "reached"}]}; an input that needs no gradient is null.
std::string to_json(const Tape& tape);

}  // namespace gradus
