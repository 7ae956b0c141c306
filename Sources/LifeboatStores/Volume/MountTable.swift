// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// The file systems this process sees, as /proc/self/mountinfo lists them (proc(5)).
enum MountTable {
    struct Mount: Equatable {
        /// Where it is mounted, octal escapes undone.
        var point: String
        /// `ext4`, `nfs4` …
        var type: String
        /// A device, `server:/export` …
        var source: String
    }

    static func read() throws -> [Mount] {
        let file = try OwnedDescriptor.open("/proc/self/mountinfo", O_RDONLY)
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = try buffer.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, into: $0, "mountinfo") }
            text += buffer[..<count]
            if count < buffer.count { break }
        }
        return text.split(separator: 0x0A).compactMap { line in mount(line.split(separator: 0x20)) }
    }

    /// Field 5 is the mount point; type and source follow a lone `-`.
    private static func mount(_ fields: [ArraySlice<UInt8>]) -> Mount? {
        guard fields.count > 4 else { return nil }
        let rest = fields.dropFirst(5).drop { !$0.elementsEqual([0x2D]) }.dropFirst()
        func text(_ field: ArraySlice<UInt8>?) -> String { VolumePlace.unescaped(Array(field ?? [])) }
        return Mount(point: text(fields[4]), type: text(rest.first), source: text(rest.dropFirst().first))
    }

    /// File systems that are made anew at every start, and say nothing about where data lies.
    private static let passing: Set<String> = ["tmpfs", "ramfs", "overlay", "devtmpfs", "rootfs"]

    /// What identifies the file system a folder (links resolved) lies on across restarts, for people too: its mount
    /// point and type, and of a network its source. Nil for the root's, and when nobody can tell.
    static func identity(of folder: String) -> String? {
        guard let mounts = try? read() else { return nil }
        let above = mounts.last { mount in
            mount.point == folder || folder.hasPrefix(mount.point == "/" ? "/" : "\(mount.point)/")
        }
        // The longest point wins; of several at one point the last.
        var best = above
        for mount in mounts where mount.point == folder || folder.hasPrefix("\(mount.point)/") {
            if mount.point.utf8.count >= best?.point.utf8.count ?? 0 { best = mount }
        }
        guard let best, best.point != "/", !passing.contains(best.type) else { return nil }
        // Names of devices change from start to start; addresses of shares do not.
        let source = best.source.hasPrefix("/dev/") || best.source == "none" ? "" : " of \(best.source)"
        return "the \(best.type) file system\(source) at \(best.point)\(number(of: folder, best.type))"
    }

    /// The number these types derive from the identifier that was given to the file system when it was made.
    private static func number(of folder: String, _ type: String) -> String {
        guard ["ext2", "ext3", "ext4", "btrfs"].contains(type) else { return "" }
        var status = statvfs()
        guard statvfs(folder, &status) == 0 else { return "" }
        return " (number \(String(UInt64(status.f_fsid), radix: 16)))"
    }
}
