// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// What the file system keeps with a database file: owner, mode, extended attributes with the access list among them,
/// and file flags. A program that runs as its own user needs the first, and nobody else may gain access by a restore.
struct SQLiteFileFacts {
    var userID: UInt32
    var groupID: UInt32
    var mode: UInt32
    var attributes: [(name: [UInt8], value: [UInt8])] = []
    /// As chattr(1) sets them.
    var flags: UInt32 = 0

    private static let prefix = "xattr:"
    private static let accessList = Array("system.posix_acl_access".utf8)

    /// Of an open file. Throws when they cannot be read.
    init(_ descriptor: Int32, _ status: FileStatus) throws(Errno) {
        (userID, groupID, mode) = (status.userID, status.groupID, status.mode & 0o7777)
        attributes = try ExtendedAttributes.all(.descriptor(descriptor))
        flags = try FileFlags.get(descriptor)
    }

    init?(_ facts: StoreFacts) {
        guard let owner = facts.texts["owner"], let octal = facts.texts["mode"], let mode = UInt32(octal, radix: 8)
        else { return nil }
        let numbers = owner.split(separator: ":").compactMap { UInt32($0) }
        guard numbers.count == 2 else { return nil }
        (userID, groupID, self.mode) = (numbers[0], numbers[1], mode & 0o7777)
        for (key, value) in facts.texts.sorted(by: { $0.key < $1.key }) where key.hasPrefix(Self.prefix) {
            guard let name = Self.bytes(key.dropFirst(Self.prefix.count)), let value = Self.bytes(Substring(value)),
                !name.isEmpty, !name.contains(0)
            else { return nil }
            attributes.append((name, value))
        }
        flags = facts.texts["flags"].flatMap { UInt32($0, radix: 16) } ?? 0
    }

    /// Names and values of attributes are bytes: both in hexadecimal.
    var texts: [String: String] {
        var texts = ["owner": "\(userID):\(groupID)", "mode": "0\(String(mode, radix: 8))"]
        for attribute in attributes { texts[Self.prefix + Self.text(attribute.name)] = Self.text(attribute.value) }
        if flags != 0 { texts["flags"] = String(flags, radix: 16) }
        return texts
    }

    /// What could not be set, as warnings.
    func apply(to descriptor: Int32, _ path: String) -> [LifeboatError] {
        var shortfalls: [LifeboatError] = []
        // Written while the mode still lets this process write.
        set(descriptor, path, &shortfalls) { $0.starts(with: "user.".utf8) }
        // The owner before the mode: changing it may take bits of the mode away.
        if fchown(descriptor, userID, groupID) != 0 {
            shortfalls.append(SystemCallError("give '\(userID):\(groupID)' the file", path).lifeboatError)
        }
        if fchmod(descriptor, mode) != 0 {
            shortfalls.append(SystemCallError("set the mode of", path).lifeboatError)
        }
        set(descriptor, path, &shortfalls) { !$0.starts(with: "user.".utf8) }
        setFlags(descriptor, path, &shortfalls)
        return shortfalls
    }

    private func set(
        _ descriptor: Int32, _ path: String, _ shortfalls: inout [LifeboatError], where condition: ([UInt8]) -> Bool
    ) {
        for attribute in attributes where condition(attribute.name) {
            do throws(Errno) {
                try ExtendedAttributes.set(.descriptor(descriptor), name: attribute.name, value: attribute.value)
            } catch {
                let name = String(decoding: attribute.name, as: UTF8.self)
                shortfalls.append(
                    SystemCallError("set attribute '\(name)' of", path, errorNumber: error.number).lifeboatError)
                guard attribute.name == Self.accessList else { continue }
                // With an access list the bits of the group are its mask: without it they would let the group in.
                if fchmod(descriptor, mode & ~0o070) != 0 {
                    shortfalls.append(SystemCallError("set the mode of", path).lifeboatError)
                }
            }
        }
    }

    private func setFlags(_ descriptor: Int32, _ path: String, _ shortfalls: inout [LifeboatError]) {
        let forbidding = FileFlags.immutable | FileFlags.appendOnly
        if flags & forbidding != 0 {
            shortfalls.append(
                LifeboatError(
                    "the database is immutable or append-only in the snapshot, and not after the restore",
                    causes: ["an object with that flag cannot be exchanged"], hint: "Set the flag again with chattr(1)."
                ))
        }
        guard flags & ~forbidding != 0 else { return }
        do throws(Errno) {
            try FileFlags.set(descriptor, flags & ~forbidding)
        } catch {
            shortfalls.append(
                SystemCallError("set the file flags of", path, errorNumber: error.number).lifeboatError)
        }
    }

    private static func text(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    /// Nil when it is not hexadecimal.
    private static func bytes(_ text: Substring) -> [UInt8]? {
        let digits = Array(text.utf8)
        guard digits.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        for position in stride(from: 0, to: digits.count, by: 2) {
            let pair = String(decoding: digits[position..<position + 2], as: UTF8.self)
            guard let byte = UInt8(pair, radix: 16) else { return nil }
            bytes.append(byte)
        }
        return bytes
    }
}
