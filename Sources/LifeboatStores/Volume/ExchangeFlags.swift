// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// The file flags that forbid an exchange: an object that is immutable or append-only cannot be renamed. What is below
/// such a directory does not matter.
enum ExchangeFlags {
    /// Throws when the object at `path` cannot be renamed for its flags; one that does not exist, and one that may not
    /// be opened, passes. `way`: another way to restore, for the hint.
    static func check(_ path: String, way: String) throws(LifeboatError) {
        guard let flags = flags(path), let word = word(flags) else { return }
        throw LifeboatError(
            "'\(path)' cannot be exchanged", causes: ["it is \(word)"],
            hint: "Allow changes with 'chattr -i -a \(path)' for the time of the restore, or \(way).")
    }

    /// Throws when the directory at `path` cannot be changed for its flags.
    static func checkChange(_ path: String) throws(LifeboatError) {
        guard let flags = flags(path), let word = word(flags) else { return }
        throw LifeboatError(
            "cannot write to '\(path)'", causes: ["it is \(word)"],
            hint: "Allow changes with 'chattr -i -a \(path)' for the time of the restore.")
    }

    /// Clears the flags of a staged object, so that it can be exchanged; a warning when it had them. `live`: where it goes.
    static func clear(_ path: String, live: String) -> LifeboatError? {
        guard let flags = flags(path), let word = word(flags),
            let file = try? OwnedDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        else { return nil }
        FileFlags.allowChanges(file.raw)
        return LifeboatError(
            "'\(live)' is \(word) in the snapshot, and not after the restore",
            causes: ["an object with that flag cannot be exchanged"], hint: "Set the flag again with chattr(1).")
    }

    private static func flags(_ path: String) -> UInt32? {
        guard let file = try? OwnedDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK) else { return nil }
        return try? FileFlags.get(file.raw)
    }

    private static func word(_ flags: UInt32) -> String? {
        if flags & FileFlags.immutable != 0 { return "immutable (chattr +i)" }
        return flags & FileFlags.appendOnly != 0 ? "append-only (chattr +a)" : nil
    }
}
