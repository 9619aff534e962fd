#pragma once
#include <cstdint>
#include <span>
#include <string>

namespace gradus::fuzz {

/// Gives the bytes, but for the first, which chooses, to a reader of files: safetensors, IDX, gzip
/// from memory, a checkpoint, CSV, npy, npz. Returns what is wrong: an exception that is no Error,
/// or tensors that come back otherwise than they were read; empty if nothing is.
std::string read_file_of(std::span<const uint8_t> bytes);

}  // namespace gradus::fuzz
