// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
package import LifeboatCore
package import LifeboatIO

/// What was stopped or paused by which process, and how it is started again. Holds no secret.
package struct ServiceJournalEntry: Sendable, Equatable, Codable {
    /// Unique; names the file.
    package var operation: String
    /// `backup`, `restore`.
    package var kind: String
    package var stack: String
    /// The policy file.
    package var policy: String?
    package var owner: ProcessIdentity
    package var time: Timestamp
    /// What is stopped, in start order.
    package var services: [String]
    package var startCommands: [ServiceCommand]
    /// What is paused, in start order; absent in entries of versions that paused nothing.
    package var paused: [String]?
    package var unpauseCommands: [ServiceCommand]?

    package init(
        operation: String, kind: String, stack: String, policy: String?, owner: ProcessIdentity, time: Timestamp,
        services: [String], startCommands: [ServiceCommand], paused: [String]? = nil,
        unpauseCommands: [ServiceCommand]? = nil
    ) {
        self.operation = operation
        self.kind = kind
        self.stack = stack
        self.policy = policy
        self.owner = owner
        self.time = time
        self.services = services
        self.startCommands = startCommands
        self.paused = paused
        self.unpauseCommands = unpauseCommands
    }

    /// What brings everything back: what is paused goes on first, it is the quicker.
    package var commands: [ServiceCommand] { (unpauseCommands ?? []) + startCommands }

    /// How the services were left, for messages: `paused`, `stopped`, `paused and stopped`.
    package var state: String {
        switch (paused ?? []).isEmpty {
        case true: "stopped"
        case false: services.isEmpty ? "paused" : "paused and stopped"
        }
    }

    /// For messages: `restore 20261121T… of stack 'demo' (process 4711)`.
    package var subject: String { "\(kind) \(operation) of stack '\(stack)' (process \(owner.processID))" }
}

/// What the journal holds.
package struct ServiceJournalListing: Sendable {
    /// Their process is gone: the services may be down.
    package var abandoned: [ServiceJournalEntry] = []
    /// Their process is at work: leave them alone.
    package var live: [ServiceJournalEntry] = []
    /// Entries that cannot be read, by name.
    package var damaged: [LifeboatError] = []
}

