// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import Testing

@Suite struct ByteCountTests {
    @Test(
        arguments: [
            (0, "0 B"), (1, "1 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (29_360_128, "28.0 MiB"),
            // The rounding never shows 1024.0 of a unit.
            (1_048_524, "1023.9 KiB"), (1_048_525, "1.0 MiB"), (1_048_575, "1.0 MiB"), (1_048_576, "1.0 MiB"),
            (1 << 30, "1.0 GiB"), (1 << 40, "1.0 TiB"), (1 << 50, "1.0 PiB"), (1 << 60, "1.0 EiB"),
            (.max, "16.0 EiB"),
        ] as [(UInt64, String)])
    func printsInBinaryUnits(bytes: UInt64, text: String) {
        #expect(ByteCount(bytes).description == text)
    }

    @Test func comparesByNumberNotByText() {
        #expect(ByteCount(1023) < ByteCount(1024))
        #expect([ByteCount(1 << 20), ByteCount(5), ByteCount(2000)].sorted().map(\.bytes) == [5, 2000, 1 << 20])
    }
}
