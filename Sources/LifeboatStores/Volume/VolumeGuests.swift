// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Files and folders inside of a volume that belong to other components: databases, models. The volume does not capture
/// them, and when its folder is exchanged they move along, so that each stays live at its path.
struct VolumeGuests: Equatable {
    /// Below the volume's root, without a slash at either end.
    let paths: [String]

    init(_ paths: [String]) { self.paths = paths.sorted() }

    init(encoded: String) { self.init(encoded.split(separator: "\0").map(String.init)) }

    /// For a journal.
    var encoded: String { paths.joined(separator: "\0") }

    var isEmpty: Bool { paths.isEmpty }

    /// Those below a path, as seen from there.
    func below(_ path: String) -> VolumeGuests {
        path.isEmpty
            ? self
            : VolumeGuests(paths.filter { $0.hasPrefix("\(path)/") }.map { String($0.dropFirst(path.count + 1)) })
    }

    /// The one that is at a path or holds it.
    func owner(of path: String) -> String? { paths.first { path == $0 || path.hasPrefix("\($0)/") } }

    /// What a database keeps beside itself.
    private static let endings = [""] + SQLiteSwap.sidecars

    /// Patterns that leave them out of a walk.
    var patterns: [String] {
        paths.flatMap { path in
            let (folder, name) = Self.split(path)
            let staged = Self.escaped("\(folder)/\(DerivedName.fileBase(name))") + "\(DerivedName.besideMark)*"
            return Self.endings.map { "/\(Self.escaped(path))\($0)" } + [staged]
        }
    }

    private static func escaped(_ path: String) -> String {
        String(path.flatMap { "*?[\\".contains($0) ? ["\\", $0] : [$0] })
    }

    private static func split(_ path: String) -> (folder: String, name: String) {
        guard let slash = path.lastIndex(of: "/") else { return ("", path) }
        return ("/\(path[..<slash])", String(path[path.index(after: slash)...]))
    }

    private static func belongs(_ name: String, to guest: String) -> Bool {
        endings.contains { name == guest + $0 } || name.hasPrefix(DerivedName.fileBase(guest) + DerivedName.besideMark)
    }

    /// Removes them from `root`, data of a restore nobody uses yet, and makes the folders they will be in as they are in
    /// `model`, when there are such.
    func makeRoom(_ root: String, like model: String) throws {
        for path in paths {
            let (folder, name) = Self.split(path)
            if ModelListing.exists(root + folder) {
                for found in try ModelListing.names(in: root + folder) where Self.belongs(found, to: name) {
                    try TreeRemoval.remove("\(root)\(folder)/\(found)")
                }
            } else if ModelListing.exists(model + folder) {
                try Self.makeFolders(folder, root, like: model)
            }
        }
    }

    private static func makeFolders(_ folder: String, _ root: String, like model: String) throws {
        var made = ""
        for name in folder.split(separator: "/") {
            made += "/\(name)"
            guard mkdir(root + made, 0o700) == 0 else {
                if errno == EEXIST { continue }
                throw SystemCallError("create folder", root + made)
            }
            do throws(Errno) {
                let status = try FileStatus.at(AT_FDCWD, model + made)
                // Without root the owner is this user already.
                _ = chown(root + made, status.userID, status.groupID)
                guard chmod(root + made, status.mode & 0o7777) == 0 else { throw Errno(errno) }
            } catch {
                throw SystemCallError("set the mode of", root + made, errorNumber: error.number)
            }
        }
    }

    /// Moves those that are in `old` to `new`, both roots of the same file system. Can be repeated.
    func move(from old: String, to new: String) throws {
        for path in paths {
            let (folder, name) = Self.split(path)
            guard ModelListing.exists(old + folder), ModelListing.exists(new + folder) else { continue }
            var moved = false
            for found in try ModelListing.names(in: old + folder).sorted() where Self.belongs(found, to: name) {
                let (source, target) = ("\(old)\(folder)/\(found)", "\(new)\(folder)/\(found)")
                guard try Rename.withoutReplacing(source, to: target) else {
                    throw LifeboatError(
                        "'\(source)' cannot be moved to '\(target)'", causes: ["there is something already"],
                        hint: "Both are kept. Find out which of them is right and move the other away.")
                }
                moved = true
            }
            if moved { try AtomicFile.synchronizeFolder(of: "\(new)\(folder)/\(name)") }
        }
    }
}
