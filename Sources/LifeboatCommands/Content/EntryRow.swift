// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatRepository

/// One object of a tree, or one stream, in a listing.
struct EntryRow: OutputRendering {
    static let messageType = "entry"

    /// Given when a listing covers several snapshots.
    var snapshot: String?
    let component: String
    /// As on the host; `COMPONENT:PART` for a stream.
    let path: String
    let pathBytes: String?
    let kind: String
    var mode: String?
    var userID: UInt32?
    var groupID: UInt32?
    let size: UInt64
    var modified: Timestamp?
    var linkTarget: String?
    var linkTargetBytes: String?
    var hardLink: String?
    var content: String?
    var problem: String?

    private let shownPath: String
    private let modeText: String
    private let linkText: String
    var isLong = false

    private enum CodingKeys: String, CodingKey {
        case snapshot, component, path, pathBytes, kind, mode, size, modified, linkTarget, linkTargetBytes, hardLink
        case content, problem
        case userID = "user_id"
        case groupID = "group_id"
    }

    init(_ entry: TreeEntry, in tree: SnapshotTree) {
        component = tree.component.name
        let shown = tree.shownPath(entry.path)
        let name = JSONName(shown)
        path = name.text
        pathBytes = name.base64
        shownPath = EscapedName.text(shown)
        kind = entry.kind.word
        mode = pad(String(entry.mode, radix: 8))
        userID = entry.userID
        groupID = entry.groupID
        size = entry.size
        modified = entry.modificationTime
        modeText = Self.modeText(entry)
        if let target = entry.linkTarget {
            let name = JSONName(target)
            linkTarget = name.text
            linkTargetBytes = name.base64
            linkText = " -> \(EscapedName.text(target))"
        } else if let first = entry.hardLink {
            hardLink = JSONName(tree.shownPath(first)).text
            linkText = " = \(EscapedName.text(tree.shownPath(first)))"
        } else {
            linkText = ""
        }
        content = entry.content?.id.hex
        problem = entry.problem
    }

    init(_ part: Manifest.Part, of component: Manifest.Component) {
        self.component = component.name
        path = "\(component.name):\(part.name)"
        pathBytes = nil
        shownPath = EscapedName.line(path)
        kind = "stream"
        size = part.content.size
        content = part.content.id.hex
        modeText = "stream    "
        linkText = ""
    }

    var text: String {
        guard isLong else { return shownPath }
        let owner = userID.map { "\($0)" } ?? "-"
        let group = groupID.map { "\($0)" } ?? "-"
        let time = modified.map(\.tableText) ?? "-"
        var line = modeText + " " + padded(owner, 5) + " " + padded(group, 5) + " " + padded("\(size)", 12)
        line += " " + padded(time, 19) + " " + shownPath + linkText
        if let problem { line += " [\(EscapedName.line(problem))]" }
        return line
    }

    private func padded(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.utf8.count)) + text
    }

    /// `drwxr-sr-x`, as ls(1) has it.
    static func modeText(_ entry: TreeEntry) -> String {
        let mode = entry.mode
        var text = entry.kind.letter
        for shift in [6, 3, 0] as [UInt16] {
            let bits = mode >> shift & 7
            text += bits & 4 != 0 ? "r" : "-"
            text += bits & 2 != 0 ? "w" : "-"
            let special = mode & (shift == 6 ? 0o4000 : shift == 3 ? 0o2000 : 0o1000) != 0
            let letter = shift == 0 ? "t" : "s"
            text += special ? (bits & 1 != 0 ? letter : letter.uppercased()) : bits & 1 != 0 ? "x" : "-"
        }
        return text
    }
}

/// Four octal digits.
private func pad(_ digits: String) -> String {
    String(repeating: "0", count: max(0, 4 - digits.count)) + digits
}

extension TreeEntry.Kind {
    /// The word in JSON.
    var word: String {
        switch self {
        case .file: "file"
        case .directory: "folder"
        case .symbolicLink: "symbolic_link"
        case .fifo: "fifo"
        case .socket: "socket"
        case .characterDevice: "character_device"
        case .blockDevice: "block_device"
        }
    }

    /// First letter of a long listing.
    fileprivate var letter: String {
        switch self {
        case .file: "-"
        case .directory: "d"
        case .symbolicLink: "l"
        case .fifo: "p"
        case .socket: "s"
        case .characterDevice: "c"
        case .blockDevice: "b"
        }
    }
}

/// Closes a listing in JSON.
struct EntriesSummary: OutputRendering {
    static let messageType = "summary"
    var entries: UInt64
    var bytes: UInt64
    var text: String { "" }
}
