// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
package import LifeboatFormats
import LifeboatIO

/// What this host signs with, and what it remembers of each repository so that nobody can change it behind its back.
///
/// Files under the state folder: `signing.key` (a minisign secret key without password, mode 0600) and
/// `trusted/<repository id>.json`. Losing them costs trust on first use, never data. Blocking.
package struct HostTrust: Sendable {
    /// Where they are; the error says why there is no such place on this host.
    private let state: Result<String, LifeboatError>
    /// The first thing that could not be written there.
    private let unwritten = Monitor<LifeboatError?>(nil)

    /// `state` is lifeboat's state directory on this host; it is made when something is written.
    package init(state: String) { self.state = .success(state) }

    /// On a host without a state directory every repository is new. Signing throws what `state` says.
    package init(state: Result<String, LifeboatError>) { self.state = state }

    private func signingKeyPath() throws(LifeboatError) -> String { "\(try state.get())/signing.key" }

    /// Why something could not be remembered on this host so far; nil when all was.
    package var problem: LifeboatError? { unwritten.withLock { $0 } }

    /// Runs `body`, which remembers something. A failure is noted and not thrown: what was done in the repository before
    /// is done.
    func noting(_ body: () throws -> Void) {
        do {
            try body()
        } catch {
            let problem = LifeboatError.converting(
                error, "this host cannot remember what it saw of the repository",
                hint: "Make the state directory writable: until then nobody notices here when the repository is "
                    + "exchanged or its newest snapshot is removed.")
            unwritten.withLock { if $0 == nil { $0 = problem } }
        }
    }

    /// The key of this host; nil when it never made one.
    package func signingKey() throws -> MinisignSecretKey? {
        let signingKeyPath = try signingKeyPath()
        guard let bytes = try SmallFile.contents(signingKeyPath) else { return nil }
        do throws(MinisignError) {
            return try MinisignSecretKey(Secret(String(decoding: bytes, as: UTF8.self)))
        } catch {
            throw error.lifeboatError.wrapped("cannot use this host's signing key '\(signingKeyPath)'")
        }
    }

    /// The key of this host, made when there is none.
    package func signingKeyCreating() throws -> MinisignSecretKey {
        if let key = try signingKey() { return key }
        let key: MinisignSecretKey
        do throws(MinisignError) { key = try MinisignSecretKey.generate() } catch { throw error.lifeboatError }
        let path = try signingKeyPath()
        try FileTree.createFolders(state.get())
        try key.encoded().reveal { try AtomicFile.write($0, to: path, replacing: false) }
        // Another process may have been first: its key is the one.
        return try signingKey() ?? key
    }

    /// What this host knows of a repository since it last saw it.
    package struct Pin: Codable, Sendable, Equatable {
        /// BLAKE3 of the trusted `config.json`.
        package var config: Digest
        /// Keys whose signature may change it: minisign public keys in text form.
        package var signers: [String]
        /// Recipients of that configuration.
        package var recipients: [String]
        /// `<stack>/<host>` → the highest sequence seen, and its snapshot.
        package var newest: [String: Seen]
        /// Stack → pins of its snapshots that this host has seen. Nil in what was written before there were any.
        package var pins: [String: [PinReference]]?

        /// Adds those that are not known yet.
        mutating func add(_ references: [PinReference], stack: String) {
            let new = references.filter { !(pins?[stack] ?? []).contains($0) }
            guard !new.isEmpty else { return }
            pins = pins ?? [:]
            pins?[stack, default: []] += new
        }

        package struct Seen: Codable, Sendable, Equatable {
            package var sequence: UInt64
            package var snapshot: Digest
            package init(sequence: UInt64, snapshot: Digest) {
                self.sequence = sequence
                self.snapshot = snapshot
            }
        }

        package init(config: Digest, signers: [String], recipients: [String], newest: [String: Seen] = [:]) {
            self.config = config
            self.signers = signers
            self.recipients = recipients
            self.newest = newest
        }
    }

    /// What is remembered of the repository; nil when this host never saw it.
    package func pin(_ repository: Digest) throws -> Pin? {
        guard let path = try? pinPath(repository), let bytes = try contents(path) else { return nil }
        do {
            return try CanonicalJSON.decode(Pin.self, from: bytes)
        } catch {
            throw LifeboatError(
                "cannot read what this host remembers of the repository", causes: ["'\(path)' is damaged"],
                hint: "Compare the repository's recipients with your own notes, then remove that file.")
        }
    }

    package func remember(_ pin: Pin, of repository: Digest) throws {
        try FileTree.createFolders("\(state.get())/trusted")
        let bytes = try CanonicalJSON.encode(pin, pretty: true)
        try bytes.withUnsafeBytes { bytes -> Void in try AtomicFile.write([bytes], to: pinPath(repository)) }
    }

    private func pinPath(_ repository: Digest) throws(LifeboatError) -> String {
        "\(try state.get())/trusted/\(repository.hex).json"
    }

    /// Nil when there is no such file, nor perhaps the directory it would be in.
    private func contents(_ path: String) throws(SystemCallError) -> [UInt8]? {
        do throws(SystemCallError) {
            return try SmallFile.contents(path)
        } catch {
            if error.errorNumber == ENOTDIR { return nil }
            throw error
        }
    }

    // MARK: places

    /// `<location>` → id of the repository this host knows there.
    private func placesPath() throws(LifeboatError) -> String { "\(try state.get())/trusted/places.json" }

    /// The repository that was at `location` when this host last used it.
    package func repository(at location: String) throws -> Digest? {
        let known = try places()
        return known[location] ?? Self.resolved(location).flatMap { known[$0] }
    }

    /// The path that a location leads to when links are followed; nil for what is not a path, or nowhere.
    private static func resolved(_ location: String) -> String? {
        guard let path = realpath(location, nil) else { return nil }
        defer { free(path) }
        return String(cString: path)
    }

    package func remember(_ repository: Digest, at location: String) throws {
        var known = try places()
        let paths = Set([location, Self.resolved(location) ?? location])
        guard paths.contains(where: { known[$0] != repository }) else { return }
        for place in paths { known[place] = repository }
        let path = try placesPath()
        try FileTree.createFolders("\(state.get())/trusted")
        let bytes = try CanonicalJSON.encode(known, pretty: true)
        try bytes.withUnsafeBytes { bytes -> Void in try AtomicFile.write([bytes], to: path) }
    }

    private func places() throws -> [String: Digest] {
        guard let placesPath = try? placesPath(), let bytes = try contents(placesPath) else { return [:] }
        do {
            return try CanonicalJSON.decode([String: Digest].self, from: bytes)
        } catch {
            throw LifeboatError(
                "cannot read which repositories this host knows", causes: ["'\(placesPath)' is damaged"],
                hint: "Remove that file; repositories are then trusted as they are found.")
        }
    }
}
