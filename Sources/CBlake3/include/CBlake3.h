// SPDX-License-Identifier: Apache-2.0
//
// Unkeyed BLAKE3 with a 32-byte digest. Written from the BLAKE3 paper ("BLAKE3: one function, fast everywhere",
// O'Connor, Aumasson, Neves, Wilcox-O'Hearn). All functions may be called from any thread; a hasher is used by one
// thread at a time.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// The implementations, ordered by speed. Every one gives the same digests.
typedef enum {
    LIFEBOAT_BLAKE3_PORTABLE = 0,
    LIFEBOAT_BLAKE3_SSE41 = 1,
    LIFEBOAT_BLAKE3_AVX2 = 2,
    LIFEBOAT_BLAKE3_AVX512 = 3,
} lifeboat_blake3_kind;

/// A tree of at most 2^54 chunks of 1,024 bytes has that many levels; the two children of its top are kept apart.
#define LIFEBOAT_BLAKE3_DEPTH 55

typedef struct {
    uint8_t bytes[32];
} lifeboat_blake3_digest;

/// Ready after lifeboat_blake3_init; holds no pointer to itself, so it may be copied.
typedef struct {
    /// Whole chunks that are in `stack` already.
    uint64_t chunks;
    /// Bytes in `buffer`: the current chunk, which may be full.
    uint32_t buffered;
    /// Subtrees in `stack`.
    uint32_t depth;
    lifeboat_blake3_kind kind;
    uint8_t buffer[1024];
    /// Chaining values of finished subtrees, from left to right, 32 bytes each.
    uint8_t stack[LIFEBOAT_BLAKE3_DEPTH * 32];
} lifeboat_blake3_hasher;

/// Whether this processor and kernel can run `kind`.
bool lifeboat_blake3_supports(lifeboat_blake3_kind kind);

/// The fastest supported implementation.
lifeboat_blake3_kind lifeboat_blake3_fastest(void);

/// Hashes `length` bytes with `kind`, which must be supported. `bytes` may be null when `length` is 0.
lifeboat_blake3_digest lifeboat_blake3_hash(const void *bytes, size_t length, lifeboat_blake3_kind kind);

/// Makes `hasher` the hasher of nothing yet, with `kind`, which must be supported. Touches only its head.
void lifeboat_blake3_init(lifeboat_blake3_hasher *hasher, lifeboat_blake3_kind kind);

/// Appends `length` bytes. `bytes` may be null when `length` is 0.
void lifeboat_blake3_update(lifeboat_blake3_hasher *hasher, const void *bytes, size_t length);

/// The digest of all bytes so far. Leaves `hasher` as it is: more may be appended.
lifeboat_blake3_digest lifeboat_blake3_finalize(const lifeboat_blake3_hasher *hasher);
