// SPDX-License-Identifier: Apache-2.0
//
// What an implementation of the compression function provides, and the constants all of them share.
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#define LIFEBOAT_BLAKE3_X86 1
#endif

enum {
    BLOCK_SIZE = 64,
    CHUNK_SIZE = 1024,
    CHAIN_SIZE = 32,
};

/// Domain flags of a compression.
enum {
    CHUNK_START = 1,
    CHUNK_END = 2,
    PARENT = 4,
    ROOT = 8,
};

/// Inputs of equal size, hashed side by side: whole chunks, or pairs of chaining values.
struct batch {
    /// The first input; the next one lies `stride` bytes on.
    const uint8_t *input;
    size_t stride;
    /// Inputs, at least 1.
    size_t count;
    /// Blocks of 64 bytes in each input.
    size_t blocks;
    /// Counter of the first input; the next one's is `counter_step` higher.
    uint64_t counter;
    uint32_t counter_step;
    /// Flags of every block, and those added for the first and for the last.
    uint32_t flags, first_flags, last_flags;
};

struct kernel {
    /// Compresses `blocks` blocks of `length` bytes each (64, or less for a single block padded with zeros) into the
    /// chaining value. `first_flags` are added for the first block.
    void (*chain)(
        uint32_t value[8], const uint8_t *input, size_t blocks, uint32_t length, uint64_t counter, uint32_t flags,
        uint32_t first_flags);
    /// Hashes every input of the batch from the initial value; writes 32 bytes each to `output`, which must not
    /// overlap what is still to be read: writing over inputs of the same call from the front on is fine, since an
    /// output is never longer than its input.
    void (*batch)(const struct batch *batch, uint8_t *output);
};

extern const struct kernel lifeboat_blake3_portable;
#if LIFEBOAT_BLAKE3_X86
extern const struct kernel lifeboat_blake3_sse41;
extern const struct kernel lifeboat_blake3_avx2;
extern const struct kernel lifeboat_blake3_avx512;
#endif

/// The initial chaining value: that of SHA-256.
#define INITIAL_VALUE                                                                                                  \
    {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19}

/// Which message word each round takes at each place: round n + 1 is round n under the paper's permutation.
static const uint8_t schedule[7][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8},
    {3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1}, {10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6},
    {12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4}, {9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7},
    {11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13},
};
