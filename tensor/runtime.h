#pragma once
// What a program sets for the whole process.

#include <cstddef>

namespace gradus {

/// How many threads an operation may use: at least 1, by default the number of cores this process
/// may run on. Results do not depend on it, bit for bit. Another number is an error.
void set_threads(int count);
int threads();

/// Gives the memory back to the system that is kept for later and holds nothing: free blocks of
/// tensors, whichever thread released them, kernels' scratch memory, buffers of ended tapes, and
/// what malloc keeps (where the C library is glibc). Some of it belongs to a thread: the calling
/// thread's goes back and, unless they work for another thread just then, that of all helpers. Of
/// other threads of the program, free blocks (few: of each size up to 512 KiB or two blocks, none
/// above 1 MiB) go back when they next make or release a tensor; their scratch memory and buffers,
/// and OpenBLAS's, stay.
void trim();

/// How many bytes may be kept (1 GiB by default): of free blocks by all threads together, where
/// room in a thread's lists counts as if it were filled, of scratch memory and buffers by each.
/// What comes beyond goes back, and what is kept so far, as by trim(). With 0 every operation asks
/// the system for its memory.
void set_cache_limit(size_t bytes);

}  // namespace gradus
