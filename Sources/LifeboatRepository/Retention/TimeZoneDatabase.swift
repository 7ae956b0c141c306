// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// The tz database of this host. Nothing here touches the environment of the process: what counts of it is handed in.
package enum TimeZoneDatabase {
    private static let defaultFolder = "/usr/share/zoneinfo"
    private static let localFile = "/etc/localtime"

    /// The zone of a name such as `Europe/Berlin`. Throws an error of usage when the host has none of that name.
    package static func zone(_ name: String, environment: [String: String] = [:]) throws -> TimeZoneRules {
        guard isName(name) else {
            throw LifeboatError(
                "'\(name)' is no name of a time zone", hint: "Write it like Europe/Berlin or UTC.", exitCode: .usage)
        }
        if let zone = try read("\(folder(environment))/\(name)", name) { return zone }
        if name == TimeZoneRules.utc.name { return .utc }
        throw LifeboatError(
            "this host knows no time zone '\(name)'", causes: ["there is no '\(folder(environment))/\(name)'"],
            hint: "Correct the name, or install the Debian package tzdata.", exitCode: .usage)
    }

    /// The zone of whoever runs this: the variable TZ (a name, a path or a rule, with or without a colon), else
    /// /etc/localtime, else UTC, as localtime(3) has it; but what it does not understand is an error, not UTC.
    package static func local(environment: [String: String]) throws -> TimeZoneRules {
        guard let variable = environment["TZ"] else {
            return try read(localFile, localName()) ?? .utc
        }
        let text = variable.hasPrefix(":") ? String(variable.dropFirst()) : variable
        if text.isEmpty { return .utc }
        if text.hasPrefix("/") {
            if let zone = try read(text, text) { return zone }
        } else {
            if isName(text), let zone = try read("\(folder(environment))/\(text)", text) { return zone }
            if text == TimeZoneRules.utc.name { return .utc }
            if let rule = PosixTimeZone(text) { return TimeZoneRules(name: text, rule: rule) }
        }
        throw LifeboatError(
            "the time zone in TZ is not known: '\(text)'",
            hint: "Set TZ to a name such as Europe/Berlin, or name one with --timezone.", exitCode: .usage)
    }

    /// Components of letters, digits, `_`, `+` and `-`, joined by slashes: never a path out of the database.
    package static func isName(_ text: String) -> Bool {
        guard (1...64).contains(text.utf8.count) else { return false }
        return text.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { component in
            !component.isEmpty
                && component.utf8.allSatisfy { byte in
                    (65...90).contains(byte) || (97...122).contains(byte) || (48...57).contains(byte)
                        || [UInt8(ascii: "_"), UInt8(ascii: "+"), UInt8(ascii: "-")].contains(byte)
                }
        }
    }

    private static func folder(_ environment: [String: String]) -> String {
        environment["TZDIR"].flatMap { $0.hasPrefix("/") ? $0 : nil } ?? defaultFolder
    }

    /// Nil when there is no such file, or it is a folder (`Europe`).
    private static func read(_ path: String, _ name: String) throws -> TimeZoneRules? {
        do {
            let file = try OwnedDescriptor.open(path, O_RDONLY | O_NONBLOCK)
            var bytes = [UInt8](repeating: 0, count: TimeZoneRules.maximumBytes)
            let count = try bytes.withUnsafeMutableBytes { buffer throws(SystemCallError) in
                try DescriptorIO.read(file.raw, into: buffer, path)
            }
            return try TimeZoneRules(name: name, tzif: Array(bytes[..<count]))
        } catch let error as SystemCallError {
            if [ENOENT, ENOTDIR, EISDIR].contains(error.errorNumber) { return nil }
            throw error.lifeboatError.wrapped("the data of time zone '\(name)' cannot be read")
        }
    }

    /// What /etc/localtime points to; `local time` when it is a file of its own.
    private static func localName() -> String {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = buffer.withUnsafeMutableBytes { bytes in
            bytes.withMemoryRebound(to: CChar.self) { readlink(localFile, $0.baseAddress!, $0.count) }
        }
        guard count > 0 else { return "local time" }
        let target = String(decoding: buffer[..<count], as: UTF8.self)
        guard let range = target.firstRange(of: "zoneinfo/") else { return "local time" }
        return String(target[range.upperBound...])
    }
}
