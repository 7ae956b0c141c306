// SPDX-License-Identifier: Apache-2.0
//
// Template of a function that hashes up to LANES inputs side by side, one in each 32-bit lane of a vector. Included
// once for each vector width, with these macros defined before and forgotten after:
//   NAME LANES TARGET V                  the function's name, its lanes, its target attribute, the vector type
//   SET(word) ADD XOR                    every lane the same word; lane-wise
//   ROTATE16 ROTATE12 ROTATE8 ROTATE7    rotate every lane to the right
//   LOW32 HIGH32 LOW64 HIGH64            interleave within each 128-bit quarter
//   GATHER(rows, i, offset)              quarter q of the result: 16 bytes at rows[4q + i] + offset
//   SCATTER(v, output)                   quarter q of v to output + 4q * 32

/// Transposes the 4 x 4 words in each quarter of `v`.
__attribute__((always_inline)) TARGET static inline void NAME(_transpose)(V v[4]) {
    V a = LOW32(v[0], v[1]), b = HIGH32(v[0], v[1]), c = LOW32(v[2], v[3]), d = HIGH32(v[2], v[3]);
    v[0] = LOW64(a, c);
    v[1] = HIGH64(a, c);
    v[2] = LOW64(b, d);
    v[3] = HIGH64(b, d);
}

#define STEP(A, B, C, D, M, ROTATE_D, ROTATE_B)                                                                        \
    A = ADD(ADD(A, M), B);                                                                                             \
    D = ROTATE_D(XOR(D, A));                                                                                           \
    C = ADD(C, D);                                                                                                     \
    B = ROTATE_B(XOR(B, C));

/// Four independent halves of the mixing function, side by side so that the processor has something to do.
#define HALVES(S, M0, M1, M2, M3, ROTATE_D, ROTATE_B)                                                                  \
    STEP(v[0], v[4 + (0 + S) % 4], v[8 + (0 + 2 * S) % 4], v[12 + (0 + 3 * S) % 4], m[M0], ROTATE_D, ROTATE_B)         \
    STEP(v[1], v[4 + (1 + S) % 4], v[8 + (1 + 2 * S) % 4], v[12 + (1 + 3 * S) % 4], m[M1], ROTATE_D, ROTATE_B)         \
    STEP(v[2], v[4 + (2 + S) % 4], v[8 + (2 + 2 * S) % 4], v[12 + (2 + 3 * S) % 4], m[M2], ROTATE_D, ROTATE_B)         \
    STEP(v[3], v[4 + (3 + S) % 4], v[8 + (3 + 2 * S) % 4], v[12 + (3 + 3 * S) % 4], m[M3], ROTATE_D, ROTATE_B)

/// Columns, then diagonals.
#define ROUND(R)                                                                                                       \
    HALVES(0, schedule[R][0], schedule[R][2], schedule[R][4], schedule[R][6], ROTATE16, ROTATE12)                      \
    HALVES(0, schedule[R][1], schedule[R][3], schedule[R][5], schedule[R][7], ROTATE8, ROTATE7)                        \
    HALVES(1, schedule[R][8], schedule[R][10], schedule[R][12], schedule[R][14], ROTATE16, ROTATE12)                   \
    HALVES(1, schedule[R][9], schedule[R][11], schedule[R][13], schedule[R][15], ROTATE8, ROTATE7)

/// Hashes inputs `from ..< from + count` of the batch; `count` is 1 to LANES. Reads all inputs before it writes.
TARGET static void NAME(_lanes)(const struct batch *batch, size_t from, size_t count, uint8_t *output) {
    static const uint32_t initial[8] = INITIAL_VALUE;
    // Spare lanes repeat the last input.
    const uint8_t *rows[LANES];
    uint32_t low[LANES], high[LANES];
    for (size_t lane = 0; lane < LANES; lane++) {
        size_t place = from + (lane < count ? lane : count - 1);
        uint64_t counter = batch->counter + place * batch->counter_step;
        rows[lane] = batch->input + place * batch->stride;
        low[lane] = (uint32_t)counter;
        high[lane] = (uint32_t)(counter >> 32);
    }
    V value[8], counter_low, counter_high;
    memcpy(&counter_low, low, sizeof counter_low);
    memcpy(&counter_high, high, sizeof counter_high);
    for (int i = 0; i < 8; i++) value[i] = SET(initial[i]);

    uint32_t flags = batch->flags | batch->first_flags;
    for (size_t block = 0; block < batch->blocks; block++, flags = batch->flags) {
        if (block + 1 == batch->blocks) flags |= batch->last_flags;
        V m[16];
        for (size_t i = 0; i < 4; i++) {
            for (size_t row = 0; row < 4; row++) m[4 * i + row] = GATHER(rows, row, block * BLOCK_SIZE + 16 * i);
            NAME(_transpose)(m + 4 * i);
        }
        V v[16] = {
            value[0], value[1], value[2], value[3], value[4], value[5], value[6], value[7],
            SET(initial[0]), SET(initial[1]), SET(initial[2]), SET(initial[3]),
            counter_low, counter_high, SET(BLOCK_SIZE), SET(flags),
        };
        ROUND(0) ROUND(1) ROUND(2) ROUND(3) ROUND(4) ROUND(5) ROUND(6)
        for (int i = 0; i < 8; i++) value[i] = XOR(v[i], v[i + 8]);
    }

    NAME(_transpose)(value);
    NAME(_transpose)(value + 4);
    uint8_t spare[LANES * CHAIN_SIZE];
    uint8_t *target = count == LANES ? output : spare;
    for (size_t row = 0; row < 4; row++) {
        SCATTER(value[row], target + row * CHAIN_SIZE);
        SCATTER(value[4 + row], target + row * CHAIN_SIZE + 16);
    }
    if (count < LANES) memcpy(output, spare, count * CHAIN_SIZE);
}

#undef ROUND
#undef HALVES
#undef STEP
#undef NAME
#undef LANES
#undef TARGET
#undef V
#undef SET
#undef ADD
#undef XOR
#undef ROTATE16
#undef ROTATE12
#undef ROTATE8
#undef ROTATE7
#undef LOW32
#undef HIGH32
#undef LOW64
#undef HIGH64
#undef GATHER
#undef SCATTER
