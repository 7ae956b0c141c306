// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// Writes tree entries as mtree(5) text: one line an entry, full paths, names in vis(3) octal escapes.
///
///     #mtree
///     . type=dir uid=0 gid=0 mode=0755 time=1700000000.000000000
///     ./a\040b type=file uid=0 gid=0 mode=0644 time=1700000000.123456789 size=5 contents=<id> inode=12 tags=depth=0,ctime=1700000000.000000001
///
/// libarchive's reader warns of every keyword it does not know, and then `bsdtar -t` exits 1; it accepts `tags=` with
/// any text. So the keywords of our own are items of that comma-separated list, in this order when present:
///
/// | item | means |
/// |---|---|
/// | `socket` | a socket, written `type=fifo`: libarchive knows no sockets |
/// | `depth=N` | levels of chunk lists above the data of `contents=` |
/// | `stored=N` | bytes of the content, when they are not what size and extents say |
/// | `ctime=S.N` | with `inode=`: change facts |
/// | `extents=O+L:O+L` | data extents of a sparse file, hexadecimal; empty: one hole |
/// | `hardlink=./path` | the earlier entry this is a hard link to |
/// | `fflags=H` | file flags, hexadecimal |
/// | `xattr.NAME=BASE64` | one extended attribute |
/// | `problem=TEXT` | why content or attributes are missing or unsure |
package struct MtreeEncoder {
    /// The first line, with its newline.
    package static let header: [UInt8] = Array("#mtree\n".utf8)

    /// Appends the line of `entry`, with its newline. The caller keeps `treeOrder`.
    package static func append(_ entry: TreeEntry, to buffer: inout [UInt8]) {
        buffer.append(addingCapacity: upperBound(entry)) { (line: inout MtreeLine) in write(entry, &line) }
    }

    /// More than any line of this entry takes: four bytes for each byte that may be escaped, and the fixed part.
    private static func upperBound(_ entry: TreeEntry) -> Int {
        var bound = 512 + 4 * entry.path.count
        if let target = entry.linkTarget { bound += 4 * target.count }
        if let path = entry.hardLink { bound += 4 * path.count }
        if let problem = entry.problem { bound += 4 * problem.utf8.count }
        if let extents = entry.extents { bound += 34 * extents.count }
        for attribute in entry.extendedAttributes {
            bound += 16 + 4 * attribute.name.count + 4 * (attribute.value.count / 3 + 1)
        }
        return bound
    }

    private static func write(_ entry: TreeEntry, _ line: inout MtreeLine) {
        line.path(entry.path)
        switch entry.kind {
        case .file: line.text(" type=file uid=")
        case .directory: line.text(" type=dir uid=")
        case .symbolicLink: line.text(" type=link uid=")
        case .fifo, .socket: line.text(" type=fifo uid=")
        case .characterDevice: line.text(" type=char uid=")
        case .blockDevice: line.text(" type=block uid=")
        }
        line.decimal(UInt64(entry.userID))
        line.text(" gid=")
        line.decimal(UInt64(entry.groupID))
        line.text(" mode=")
        line.mode(entry.mode)
        line.text(" time=")
        line.time(entry.modificationTime)
        if entry.kind == .file {
            line.text(" size=")
            line.decimal(entry.size)
        }
        if let content = entry.content {
            line.text(" contents=")
            line.digest(content.id)
        }
        if let target = entry.linkTarget {
            line.text(" link=")
            line.escaped(target)
        }
        if entry.kind == .characterDevice || entry.kind == .blockDevice {
            line.text(" device=native,")
            line.decimal(UInt64(entry.deviceMajor))
            line.append(UInt8(ascii: ","))
            line.decimal(UInt64(entry.deviceMinor))
        }
        if let facts = entry.changeFacts {
            line.text(" inode=")
            line.decimal(facts.inode)
        }
        writeTags(entry, &line)
        line.append(UInt8(ascii: "\n"))
    }

    private static func writeTags(_ entry: TreeEntry, _ line: inout MtreeLine) {
        var tags = TagList()
        if entry.kind == .socket { tags.begin("socket", &line) }
        if let content = entry.content {
            tags.begin("depth=", &line)
            line.decimal(UInt64(content.depth))
            if content.size != entry.contentSize {
                tags.begin("stored=", &line)
                line.decimal(content.size)
            }
        }
        if let facts = entry.changeFacts {
            tags.begin("ctime=", &line)
            line.time(facts.changeTime)
        }
        if let extents = entry.extents {
            tags.begin("extents=", &line)
            for (index, extent) in extents.enumerated() {
                if index > 0 { line.append(UInt8(ascii: ":")) }
                line.hexadecimal(extent.offset)
                line.append(UInt8(ascii: "+"))
                line.hexadecimal(extent.length)
            }
        }
        if let path = entry.hardLink {
            tags.begin("hardlink=", &line)
            line.path(path)
        }
        if entry.fileFlags != 0 {
            tags.begin("fflags=", &line)
            line.hexadecimal(UInt64(entry.fileFlags))
        }
        for attribute in entry.extendedAttributes {
            tags.begin("xattr.", &line)
            line.escaped(attribute.name)
            line.append(UInt8(ascii: "="))
            line.base64(attribute.value)
        }
        if let problem = entry.problem {
            tags.begin("problem=", &line)
            line.escaped(Array(problem.utf8))
        }
    }

    /// Puts ` tags=` before the first item and a comma before the others.
    private struct TagList {
        private var isEmpty = true

        mutating func begin(_ item: StaticString, _ line: inout MtreeLine) {
            if isEmpty { line.text(" tags=") } else { line.append(UInt8(ascii: ",")) }
            isEmpty = false
            line.text(item)
        }
    }
}

extension TreeEntry {
    /// Bytes of content that size and extents call for; nil when they cannot be added up.
    package var contentSize: UInt64? {
        guard let extents else { return size }
        var total: UInt64 = 0
        for extent in extents {
            let (sum, overflow) = total.addingReportingOverflow(extent.length)
            if overflow { return nil }
            total = sum
        }
        return total
    }
}
