// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// What lies in a model store, by path below its folder, and the way to read small files of it.
struct ModelListing {
    /// Links resolved.
    let root: String
    private(set) var entries: [String: TreeEntry] = [:]
    /// In tree order.
    private(set) var paths: [String] = []

    /// Walks without opening a file. Objects that cannot be examined are left to the capture, which reports them.
    init(_ root: String, exclude: [String], _ cancellation: Cancellation) throws {
        self.root = root
        let walk = try FolderSource(
            root, FolderSource.Options(exclude: ExcludePatterns(exclude), staysOnVolume: false)
        ).walk(cancellation)
        defer { walk.close() }
        while let item = try walk.next() {
            guard item.note == nil || item.note == .cacheFolder || item.note == .mountPoint else { continue }
            let path = String(decoding: item.entry.path, as: UTF8.self)
            entries[path] = item.entry
            paths.append(path)
        }
    }

    /// The whole path, for opening.
    func place(_ path: String) -> String { path.isEmpty ? root : "\(root)/\(path)" }

    /// The size of a file; nil when there is none of that path.
    func size(_ path: String) -> UInt64? {
        guard let entry = entries[path], entry.kind == .file else { return nil }
        guard let first = entry.hardLink else { return entry.size }
        return entries[String(decoding: first, as: UTF8.self)]?.size
    }

    func hasFolder(_ path: String) -> Bool { entries[path]?.kind == .directory }

    /// Where a link leads, as a path of the listing; nil when it leads out of it.
    func target(of path: String) -> String? {
        guard let target = entries[path]?.linkTarget, target.first != 0x2F else { return nil }
        var parts = path.split(separator: "/").dropLast().map(String.init)
        for part in String(decoding: target, as: UTF8.self).split(separator: "/") where part != "." {
            if part == ".." {
                guard parts.popLast() != nil else { return nil }
            } else {
                parts.append(String(part))
            }
        }
        return parts.joined(separator: "/")
    }

    /// The content of a small file.
    func read(_ path: String, limit: Int) throws -> [UInt8] {
        let file = try OwnedDescriptor.open(place(path), O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        var bytes = [UInt8](repeating: 0, count: limit + 1)
        let count = try bytes.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, into: $0, place(path)) }
        guard count <= limit else {
            throw LifeboatError("'\(place(path))' is larger than the \(ByteCount(UInt64(limit))) such a file can have")
        }
        return Array(bytes[..<count])
    }

    func json(_ path: String, limit: Int) throws -> JSONValue {
        let bytes = try read(path, limit: limit)
        do {
            return try JSONDecoder().decode(JSONValue.self, from: Data(bytes))
        } catch {
            throw LifeboatError("'\(place(path))' is no JSON text")
        }
    }
}

extension JSONValue {
    subscript(_ name: String) -> JSONValue? {
        if case .object(let members) = self { members[name] } else { nil }
    }

    var items: [JSONValue] { if case .array(let items) = self { items } else { [] } }

    var string: String? { if case .string(let text) = self { text } else { nil } }

    /// A whole number that is not negative.
    var count: UInt64? { if case .integer(let number) = self { UInt64(exactly: number) } else { nil } }
}

extension ModelListing {
    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }
}

extension ModelListing {
    /// The names in a folder.
    static func names(in folder: String) throws -> [String] {
        do throws(Errno) {
            let opened = FolderDescriptor(
                owning: try openDescriptor(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY, mode: 0))
            let names = withUnsafeTemporaryAllocation(byteCount: 32 << 10, alignment: 16) { scratch in
                FolderNames(opened, scratch: scratch)
            }
            return names.starts.map { String(decoding: names.name(at: $0), as: UTF8.self) }
        } catch {
            throw SystemCallError("open", folder, errorNumber: error.number)
        }
    }
}
