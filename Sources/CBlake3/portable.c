// SPDX-License-Identifier: Apache-2.0
//
// Plain C11: for every machine, and what the SIMD kernels are tested against.

#include "kernel.h"

static inline uint32_t load_word(const uint8_t *bytes) {
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static inline void store_word(uint8_t *bytes, uint32_t word) {
    bytes[0] = (uint8_t)word;
    bytes[1] = (uint8_t)(word >> 8);
    bytes[2] = (uint8_t)(word >> 16);
    bytes[3] = (uint8_t)(word >> 24);
}

static inline uint32_t rotate(uint32_t word, int count) { return word >> count | word << (32 - count); }

static inline void mix(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d, uint32_t x, uint32_t y) {
    *a = *a + *b + x;
    *d = rotate(*d ^ *a, 16);
    *c = *c + *d;
    *b = rotate(*b ^ *c, 12);
    *a = *a + *b + y;
    *d = rotate(*d ^ *a, 8);
    *c = *c + *d;
    *b = rotate(*b ^ *c, 7);
}

static void chain(
    uint32_t value[8], const uint8_t *input, size_t blocks, uint32_t length, uint64_t counter, uint32_t flags,
    uint32_t first_flags) {
    for (uint32_t added = first_flags; blocks > 0; blocks--, input += BLOCK_SIZE, added = 0) {
        uint32_t m[16];
        for (int i = 0; i < 16; i++) m[i] = load_word(input + 4 * i);
        uint32_t v[16] = INITIAL_VALUE;
        for (int i = 0; i < 4; i++) v[8 + i] = v[i];
        for (int i = 0; i < 8; i++) v[i] = value[i];
        v[12] = (uint32_t)counter;
        v[13] = (uint32_t)(counter >> 32);
        v[14] = length;
        v[15] = flags | added;
        for (int round = 0; round < 7; round++) {
            const uint8_t *s = schedule[round];
            mix(&v[0], &v[4], &v[8], &v[12], m[s[0]], m[s[1]]);
            mix(&v[1], &v[5], &v[9], &v[13], m[s[2]], m[s[3]]);
            mix(&v[2], &v[6], &v[10], &v[14], m[s[4]], m[s[5]]);
            mix(&v[3], &v[7], &v[11], &v[15], m[s[6]], m[s[7]]);
            mix(&v[0], &v[5], &v[10], &v[15], m[s[8]], m[s[9]]);
            mix(&v[1], &v[6], &v[11], &v[12], m[s[10]], m[s[11]]);
            mix(&v[2], &v[7], &v[8], &v[13], m[s[12]], m[s[13]]);
            mix(&v[3], &v[4], &v[9], &v[14], m[s[14]], m[s[15]]);
        }
        for (int i = 0; i < 8; i++) value[i] = v[i] ^ v[i + 8];
    }
}

static void hash_batch(const struct batch *batch, uint8_t *output) {
    for (size_t i = 0; i < batch->count; i++) {
        const uint8_t *input = batch->input + i * batch->stride;
        uint64_t counter = batch->counter + i * batch->counter_step;
        uint32_t first = batch->first_flags;
        uint32_t value[8] = INITIAL_VALUE;
        if (batch->blocks > 1) {
            chain(value, input, batch->blocks - 1, BLOCK_SIZE, counter, batch->flags, first);
            first = 0;
        }
        chain(
            value, input + (batch->blocks - 1) * BLOCK_SIZE, 1, BLOCK_SIZE, counter, batch->flags | batch->last_flags,
            first);
        for (int word = 0; word < 8; word++) store_word(output + CHAIN_SIZE * i + 4 * (size_t)word, value[word]);
    }
}

const struct kernel lifeboat_blake3_portable = {chain, hash_batch};