/// Keeps, on the host, which services lifeboat has stopped or paused, so that a lifeboat that dies leaves none down: the
/// next one starts them. One file an operation, written before the services are touched and removed after they run again.
///
/// Safe against other lifeboats on the same host: changes are made under a lock. Blocking.
package struct ServiceJournal: Sendable {
    private static let suffix = ".json"
    private let folder: String
    private let clock: any Clock

    /// Below `stateFolder`, which is created when it is first written to.
    package init(stateFolder: String, clock: any Clock = SystemClock()) {
        folder = "\(stateFolder)/services"
        self.clock = clock
    }

    // MARK: Writing

    /// Notes that this process (or `owner`) is about to stop `services` and to pause `paused`. When this returns, the note
    /// survives a crash. Called again for the same operation it replaces what was noted.
    ///
    /// Throws `busy` when a living process has services of this stack stopped, and fails when a dead one left some:
    /// they are resumed first. An entry of the same operation left by a dead process is taken over.
    @discardableResult
    package func begin(
        operation: String, kind: String, stack: String, policy: String?, services: [String],
        startCommands: [ServiceCommand], paused: [String] = [], unpauseCommands: [ServiceCommand] = [],
        owner: ProcessIdentity? = nil
    ) throws -> ServiceJournalEntry {
        let path = try path(of: operation)
        let entry = ServiceJournalEntry(
            operation: operation, kind: kind, stack: stack, policy: policy, owner: try owner ?? .current(),
            time: clock.now(), services: services, startCommands: startCommands,
            paused: paused.isEmpty ? nil : paused, unpauseCommands: unpauseCommands.isEmpty ? nil : unpauseCommands)
        try FileTree.createFolders(folder)
        let lock = try lock()
        let listing = try list()
        for other in listing.live where other.stack == stack && other.operation != operation {
            throw LifeboatError(
                "the services of stack '\(stack)' are stopped by another lifeboat", causes: [other.subject],
                hint: "Wait until it is done.", exitCode: .busy)
        }
        if let other = listing.live.first(where: { $0.operation == operation && $0.owner != entry.owner }) {
            throw LifeboatError("\(other.subject) is still at work", hint: "Wait until it is done.", exitCode: .busy)
        }
        if let other = listing.abandoned.first(where: { $0.stack == stack && $0.operation != operation }) {
            throw LifeboatError(
                "services of stack '\(stack)' are down since a lifeboat died", causes: [other.subject],
                hint: "Run 'lifeboat resume' to start them again.")
        }
        if let damaged = listing.damaged.first { throw damaged }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        let text = String(decoding: try encoder.encode(entry), as: UTF8.self)
        try AtomicFile.write(text + "\n", to: path)
        // The folder itself may be new: make its name durable too.
        try AtomicFile.synchronizeFolder(of: folder)
        lock.release()
        return entry
    }

    /// Notes that the services of the operation run again. Without an entry it does nothing.
    package func end(operation: String) throws {
        let path = try path(of: operation)
        guard unlink(path) == 0 else {
            if errno == ENOENT { return }
            throw SystemCallError("remove", path)
        }
        try AtomicFile.synchronizeFolder(of: path)
    }

    // MARK: Reading

    /// Everything in the journal. A missing folder is an empty journal; any other failure throws.
    package func list() throws -> ServiceJournalListing {
        var listing = ServiceJournalListing()
        for name in try names() {
            let entry: ServiceJournalEntry
            do {
                guard let found = try read(name) else { continue }
                entry = found
            } catch {
                listing.damaged.append(
                    LifeboatError.converting(
                        error, "cannot read the journal entry '\(folder)/\(name)'",
                        hint: "Check that the services run, start them if not, then remove that file."))
                continue
            }
            if try entry.owner.isAlive() { listing.live.append(entry) } else { listing.abandoned.append(entry) }
        }
        return listing
    }

    /// The entries whose process is gone.
    package func pending() throws -> [ServiceJournalEntry] { try list().abandoned }

    /// In bytewise order.
    private func names() throws -> [String] {
        guard let stream = opendir(folder) else {
            if errno == ENOENT { return [] }
            throw SystemCallError("open", folder)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                guard errno == 0 else { throw SystemCallError("list", folder) }
                return names.sorted()
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasSuffix(Self.suffix) { names.append(name) }
        }
    }

    /// Nil when it was removed meanwhile.
    private func read(_ name: String) throws -> ServiceJournalEntry? {
        let path = "\(folder)/\(name)"
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count: Int
        do {
            let file = try OwnedDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
            count = try bytes.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, into: $0, path) }
        } catch let error as SystemCallError where error.errorNumber == ENOENT {
            return nil
        }
        let entry: ServiceJournalEntry
        do {
            entry = try JSONDecoder().decode(ServiceJournalEntry.self, from: Data(bytes[..<count]))
        } catch {
            throw LifeboatError("it is not what lifeboat wrote")
        }
        guard entry.operation + Self.suffix == name else { throw LifeboatError("its name is not its operation's") }
        return entry
    }

    // MARK: Resuming

    /// Unpauses and starts the services of an entry whose process is gone, and removes the entry. When a command fails the entry
    /// stays. Does nothing when the entry is gone; throws `busy` when its process, or another one that resumes, is at work.
    package func resume(
        _ entry: ServiceJournalEntry, runner: any ProcessRunner, progress: any ProgressSink,
        cancellation: Cancellation? = nil, deadline: Double = 300
    ) throws {
        let path = try path(of: entry.operation)
        let lock = try lock()
        guard let current = try read(entry.operation + Self.suffix) else { return }
        guard try !current.owner.isAlive() else {
            throw LifeboatError(
                "\(current.subject) is still at work", hint: "Wait until it is done.", exitCode: .busy)
        }
        progress.report(.note("starting services that \(current.subject) left \(current.state)"))
        for command in current.commands {
            do {
                try ServiceCommandRun.run(command, runner, deadline: deadline, cancellation)
            } catch {
                let converted = LifeboatError.converting(error)
                if converted.exitCode == .interrupted { throw converted }
                throw converted.wrapped(
                    "cannot start the services of stack '\(current.stack)' again",
                    hint: "Start them yourself, then remove '\(path)'.")
            }
        }
        try end(operation: current.operation)
        lock.release()
    }

    private func lock() throws -> FileLock {
        guard let lock = try FileLock.tryLock("\(folder)/lock") else {
            throw LifeboatError(
                "another lifeboat is starting or stopping services", hint: "Wait until it is done.", exitCode: .busy)
        }
        return lock
    }

    private func path(of operation: String) throws -> String {
        let isName = operation.utf8.allSatisfy { byte in
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                || [45, 46, 95].contains(byte)
        }
        guard isName, !operation.isEmpty, operation.first != ".", operation.utf8.count <= 200 else {
            throw LifeboatError("'\(operation)' is no name of an operation")
        }
        return "\(folder)/\(operation)\(Self.suffix)"
    }
}
