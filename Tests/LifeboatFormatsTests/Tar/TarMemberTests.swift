// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatTesting
import Testing

@Suite struct TarMemberTests {
    private static let sizes = [0, 1, 511, 512, 513, 1024, 100_001]

    private func digest(_ number: Int) -> Digest {
        Digest(bigEndianWords: UInt64(number) &* 0x9E37_79B9_7F4A_7C15, 1, 2, UInt64(number))
    }

    /// Members of the sizes above, named by digests, without an end marker.
    private func members() throws -> (archive: [UInt8], data: [[UInt8]]) {
        var generator = SplitMix64(seed: 20)
        let data = Self.sizes.map { generator.bytes($0) }
        let writer = try TarMemberWriter()
        let total = Self.sizes.reduce(0) { $0 + TarMemberWriter.memberSize(dataSize: $1) }
        var archive = [UInt8](repeating: 0xEE, count: total)
        var offset = 0
        for (number, data) in data.enumerated() {
            offset += try data.withUnsafeBytes { data in
                try archive.withUnsafeMutableBytes { archive in
                    try writer.append(name: digest(number), data: data, to: archive, at: offset)
                }
            }
        }
        #expect(offset == total)
        return (archive, data)
    }

    private static let endMarker = [UInt8](repeating: 0, count: TarMemberWriter.endMarkerSize)

    private func read(_ bytes: [UInt8]) throws -> (members: [TarMemberReader.Member], sawEndMarker: Bool) {
        try bytes.withUnsafeBytes { bytes in
            var reader = TarMemberReader(bytes)
            var members: [TarMemberReader.Member] = []
            while let member = try reader.next() { members.append(member) }
            #expect(try reader.next() == nil)
            return (members, reader.sawEndMarker)
        }
    }

    private func kind(_ bytes: [UInt8]) -> FormatError.Kind? {
        do { _ = try read(bytes) } catch { return (error as? FormatError)?.kind }
        return nil
    }

    /// Sets the checksum field so that only what a test changed is wrong.
    private func withChecksum(_ archive: [UInt8]) -> [UInt8] {
        var archive = archive
        for index in 148..<156 { archive[index] = 0x20 }
        let digits = String(archive[0..<512].reduce(0) { $0 + Int($1) }, radix: 8).utf8
        archive.replaceSubrange(148..<156, with: Array(repeating: 0x30, count: 6 - digits.count) + digits + [0, 0x20])
        return archive
    }

    @Test func membersReadBack() throws {
        let (archive, data) = try members()
        for (bytes, marker) in [(archive, false), (archive + Self.endMarker, true)] {
            let result = try read(bytes)
            #expect(result.sawEndMarker == marker)
            #expect(result.members.map { $0.digest } == data.indices.map { digest($0) })
            #expect(result.members.map { Array(archive[$0.data]) } == data)
        }
    }

