// SPDX-License-Identifier: Apache-2.0
//
// The tree above the compression function.
//
// Chunks are the leaves of a binary tree; chunk i stands at place i of level 0, and the nodes 2j and 2j + 1 of a level
// are the children of node j of the next. A last node without a sibling moves up unchanged: that is BLAKE3's rule that
// a left subtree is the largest power of two of chunks that leaves something for the right.

#include <string.h>

#include "CBlake3.h"
#include "kernel.h"

/// Chunks hashed in one go: enough that the narrow upper levels of their tree cost little beside the leaves.
enum { BATCH_CHUNKS = 256 };

static const struct kernel *kernel_of(lifeboat_blake3_kind kind) {
    switch (kind) {
#if LIFEBOAT_BLAKE3_X86
    case LIFEBOAT_BLAKE3_SSE41: return &lifeboat_blake3_sse41;
    case LIFEBOAT_BLAKE3_AVX2: return &lifeboat_blake3_avx2;
    case LIFEBOAT_BLAKE3_AVX512: return &lifeboat_blake3_avx512;
#endif
    default: return &lifeboat_blake3_portable;
    }
}

static void store_words(uint8_t *bytes, const uint32_t words[8]) {
    for (int i = 0; i < 8; i++, bytes += 4) {
        bytes[0] = (uint8_t)words[i];
        bytes[1] = (uint8_t)(words[i] >> 8);
        bytes[2] = (uint8_t)(words[i] >> 16);
        bytes[3] = (uint8_t)(words[i] >> 24);
    }
}

/// Hashes one chunk of 0 to 1,024 bytes.
static void hash_chunk(
    const struct kernel *kernel, const uint8_t *input, size_t length, uint64_t counter, uint32_t last_flags,
    uint8_t *output) {
    uint32_t value[8] = INITIAL_VALUE;
    uint32_t first_flags = CHUNK_START;
    size_t before = length == 0 ? 0 : (length - 1) / BLOCK_SIZE;
    if (before > 0) {
        kernel->chain(value, input, before, BLOCK_SIZE, counter, 0, first_flags);
        first_flags = 0;
    }
    size_t rest = length - before * BLOCK_SIZE;
    const uint8_t *last = input + before * BLOCK_SIZE;
    uint8_t padded[BLOCK_SIZE];
    if (rest < BLOCK_SIZE) {
        memset(padded, 0, sizeof padded);
        if (rest > 0) memcpy(padded, last, rest);
        last = padded;
    }
    kernel->chain(value, last, 1, (uint32_t)rest, counter, CHUNK_END | last_flags, first_flags);
    store_words(output, value);
}

/// Hashes the chaining values at `children` (64 bytes) into their parent's; `parent` may be `children`.
static void hash_parent(const struct kernel *kernel, const uint8_t *children, uint32_t last_flags, uint8_t *parent) {
    uint32_t value[8] = INITIAL_VALUE;
    kernel->chain(value, children, 1, BLOCK_SIZE, 0, PARENT | last_flags, 0);
    store_words(parent, value);
}

/// Merges siblings on the stack, which covers the chunks up to `start`. Only to be called when more input follows:
/// that proves that no parent made here is the root.
static void merge(lifeboat_blake3_hasher *hasher, const struct kernel *kernel, uint64_t start) {
    uint32_t complete = (uint32_t)__builtin_popcountll(start);
    while (hasher->depth > complete) {
        uint8_t *children = hasher->stack + (hasher->depth - 2) * CHAIN_SIZE;
        hash_parent(kernel, children, 0, children);
        hasher->depth--;
    }
}

/// Appends a subtree whose first chunk is number `start`.
static void push(lifeboat_blake3_hasher *hasher, const struct kernel *kernel, uint64_t start, const uint8_t *value) {
    merge(hasher, kernel, start);
    memcpy(hasher->stack + hasher->depth * CHAIN_SIZE, value, CHAIN_SIZE);
    hasher->depth++;
}

