// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatPolicy

/// Finds and reads the policy.
enum PolicyFile {
    /// Where policies of a host are.
    static let systemFolder = "/etc/lifeboat"
    static let defaultName = "lifeboat.yaml"
    /// More than any policy, less than a wrong file.
    private static let maximumBytes = 4 << 20

    /// The policy of `flag`, the environment, the working directory or the host; nil when none of them names one.
    static func find(_ flag: String?, _ context: CommandContext) throws -> Policy? {
        if let named = flag ?? context.variable("LIFEBOAT_POLICY") { return try read(named, context) }
        let local = context.absolutePath(defaultName)
        if access(local, F_OK) == 0 { return try read(defaultName, context) }
        let files = try systemPolicies()
        guard files.count <= 1 else {
            throw LifeboatError(
                "there are \(files.count) policies in '\(systemFolder)'", causes: files,
                hint: "Say which one with --policy FILE.", exitCode: .usage)
        }
        return try files.first.map { try read($0, context) }
    }

    /// The named policies; without names all of this host and the one `find` would take. One that cannot be read keeps
    /// no other from being used.
    static func all(
        _ names: [String], _ context: CommandContext
    ) throws -> (policies: [Policy], problems: [LifeboatError]) {
        var paths = names
        if names.isEmpty {
            if let named = context.variable("LIFEBOAT_POLICY") { paths.append(named) }
            if access(context.absolutePath(defaultName), F_OK) == 0 { paths.append(defaultName) }
            paths += try systemPolicies()
        }
        var policies: [Policy] = []
        var problems: [LifeboatError] = []
        for path in paths {
            do {
                policies.append(try read(path, context))
            } catch {
                problems.append(LifeboatError.converting(error))
            }
        }
        return (policies, problems)
    }

    /// The policy a command needs.
    static func require(_ flag: String?, _ context: CommandContext) throws -> Policy {
        guard let policy = try find(flag, context) else {
            throw LifeboatError(
                "there is no policy", causes: ["neither './\(defaultName)' nor '\(systemFolder)/*.yaml' exists"],
                hint: "Write one with 'lifeboat init', or name one with --policy FILE.", exitCode: .usage)
        }
        return policy
    }

    private static func read(_ path: String, _ context: CommandContext) throws -> Policy {
        let absolute = context.absolutePath(path)
        let bytes = try contents(absolute)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw LifeboatError("the policy '\(path)' is not UTF-8 text", exitCode: .usage)
        }
        let folder = absolute[..<(absolute.lastIndex(of: "/") ?? absolute.startIndex)]
        return try PolicyParser.parse(text, source: path, folder: folder.isEmpty ? "/" : String(folder))
    }

    private static func contents(_ path: String) throws -> [UInt8] {
        do {
            let file = try OwnedDescriptor.open(path, O_RDONLY | O_NONBLOCK)
            var bytes = [UInt8](repeating: 0, count: maximumBytes + 1)
            let count = try bytes.withUnsafeMutableBytes { buffer throws(SystemCallError) in
                try DescriptorIO.read(file.raw, into: buffer, path)
            }
            guard count <= maximumBytes else {
                throw LifeboatError("the policy '\(path)' is larger than \(ByteCount(UInt64(maximumBytes)))")
            }
            return Array(bytes[..<count])
        } catch let error as SystemCallError {
            var told = error.lifeboatError.wrapped("cannot read the policy '\(path)'")
            told.exitCode = .usage
            throw told
        }
    }

    private static func systemPolicies() throws -> [String] {
        guard let folder = opendir(systemFolder) else {
            if errno == ENOENT || errno == ENOTDIR { return [] }
            throw SystemCallError("open", systemFolder)
        }
        defer { closedir(folder) }
        var names: [String] = []
        errno = 0
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasSuffix(".yaml"), !name.hasPrefix(".") { names.append("\(systemFolder)/\(name)") }
            errno = 0
        }
        guard errno == 0 else { throw SystemCallError("read", systemFolder) }
        return names.sorted()
    }
}
