#pragma once
#include <string>
#include <vector>

namespace gradus::bench {

/// A row of the race: what a step of it cannot do without, and how far ahead Gradus should be.
struct RowInfo {
  std::string name;
  double flops;   ///< of products and convolutions, computed directly
  double bytes;   ///< read and written at least; see row_list.cc
  double target;  ///< best peer's time over ours, at least
  /// How many times faster than libtorch DyNet is (built from source on an AVX-512 Xeon beside
  /// libtorch 1.13); 0: slower than others there, or not able to.
  double dynet = 0;
  double share = 0;  ///< of the bound over our time, at least
};

std::vector<RowInfo> row_list();

}  // namespace gradus::bench