/// Hashes `count` whole chunks (1 to BATCH_CHUNKS) and pushes the subtrees they make, at least two of them or with at
/// least one below. Must not be called with the only chunk of an input.
static void push_chunks(
    lifeboat_blake3_hasher *hasher, const struct kernel *kernel, const uint8_t *input, size_t count) {
    uint8_t level[BATCH_CHUNKS * CHAIN_SIZE];
    kernel->batch(
        &(struct batch){
            .input = input, .stride = CHUNK_SIZE, .count = count, .blocks = CHUNK_SIZE / BLOCK_SIZE,
            .counter = hasher->chunks, .counter_step = 1, .first_flags = CHUNK_START, .last_flags = CHUNK_END},
        level);

    // `nodes[0 ..< count]` are the nodes of the level from place `place` on, each over `1 << height` chunks. A first
    // node that is a right child belongs to the stack at once; a last one that is a left child after all the others.
    uint8_t *nodes = level;
    uint64_t place = hasher->chunks;
    unsigned height = 0;
    struct {
        uint64_t start;
        uint8_t value[CHAIN_SIZE];
    } late[8];
    unsigned late_count = 0;
    hasher->chunks += count;
    while (count > 2) {
        if (place & 1) {
            push(hasher, kernel, place << height, nodes);
            nodes += CHAIN_SIZE;
            place++;
            count--;
        }
        if (count & 1) {
            count--;
            late[late_count].start = (place + count) << height;
            memcpy(late[late_count].value, nodes + count * CHAIN_SIZE, CHAIN_SIZE);
            late_count++;
        }
        count /= 2;
        place /= 2;
        height++;
        kernel->batch(
            &(struct batch){
                .input = nodes, .stride = 2 * CHAIN_SIZE, .count = count, .blocks = 1, .flags = PARENT},
            nodes);
    }
    for (size_t i = 0; i < count; i++) push(hasher, kernel, (place + i) << height, nodes + i * CHAIN_SIZE);
    while (late_count > 0) {
        late_count--;
        push(hasher, kernel, late[late_count].start, late[late_count].value);
    }
}

void lifeboat_blake3_init(lifeboat_blake3_hasher *hasher, lifeboat_blake3_kind kind) {
    hasher->chunks = 0;
    hasher->buffered = 0;
    hasher->depth = 0;
    hasher->kind = kind;
}

void lifeboat_blake3_update(lifeboat_blake3_hasher *hasher, const void *bytes, size_t length) {
    if (length == 0) return;
    const struct kernel *kernel = kernel_of(hasher->kind);
    const uint8_t *input = bytes;
    if (hasher->buffered > 0) {
        size_t taken = CHUNK_SIZE - hasher->buffered;
        if (taken > length) taken = length;
        memcpy(hasher->buffer + hasher->buffered, input, taken);
        hasher->buffered += (uint32_t)taken;
        input += taken;
        length -= taken;
        if (length == 0) return;
        uint8_t value[CHAIN_SIZE];
        hash_chunk(kernel, hasher->buffer, CHUNK_SIZE, hasher->chunks, 0, value);
        push(hasher, kernel, hasher->chunks, value);
        hasher->chunks++;
        hasher->buffered = 0;
    }
    // A chunk with nothing after it waits in the buffer: it may be the root.
    while (length > CHUNK_SIZE) {
        size_t count = length / CHUNK_SIZE;
        if (count > BATCH_CHUNKS) count = BATCH_CHUNKS;
        push_chunks(hasher, kernel, input, count);
        input += count * CHUNK_SIZE;
        length -= count * CHUNK_SIZE;
    }
    if (length > 0) {
        merge(hasher, kernel, hasher->chunks);
        memcpy(hasher->buffer, input, length);
        hasher->buffered = (uint32_t)length;
    }
}

lifeboat_blake3_digest lifeboat_blake3_finalize(const lifeboat_blake3_hasher *hasher) {
    const struct kernel *kernel = kernel_of(hasher->kind);
    lifeboat_blake3_digest digest;
    uint32_t depth = hasher->depth;
    uint8_t children[2 * CHAIN_SIZE];
    // From the right end of the tree up to its root. When there is a chunk in the buffer, nothing on the stack is left
    // to merge; when there is none, only the two topmost may be siblings.
    if (hasher->buffered > 0 || depth == 0) {
        uint32_t root = depth == 0 ? ROOT : 0;
        hash_chunk(kernel, hasher->buffer, hasher->buffered, hasher->chunks, root, digest.bytes);
    } else {
        depth--;
        memcpy(digest.bytes, hasher->stack + depth * CHAIN_SIZE, CHAIN_SIZE);
    }
    while (depth > 0) {
        depth--;
        memcpy(children, hasher->stack + depth * CHAIN_SIZE, CHAIN_SIZE);
        memcpy(children + CHAIN_SIZE, digest.bytes, CHAIN_SIZE);
        hash_parent(kernel, children, depth == 0 ? ROOT : 0, digest.bytes);
    }
    return digest;
}

lifeboat_blake3_digest lifeboat_blake3_hash(const void *bytes, size_t length, lifeboat_blake3_kind kind) {
    if (length <= CHUNK_SIZE) {
        lifeboat_blake3_digest digest;
        hash_chunk(kernel_of(kind), bytes, length, 0, ROOT, digest.bytes);
        return digest;
    }
    lifeboat_blake3_hasher hasher;
    lifeboat_blake3_init(&hasher, kind);
    lifeboat_blake3_update(&hasher, bytes, length);
    return lifeboat_blake3_finalize(&hasher);
}
