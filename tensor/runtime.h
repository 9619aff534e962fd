#pragma once
// What a program sets for the whole process.

#include <cstddef>

namespace gradus {

/// How many threads an operation may use: at least 1, by default the number of cores this process
/// may run on. Results do not depend on it, bit for bit. Another number is an error.
void set_threads(int count);
int threads();

/// Gives the memory back to the system that is kept for later and holds nothing: free blocks of
/// tensors, kernels' scratch memory, buffers of ended tapes. That of the calling thread and, unless
/// they work for another thread just then, of all helpers. What other threads of the program keep,
/// and OpenBLAS's buffers, stay.
void trim();

/// How many bytes of that each thread may keep (1 GiB by default). What comes beyond goes back: of
/// the calling thread and the helpers at once, of others with the next tensor they release. With 0
/// every operation asks the system for its memory.
void set_cache_limit(size_t bytes);

}  // namespace gradus