    @Test func zstdAndTarReadFramesOfMembers() throws {
        let (archive, data) = try members()
        // As a pack is cut: some members compressed, some in raw frames, the end marker in the last frame.
        let ranges = try read(archive).members.map { member in
            member.data.lowerBound - 512..<(member.data.upperBound + 511) / 512 * 512
        }
        var pack: [UInt8] = []
        for (number, range) in ranges.enumerated() {
            let member = Array(archive[range])
            pack += number % 2 == 0 ? try compressed(member) : rawFrame(member)
        }
        pack += try compressed(Self.endMarker)
        let tar = try OutsideTool.run("zstd", ["-dcq"], input: pack).standardOutput
        #expect(tar == archive + Self.endMarker)
        let listing = try OutsideTool.run("tar", ["--numeric-owner", "--utc", "-tvf", "-"], input: tar)
        #expect(listing.standardError == "")
        #expect(listing.lines.count == data.count)
        for (number, line) in listing.lines.enumerated() {
            let fields = line.split(separator: " ").map(String.init)
            #expect(
                fields == ["-rw-r--r--", "0/0", "\(Self.sizes[number])", "1970-01-01", "00:00", digest(number).hex])
        }
        let last = try OutsideTool.run("tar", ["-xOf", "-", digest(6).hex], input: tar)
        #expect(last.standardOutput == data[6])
        let names = try OutsideTool.run("bsdtar", ["-tf", "-"], input: pack)
        #expect(names.lines == data.indices.map { digest($0).hex })
    }

    @Test func sameInputGivesSameBytesFromAnyWriter() throws {
        let first = try members().archive
        let second = try members().archive
        #expect(first == second)
    }

    @Test func theHeaderAloneIsTheSameHeader() throws {
        let (archive, data) = try members()
        let writer = try TarMemberWriter()
        for (number, member) in try read(archive).members.enumerated() {
            var header = [UInt8](repeating: 0xEE, count: 512)
            try data[number].withUnsafeBytes { data in
                try header.withUnsafeMutableBytes { try writer.writeHeader(name: digest(number), for: data, to: $0) }
            }
            #expect(header == Array(archive[member.data.lowerBound - 512..<member.data.lowerBound]))
        }
    }

    @Test func textNamesAreWrittenAndLongOrEmptyOnesRefused() throws {
        let writer = try TarMemberWriter()
        var output = [UInt8](repeating: 0, count: 1024)
        let longest = String(repeating: "n", count: 100)
        try output.withUnsafeMutableBytes { output in
            try "data".utf8.withContiguousStorageIfAvailable { data in
                for name in ["x", longest] {
                    #expect(
                        try writer.append(name: name, data: UnsafeRawBufferPointer(data), to: output, at: 0) == 1024)
                    var reader = TarMemberReader(UnsafeRawBufferPointer(output))
                    let member = try #require(try reader.next())
                    #expect(member.name == name && member.data == 512..<516)
                }
                for name in ["", longest + "n", "a\0b"] {
                    #expect(throws: FormatError.self) {
                        try writer.append(name: name, data: UnsafeRawBufferPointer(data), to: output, at: 0)
                    }
                }
            }
        }
    }

    @Test func aSmallBufferIsRefusedAndTheWriterStaysUsable() throws {
        let writer = try TarMemberWriter()
        let data = [UInt8](repeating: 1, count: 600)
        var output = [UInt8](repeating: 0xEE, count: 2000)
        try data.withUnsafeBytes { data in
            try output.withUnsafeMutableBytes { output in
                for offset in [-1, 465, 2000, 2001, Int.max] {
                    #expect(throws: FormatError.self) {
                        try writer.append(name: "a", data: data, to: output, at: offset)
                    }
                }
                #expect(output.allSatisfy { $0 == 0xEE })
                let written = try writer.append(name: "a", data: data, to: output, at: 464)
                #expect(written == 1536)
            }
        }
        #expect(output[..<464].allSatisfy { $0 == 0xEE })
    }

    @Test func everyTruncationIsAnErrorOrEndsAtAMember() throws {
        let archive = Array(try members().archive.prefix(512 * 10))
        let ends = Set(
            try read(try members().archive).members.map { ($0.data.upperBound + 511) / 512 * 512 } + [0])
        for length in stride(from: 0, through: archive.count, by: 1) where length % 64 < 2 {
            let result = kind(Array(archive[..<length]))
            #expect(result == (ends.contains(length) ? nil : .truncated), "length \(length)")
        }
    }

    @Test func everyFlippedHeaderByteIsAnError() throws {
        var archive = Array(try members().archive.prefix(512 + 1024))
        for position in 0..<512 {
            for bit in [0, 3, 7] {
                archive[position] ^= 1 << UInt8(bit)
                #expect(kind(archive) != nil, "byte \(position) bit \(bit)")
                archive[position] ^= 1 << UInt8(bit)
            }
        }
        #expect(kind(archive) == nil)
    }

    @Test func aLongNameIsKeptInTwoFields() throws {
        let folder = "patches/" + String(repeating: "a", count: 129)
        let name = "\(folder)/\(String(repeating: "b", count: 68))"
        var archive = [UInt8](repeating: 0, count: 1024)
        try archive.withUnsafeMutableBytes { output in
            try Array("x".utf8).withUnsafeBytes { data in
                _ = try TarMemberWriter().append(name: name, data: data, to: output, at: 0)
            }
        }
        #expect(try read(archive).members.map(\.name) == [name])
        let listed = try OutsideTool.run("tar", ["-tf", "-"], input: archive + [UInt8](repeating: 0, count: 1024))
        #expect(String(decoding: listed.standardOutput, as: UTF8.self) == "\(name)\n")
    }

    @Test func otherMembersAreRefusedEvenWithAGoodChecksum() throws {
        let archive = Array(try members().archive.prefix(512 + 1024))
        func changed(_ position: Int, _ bytes: [UInt8]) -> [UInt8] {
            var copy = archive
            copy.replaceSubrange(position..<position + bytes.count, with: bytes)
            return withChecksum(copy)
        }
        #expect(kind(withChecksum(archive)) == nil)
        #expect(kind(changed(156, [0x35])) == .unsupported, "a folder")
        #expect(kind(changed(156, [0x78])) == .unsupported, "a pax header")
        #expect(kind(changed(157, [0x61])) == .unsupported, "a link name")
        #expect(kind(changed(345, [0x61])) == nil, "a folder before the name")
        #expect(kind(changed(346, [0x61])) == .damaged, "bytes behind an empty folder")
        #expect(kind(changed(345, [0x0A])) == .damaged, "a newline in the folder")
        #expect(kind(changed(257, Array("ustar  \0".utf8))) == .damaged, "the GNU format")
        #expect(kind(changed(0, [0])) == .damaged, "no name")
        #expect(kind(changed(0, [0x0A])) == .damaged, "a newline in the name")
        #expect(kind(changed(70, [0x61])) == .damaged, "bytes behind the name")
        #expect(kind(changed(124, [0x80])) == .damaged, "a base-256 size")
        #expect(kind(changed(124, Array("00000000009".utf8))) == .damaged, "a decimal size")
        #expect(kind(changed(124, Array("777777777777".utf8))) == .truncated, "a huge size")
        #expect(kind(changed(124, Array(repeating: 0x20, count: 12))) == .damaged, "no size")
    }

    @Test func paddingAndEndMarkerAreChecked() throws {
        let archive = try members().archive
        let member = try #require(try read(archive).members.first { $0.data.count == 513 })
        var padded = archive
        padded[member.data.upperBound] = 1
        #expect(kind(padded) == .damaged)
        #expect(kind(archive + Self.endMarker + [0]) == .damaged)
        #expect(kind(archive + Self.endMarker.dropLast(512)) == .truncated)
        #expect(kind(Self.endMarker) == nil)
        #expect(kind([]) == nil)
    }
}
