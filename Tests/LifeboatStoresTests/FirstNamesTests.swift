// SPDX-License-Identifier: Apache-2.0

import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

@Suite struct FirstNamesTests {
    /// Files with 2 to 4 names each, met in random order: the same answers as from a dictionary, whatever fits into
    /// memory.
    @Test(arguments: [0, 10, 100_000]) func everyNameFindsTheFirst(memoryLimit: Int) throws {
        var random = SplitMix64(seed: 31)
        var names: [(file: UInt64, links: UInt32, path: [UInt8])] = []
        for file in 1...2000 as ClosedRange<UInt64> {
            let links = UInt32.random(in: 2...4, using: &random)
            for name in 0..<links { names.append((file, links, Array("folder \(name)/\(file)".utf8))) }
        }
        names.shuffle(using: &random)
        let firstNames = FirstNames(memoryLimit: memoryLimit)
        var expected: [UInt64: [UInt8]] = [:]
        for name in names {
            var status = FileStatus()
            status.inode = name.file
            status.volume = name.file & 1
            status.links = name.links
            status.size = name.file * 10
            #expect(try firstNames.firstName(status, name.path) == expected[name.file])
            if expected[name.file] == nil { expected[name.file] = name.path }
        }
    }

    /// Another size is another file, which got the number of one that was deleted.
    @Test(arguments: [0, 10]) func anotherFileWithTheSameNumberIsNoLink(memoryLimit: Int) throws {
        let firstNames = FirstNames(memoryLimit: memoryLimit)
        var status = FileStatus()
        status.inode = 5
        status.links = 3
        #expect(try firstNames.firstName(status, [1]) == nil)
        #expect(try firstNames.firstName(status, [2]) == [1])
        status.size = 9
        #expect(try firstNames.firstName(status, [3]) == nil)
        #expect(try firstNames.firstName(status, [4]) == [3])
        #expect(try firstNames.firstName(status, [5]) == [3])
        // All names were met: the next one is a first name again.
        #expect(try firstNames.firstName(status, [6]) == nil)
    }
}
