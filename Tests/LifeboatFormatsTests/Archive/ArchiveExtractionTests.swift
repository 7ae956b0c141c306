// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatTesting
import Testing

/// Other tools read what `ArchiveWriter` writes.
@Suite struct ArchiveExtractionTests {
    private func status(_ path: [UInt8]) throws -> stat {
        var status = stat()
        let result = path.map { CChar(bitPattern: $0) } + [0]
        try #require(lstat(result, &status) == 0, "\(String(decoding: path, as: UTF8.self))")
        return status
    }

    private func contents(_ path: [UInt8]) throws -> [UInt8] {
        let file = open(path.map { CChar(bitPattern: $0) } + [0], O_RDONLY)
        try #require(file >= 0)
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: Int(try status(path).st_size))
        let count = try bytes.withUnsafeMutableBytes { try DescriptorIO.read(file, into: $0, "extracted") }
        #expect(count == bytes.count)
        return bytes
    }

    /// What the file of an entry reads as, holes included.
    private func logicalContents(_ item: TreeEntry, _ data: [UInt8]) -> [UInt8] {
        guard let extents = item.extents else { return data }
        var bytes = [UInt8](repeating: 0, count: Int(item.size))
        var position = 0
        for extent in extents {
            let length = Int(extent.length)
            let start = Int(extent.offset)
            bytes.replaceSubrange(start..<start + length, with: data[position..<position + length])
            position += length
        }
        return bytes
    }

    /// Compares what a tool extracted below `folder` with the tree.
    private func compare(_ tree: ArchiveTree, _ folder: String, _ format: ArchiveWriter.Format) throws {
        let kinds: [TreeEntry.Kind: mode_t] = [
            .file: S_IFREG, .directory: S_IFDIR, .symbolicLink: S_IFLNK, .fifo: S_IFIFO, .characterDevice: S_IFCHR,
        ]
        for (item, data) in tree.entries where ArchiveWriter.refusal(of: item, in: format) == nil {
            let path = Array("\(folder)/".utf8) + item.path
            let name = String(decoding: item.path, as: UTF8.self)
            let status = try status(path)
            #expect(status.st_mode & S_IFMT == kinds[item.kind], "\(name)")
            if item.kind != .symbolicLink { #expect(status.st_mode & 0o7777 == mode_t(item.mode), "\(name)") }
            if item.kind == .characterDevice { #expect(status.st_rdev == 1 << 8 | 3) }
            if format == .zip {
                if item.kind == .file {
                    #expect(status.st_mtim.tv_sec == Int(item.modificationTime.seconds), "\(name)")
                }
            } else if !item.path.isEmpty {
                // bsdtar leaves the time of the folder it extracts into alone.
                #expect(status.st_uid == 1234 && status.st_gid == 5678, "\(name)")
                #expect(status.st_mtim.tv_sec == Int(item.modificationTime.seconds), "\(name)")
                #expect(status.st_mtim.tv_nsec == Int(item.modificationTime.nanoseconds), "\(name)")
            }
            if let target = item.hardLink {
                let first = try self.status(Array("\(folder)/".utf8) + target)
                #expect(first.st_ino == status.st_ino && status.st_nlink == 2, "\(name)")
            } else if item.kind == .file {
                let same = try contents(path) == logicalContents(item, data)
                #expect(same, "\(name)")
                if format != .zip, item.extents != nil { #expect(Int(status.st_blocks) * 512 < 1 << 20, "\(name)") }
            }
            if let target = item.linkTarget {
                var buffer = [CChar](repeating: 0, count: 4096)
                let count = readlink(path.map { CChar(bitPattern: $0) } + [0], &buffer, buffer.count)
                #expect(buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) } == target)
            }
        }
    }

    private func withFolders(_ body: (_ archive: String, _ target: String) throws -> Void) throws {
        let folder = try TemporaryFolder()
        try #require(mkdir("\(folder.path)/target", 0o755) == 0)
        do { try body("\(folder.path)/archive", "\(folder.path)/target") } catch {
            try folder.remove()
            throw error
        }
        try folder.remove()
    }

    @Test(
        .enabled(if: getuid() == 0, "owners and devices need root"),
        arguments: [ArchiveWriter.Format.tar, .tarZstandard(level: 3, threads: 2)])
    func bsdtarExtractsEverything(format: ArchiveWriter.Format) throws {
        let tree = ArchiveTree.everything()
        try withFolders { archive, target in
            #expect(try tree.write(format, to: archive) == [])
            _ = try OutsideTool.run(
                "bsdtar", ["--numeric-owner", "-S", "--acls", "--xattrs", "-xpf", archive, "-C", target])
            try compare(tree, target, format)
            let attributes = try OutsideTool.run("getfattr", ["-d", "-e", "hex", "\(target)/docs/text"])
            #expect(attributes.lines.contains("user.binary=0x00013d0aff"))
            #expect(attributes.lines.contains("user.comment=0x61206e6f7465"))
        }
    }

    @Test(
        .enabled(if: getuid() == 0, "owners and devices need root"),
        arguments: [ArchiveWriter.Format.tar, .tarZstandard(level: 1, threads: 1)])
    func gnuTarExtractsEverything(format: ArchiveWriter.Format) throws {
        let tree = ArchiveTree.everything()
        try withFolders { archive, target in
            try tree.write(format, to: archive)
            let options = [
                "--numeric-owner", "--xattrs", "--warning=no-unknown-keyword", "-xpf", archive, "-C", target,
            ]
            _ = try OutsideTool.run("tar", (format == .tar ? [] : ["--zstd"]) + options)
            try compare(tree, target, format)
            let attributes = try OutsideTool.run("getfattr", ["-d", "-e", "hex", "\(target)/docs/text"])
            #expect(attributes.lines.contains("user.binary=0x00013d0aff"))
        }
    }

    @Test func `GNU tar has nothing to remark about an archive of UTF-8 names`() throws {
        var tree = ArchiveTree()
        tree.add("docs", .directory, mode: 0o755)
        for name in ["umlaut-\u{E4}", String(repeating: "long/", count: 40) + "name", "\u{65E5}\u{672C}"] {
            tree.add("docs/\(name)", .file, mode: 0o644, data: Array("hello\n".utf8)) {
                $0.extendedAttributes = [
                    TreeEntry.ExtendedAttribute(name: Array("user.comment".utf8), value: Array("a note".utf8))
                ]
            }
        }
        tree.add("docs/link", .symbolicLink, mode: 0o777) { $0.linkTarget = Array("umlaut-\u{E4}".utf8) }
        tree.add("docs/hard", .file, mode: 0o644) { $0.hardLink = Array("docs/umlaut-\u{E4}".utf8) }
        try withFolders { archive, target in
            #expect(try tree.write(.tar, to: archive) == [])
            let listing = try OutsideTool.run("tar", ["--quoting-style=literal", "-tf", archive])
            #expect(listing.standardError == "")
            #expect(listing.lines.contains("docs/umlaut-\u{E4}"))
            let extraction = try OutsideTool.run("tar", ["--no-same-owner", "--xattrs", "-xf", archive, "-C", target])
            #expect(extraction.standardError == "")
        }
    }

    @Test func unzipExtractsFilesFoldersAndLinks() throws {
        var tree = ArchiveTree()
        var random = SplitMix64(seed: 41)
        tree.add("docs", .directory, mode: 0o750)
        tree.add("docs/large", .file, mode: 0o600, data: random.bytes(500_000))
        tree.add("docs/link", .symbolicLink, mode: 0o777) { $0.linkTarget = Array("large".utf8) }
        tree.add("docs/sparse", .file, mode: 0o644, data: [1, 2, 3]) { item in
            item.size = 1 << 20
            item.extents = [TreeEntry.Extent(offset: 500_000, length: 3)]
        }
        tree.add("docs/text", .file, mode: 0o755, data: Array(String(repeating: "text ", count: 1000).utf8))
        tree.add("docs/umlaut-\u{E4}", .file, mode: 0o644, data: [])
        tree.add("fifo", .fifo, mode: 0o644)
        try withFolders { archive, target in
            #expect(try tree.write(.zip, to: archive) == [])
            _ = try OutsideTool.run("unzip", ["-q", "-K", archive, "-d", target])
            // unzip names files by the locale; Python by what the archive says.
            var plain = tree
            plain.entries.removeAll { $0.item.path.contains { $0 > 0x7F } }
            try compare(plain, target, .zip)
            let script =
                "import sys,zipfile;z=zipfile.ZipFile(sys.argv[1]);print(z.testzip());print(ascii(z.namelist()))"
            let python = try OutsideTool.run("python3", ["-c", script, archive])
            let names = "['docs/', 'docs/large', 'docs/link', 'docs/sparse', 'docs/text', 'docs/umlaut-\\xe4']"
            #expect(python.lines == ["None", names])
        }
    }

    @Test func accessControlListsAndFileFlagsAreThere() throws {
        func list(_ entries: [(tag: UInt8, permissions: UInt8, id: UInt32)]) -> [UInt8] {
            entries.reduce(into: [2, 0, 0, 0]) { bytes, entry in
                bytes += [entry.tag, 0, entry.permissions, 0]
                bytes += (0..<4).map { UInt8(truncatingIfNeeded: entry.id >> UInt32(8 * $0)) }
            }
        }
        let none = UInt32.max
        let access = list([(1, 7, none), (2, 5, 1001), (4, 4, none), (8, 6, 2002), (0x10, 6, none), (0x20, 0, none)])
        let inherited = list([(1, 7, none), (2, 7, 1001), (4, 5, none), (0x10, 7, none), (0x20, 4, none)])
        var tree = ArchiveTree()
        tree.add("shared", .directory, mode: 0o760) {
            $0.extendedAttributes = [
                TreeEntry.ExtendedAttribute(name: Array("system.posix_acl_access".utf8), value: access),
                TreeEntry.ExtendedAttribute(name: Array("system.posix_acl_default".utf8), value: inherited),
            ]
        }
        // FS_NODUMP_FL.
        tree.add("skipped", .file, mode: 0o644, data: [1]) { $0.fileFlags = 0x40 }
        try withFolders { archive, target in
            #expect(try tree.write(.tar, to: archive) == [])
            let bytes = try contents(Array(archive.utf8))
            let records = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
            #expect(records.contains { $0.contains("SCHILY.acl.access=") && $0.contains("user:1001:r-x") })
            #expect(records.contains { $0.contains("SCHILY.acl.default=") && $0.contains("user:1001:rwx") })
            #expect(records.contains { $0.contains("SCHILY.fflags=nodump") })
            _ = try OutsideTool.run("bsdtar", ["--numeric-owner", "--acls", "-xpf", archive, "-C", target])
            let facl = try OutsideTool.run("getfacl", ["-n", "-p", "-E", "\(target)/shared"])
            for line in [
                "user::rwx", "user:1001:r-x", "group::r--", "group:2002:rw-", "mask::rw-", "other::---",
                "default:user:1001:rwx", "default:group::r-x", "default:other::r--",
            ] {
                #expect(facl.lines.contains(line), "\(line)")
            }
        }
    }
}
